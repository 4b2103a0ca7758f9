"""The made-up data have the properties that the benchmarks rely on."""

import collections
import csv
import gzip
import json
import pathlib
import subprocess
import sys

import generate
import pytest
import queries

DATA = pathlib.Path(generate.__file__).parent
USERS, ITEMS, EVENTS = 500, 200, 6_000


def make(script, *arguments):
    subprocess.run([sys.executable, DATA / script, *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    home = tmp_path_factory.mktemp("data")
    sizes = ["--users", USERS, "--items", ITEMS, "--events", EVENTS]
    make("generate.py", *sizes, "--out", home / "a.csv", "--items-out", home / "items.csv", "--event-types")
    make("generate.py", *sizes, "--out", home / "b.csv", "--event-types")
    make("generate.py", *sizes, "--out", home / "c.csv", "--seed", 8)
    return home


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_everybody_and_everything_occurs_in_baskets_with_repeats(events):
    found = rows(events / "a.csv")
    assert len(found) == EVENTS
    assert {row["USER_ID"] for row in found} == {f"u{n:03d}" for n in range(USERS)}
    assert {row["ITEM_ID"] for row in found} == {f"i{n:03d}" for n in range(ITEMS)}
    assert {row["EVENT_TYPE"] for row in found} == set(generate.EVENT_TYPES)
    times = [int(row["TIMESTAMP"]) - generate.FIRST_TIME for row in found]
    assert 0 <= min(times) and max(times) < generate.SPAN_SECONDS
    assert max(times) - min(times) > generate.SPAN_SECONDS / 2
    baskets = collections.Counter((row["USER_ID"], row["TIMESTAMP"]) for row in found)
    assert 1.5 < EVENTS / len(baskets) < generate.BASKET_MEAN + 0.5
    pairs = {(row["USER_ID"], row["ITEM_ID"]) for row in found}
    assert generate.REPEAT_SHARE / 2 < 1 - len(pairs) / EVENTS < 0.6
    counts = sorted(collections.Counter(row["ITEM_ID"] for row in found).values())
    assert sum(counts[-ITEMS // 10:]) > 2.5 * EVENTS / 10


def test_the_seed_decides_every_byte(events):
    assert (events / "a.csv").read_bytes() == (events / "b.csv").read_bytes()
    assert (events / "a.csv").read_bytes() != (events / "c.csv").read_bytes()


def test_blocks_cover_all_users_once_and_do_not_change_what_occurs(monkeypatch):
    monkeypatch.setattr(generate, "BLOCK_EVENTS", 700)
    counts = generate.event_counts(EVENTS, USERS, 7)
    ranges = list(generate.blocks(counts))
    assert len(ranges) > 5 and ranges[0][0] == 0 and ranges[-1][1] == USERS
    assert all(before[1] == after[0] for before, after in zip(ranges, ranges[1:]))

    class Asked:
        users, items, events, seed = USERS, ITEMS, EVENTS, 7

    found = list(generate.draw(Asked))
    assert sum(len(user) for user, *_ in found) == EVENTS
    assert len({int(item) for _, items, *_ in found for item in items}) == ITEMS


def test_every_item_is_described(events):
    found = rows(events / "items.csv")
    assert [row["ITEM_ID"] for row in found] == [f"i{n:03d}" for n in range(ITEMS)]
    assert 10 < len({row["CATEGORY"] for row in found}) < 40 and float(found[0]["PRICE"]) > 0


def test_query_lines_ask_for_every_item_and_are_spoiled_as_told(tmp_path):
    make("queries.py", "--lines", 3_000, "--items", ITEMS, "--out", tmp_path / "plain.json")
    lines = (tmp_path / "plain.json").read_bytes().split(b"\n")
    assert lines.pop() == b"" and len(lines) == 3_000
    assert {json.loads(line)["itemId"] for line in lines} == {f"i{n:03d}" for n in range(ITEMS)}
    make("queries.py", "--lines", 3_000, "--items", ITEMS, "--broken", 0.1, "--long", 2, "--crlf", "--no-final-newline",
         "--out", tmp_path / "bad.json.gz")
    lines = gzip.decompress((tmp_path / "bad.json.gz").read_bytes()).split(b"\r\n")
    assert len(lines) == 3_000 and lines[-1] != b""
    broken = [line for line in lines if line in queries.BROKEN]
    assert 200 < len(broken) < 400 and set(broken) == set(queries.BROKEN)
    assert sum(len(line) == queries.LONG_LINE_BYTES for line in lines) == 2
    make("queries.py", "--lines", 3_000, "--items", ITEMS, "--shape", "zipf", "--out", tmp_path / "zipf.json")
    counts = collections.Counter((tmp_path / "zipf.json").read_bytes().split(b"\n"))
    assert counts.most_common(1)[0][1] > 3 * 3_000 / ITEMS
