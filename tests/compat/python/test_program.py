"""The program's other subcommands: what they print, what they write and how they fail."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest

from kindred_server import ACCOUNT, REGION, Server, clean_environment, program, run_program
from world import ITEMS, World, csv, lines_of, rows

QUERIES = lines_of([*({"itemId": f"i{i}"} for i in range(ITEMS)), {"itemId": "nope"}, {"itemID": "i0"}])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The generated data and queries as files."""
    folder = tmp_path_factory.mktemp("files")
    for kind, lines in rows().items():
        (folder / f"{kind.lower()}.csv").write_bytes(csv(lines))
    (folder / "queries.json").write_bytes(QUERIES)
    return folder


def test_the_one_line_and_the_clean_stop(fresh):
    server = fresh()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.endpoint)
    assert server.stop() == 0
    assert server.printed == [f"listening on {server.endpoint}\n"]
    assert server.credentials_file.stat().st_mode & 0o777 == 0o600
    keys = server.keys
    server.start()
    assert server.keys == keys


def test_env_points_any_client_here(fresh):
    """`eval "$(kindred env)"` is all a shell needs."""
    server = fresh()
    done = run_program("env", "--data-dir", server.data_dir)
    assert done.returncode == 0, done.stderr
    script = done.stdout + f"\n{shlex.quote(sys.executable)} -m awscli personalize list-recipes"
    answer = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, timeout=60,
                            env={**clean_environment(), "AWS_EC2_METADATA_DISABLED": "true"})
    assert answer.returncode == 0, answer.stderr
    assert len(json.loads(answer.stdout)["recipes"]) == 2
    exported = dict(re.findall(r"^export (\w+)=(.*)$", done.stdout, re.MULTILINE))
    assert {shlex.split(value)[0] for value in exported.values()} >= {server.endpoint, REGION, *server.keys}
    assert {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= set(exported)


def segment(files, output, *more):
    return run_program("segment", "--interactions", files / "interactions.csv", "--recipe", "item-affinity",
                       "--input", files / "queries.json", "--output", output, "--num-results", 10,
                       "--hidden-dimension", 32, *more)


def test_segment_gives_the_bytes_of_the_service(files, tmp_path, fresh):
    items = ["--items", files / "items.csv"]
    done = segment(files, tmp_path / "answer.out", "--stats", tmp_path / "stats.json", *items)
    assert done.returncode == 0, done.stderr
    world = World(fresh(), "same").train()
    assert (tmp_path / "answer.out").read_bytes() == world.segments("q", QUERIES)
    done = segment(files, tmp_path / "scores.out", "--scores", *items)
    assert done.returncode == 0, done.stderr
    scores = [{"tagKey": "kindred:scores", "tagValue": "true"}]
    assert (tmp_path / "scores.out").read_bytes() == world.segments("scores", QUERIES, tags=scores)
    stats = json.loads((tmp_path / "stats.json").read_text())
    assert stats["lines"] == ITEMS + 2 and stats["line_errors"] == 2
    assert stats["distinct_queries"] in (ITEMS, ITEMS + 1) and stats["users"] == 60 and stats["items"] == ITEMS
    assert stats["dimension"] == 32 and stats["k"] == 10
    assert stats["output_bytes"] == (tmp_path / "answer.out").stat().st_size
    for name in ("import_seconds", "train_seconds", "score_seconds", "wall_seconds"):
        assert isinstance(stats[name], (int, float)) and stats[name] >= 0
    assert stats["peak_memory_bytes"] > 0


def test_model_and_segments_are_the_same_for_any_number_of_threads_and_row_order(files, tmp_path):
    shuffled = tmp_path / "shuffled"
    shuffled.mkdir()
    (shuffled / "queries.json").write_bytes(QUERIES)
    for name in ("interactions.csv", "items.csv"):
        lines = (files / name).read_text().splitlines()
        (shuffled / name).write_bytes(csv([lines[0], *lines[:0:-1]]))
    outputs = {}
    for number, (folder, threads) in enumerate([(files, 1), (files, 2), (shuffled, 3), (shuffled, 8)]):
        model = tmp_path / f"model-{number}"
        done = segment(folder, tmp_path / f"{number}.out", "--threads", threads, "--scores",
                       "--items", folder / "items.csv", "--model-out", model)
        assert done.returncode == 0, done.stderr
        outputs.setdefault("segments", set()).add((tmp_path / f"{number}.out").read_bytes())
        for path in model.iterdir():
            outputs.setdefault(path.name, set()).add(path.read_bytes())
    assert "model.safetensors" in outputs
    assert {name: len(found) for name, found in outputs.items()} == dict.fromkeys(outputs, 1)


def test_segment_keeps_and_takes_a_model(files, tmp_path):
    first = segment(files, tmp_path / "1.out", "--model-out", tmp_path / "model")
    assert first.returncode == 0, first.stderr
    kept = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"model.safetensors", "users.parquet", "items.parquet", "history.parquet", "card.json"} <= kept
    second = run_program("segment", "--model-in", tmp_path / "model", "--recipe", "item-affinity",
                         "--input", files / "queries.json", "--output", tmp_path / "2.out", "--num-results", 10)
    assert second.returncode == 0, second.stderr
    assert (tmp_path / "1.out").read_bytes() == (tmp_path / "2.out").read_bytes()


@pytest.mark.parametrize("arguments, code", [
    ([], 2), (["fly"], 2), (["segment"], 2), (["segment", "--recipe", "item-affinity"], 2),
    (["serve", "--listen", "nonsense"], 2), (["serve", "--no-such-flag"], 2),
])
def test_wrong_usage_exits_with_two(arguments, code):
    done = run_program(*arguments)
    assert done.returncode == code and done.stderr.strip()


def test_a_failed_segment_names_file_line_and_rule(files, tmp_path):
    bad = tmp_path / "interactions.csv"
    bad.write_bytes((files / "interactions.csv").read_bytes() + b"u1,i1,click,yesterday\n")
    (tmp_path / "queries.json").write_bytes(QUERIES)
    done = segment(tmp_path, tmp_path / "answer.out")
    assert done.returncode == 1
    assert "interactions.csv" in done.stderr and "2402" in done.stderr and "TIMESTAMP" in done.stderr
    assert not (tmp_path / "answer.out").exists()
    missing = segment(tmp_path / "none", tmp_path / "answer.out")
    assert missing.returncode != 0 and "interactions.csv" in missing.stderr


def test_config_defaults_document_every_key():
    done = run_program("config", "--defaults")
    assert done.returncode == 0, done.stderr
    for key in ("listen", "auth", "account", "region"):
        assert re.search(rf"\b{key}\b", done.stdout), key
    keys = [text for text in done.stdout.splitlines() if re.match(r"#?\s*[a-z_.]+ = ", text)]
    assert len(keys) >= 15


@pytest.mark.parametrize("settings, words", [
    ({"KINDRED_ACCOUNT": "12"}, "account"), ({"KINDRED_AUTH": "maybe"}, "auth")])
def test_settings_that_make_no_sense_are_refused_at_start(tmp_path, settings, words):
    done = run_program("serve", "--data-dir", tmp_path / "data", "--listen", "127.0.0.1:0", env=settings, timeout=60)
    assert done.returncode != 0 and words in done.stderr.lower() and "listening" not in done.stdout


def test_anything_but_static_keys_stays_on_loopback(tmp_path):
    for mode in ("trust", "off"):
        done = run_program("serve", "--data-dir", tmp_path / "data", "--listen", "0.0.0.0:0",
                           env={"KINDRED_AUTH": mode}, timeout=60)
        assert done.returncode != 0 and "listening" not in done.stdout


def test_a_configuration_file_sets_what_arns_are_made_of(fresh, tmp_path):
    path = tmp_path / "kindred.toml"
    path.write_text('account = "123456789012"\nregion = "eu-central-1"\n')
    p = fresh(args=["--config", str(path)]).client("personalize")
    assert p.create_dataset_group(name="x")["datasetGroupArn"] == (
        "arn:aws:personalize:eu-central-1:123456789012:dataset-group/x")
    assert ACCOUNT != "123456789012"
    path.write_text('acount = "123456789012"\n')
    done = run_program("serve", "--data-dir", tmp_path / "data", "--listen", "127.0.0.1:0", "--config", path, timeout=60)
    assert done.returncode != 0 and "acount" in done.stderr


@pytest.mark.timeout(600)
def test_the_demo_tells_its_story(tmp_path):
    folder = tmp_path / "demo"
    done = run_program("demo", "--dir", folder, timeout=550)
    assert done.returncode == 0, done.stderr
    text = done.stdout + done.stderr
    for words in ("recall", "baseline", "hits", "children that never bought it", str(folder)):
        assert words.lower() in text.lower(), words
    assert folder.is_dir() and any(folder.iterdir())
    # What the demo made is a data directory: a server over it has the trained version.
    data = folder if (folder / "kindred.db").exists() else next(folder.rglob("kindred.db")).parent
    server = Server(tmp_path, data_dir=data)
    try:
        versions = server.client("personalize").list_solution_versions()["solutionVersions"]
        assert versions and {version["status"] for version in versions} == {"ACTIVE"}
    finally:
        server.kill()


def test_the_program_answers_for_itself():
    assert re.match(r"kindred \d+\.\d+\.\d+", run_program("--version").stdout)
    text = run_program("--help").stdout
    for subcommand in ("serve", "demo", "segment", "env"):
        assert subcommand in text
    assert os.access(program(), os.X_OK)
