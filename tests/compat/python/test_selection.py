"""Who may be in a segment: the tag that leaves out who already had the item, and filters of the program.

What is expected is worked out here from the CSV rows, and from the segments of everyone.
"""

import csv as csv_module
import json

import pytest

from kindred_server import run_program
from world import ITEMS, USERS, World, csv, lines_of, rows

QUERIES = lines_of({"itemId": f"i{i}"} for i in range(ITEMS))
TAG = "kindred:exclude-interacted"
DAY = 86_400


def interactions(lines):
    return list(csv_module.DictReader(lines))


def users_lists(output):
    return [json.loads(line)["output"]["usersList"] for line in output.decode().splitlines()]


def without(everyone, events, count, event_type=None, days=None):
    """The lists of everyone without who interacted with the item, cut."""
    newest = max(int(event["TIMESTAMP"]) for event in events)
    out = {(event["ITEM_ID"], event["USER_ID"]) for event in events
           if (event_type is None or event["EVENT_TYPE"].lower() == event_type.lower())
           and (days is None or int(event["TIMESTAMP"]) >= newest - days * DAY)}
    return [[user for user in users if (f"i{i}", user) not in out][:count]
            for i, users in enumerate(everyone)]


@pytest.fixture(scope="module")
def everyone(world):
    return users_lists(world.segments("everyone", QUERIES, num_results=USERS))


@pytest.mark.parametrize("value, event_type, days", [
    ("true", None, None), ("purchase", "purchase", None), ("CLICK", "click", None),
    ("true 1d", None, 1), ("purchase 1d", "purchase", 1), ("never", "never", None)])
def test_who_interacted_with_the_item_is_left_out_before_the_cut(world, everyone, value, event_type, days):
    output = world.segments(f"out-{value.replace(' ', '-')}", QUERIES,
                            tags=[{"tagKey": TAG, "tagValue": value}])
    expected = without(everyone, interactions(world.data["Interactions"]), 10, event_type, days)
    assert users_lists(output) == expected
    changed = expected != [users[:10] for users in everyone]
    assert changed == (value != "never")


def test_the_tag_can_be_off_and_must_make_sense(world, everyone):
    output = world.segments("out-false", QUERIES, tags=[{"tagKey": TAG, "tagValue": "false"}])
    assert users_lists(output) == [users[:10] for users in everyone]
    source = world.put("in/tag.json", QUERIES)
    for value in ("", "true 0d", "purchase 30", "true 99999d"):
        with pytest.raises(world.p.exceptions.InvalidInputException, match="exclude-interacted is not valid"):
            world.start_segments(source, world.url("tag/"), tags=[{"tagKey": TAG, "tagValue": value}])


def test_what_was_imported_before_the_job_counts_whatever_was_trained_on(server):
    data = {"Interactions": rows(users=40, items=20)["Interactions"]}
    world = World(server, "later", data=data, kinds=("Interactions",)).train()
    queries = lines_of({"itemId": f"i{i}"} for i in range(20))
    everyone = users_lists(world.segments("all", queries, num_results=40))
    tags = [{"tagKey": TAG, "tagValue": "purchase"}]
    first = users_lists(world.segments("first", queries, tags=tags))
    head, *old = data["Interactions"]
    assert first == without(everyone, interactions([head, *old]), 10, "purchase")
    new = [f"{user},i{i},Purchase,{1_800_000_000}" for i, users in enumerate(first) for user in users[:3]]
    location = world.put("data/more.csv", csv([head, *new]))
    world.await_import(world.start_import("Interactions", location, "INCREMENTAL"))
    second = users_lists(world.segments("second", queries, tags=tags))
    assert second == without(everyone, interactions([head, *old, *new]), 10, "purchase")
    assert all(not set(before[:3]) & set(after) for before, after in zip(first, second))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Files, and a model of them, for runs without a server."""
    folder = tmp_path_factory.mktemp("trained")
    for kind, lines in rows().items():
        (folder / f"{kind.lower()}.csv").write_bytes(csv(lines))
    (folder / "queries.json").write_bytes(QUERIES)
    done = run_program("segment", "--interactions", folder / "interactions.csv", "--items", folder / "items.csv",
                       "--input", folder / "queries.json", "--output", folder / "all.out",
                       "--num-results", USERS, "--hidden-dimension", 32, "--model-out", folder / "model")
    assert done.returncode == 0, done.stderr
    return folder


def answer(folder, tmp_path, *more, body=None, num_results=10):
    source = folder / "queries.json"
    if body is not None:
        source = tmp_path / "queries.json"
        source.write_bytes(body)
    done = run_program("segment", "--model-in", folder / "model", "--users", folder / "users.csv",
                       "--input", source, "--output", tmp_path / "answer.out", "--num-results", num_results, *more)
    return done, (tmp_path / "answer.out")


def test_the_program_leaves_out_the_same_as_the_service(trained, world, tmp_path):
    done, output = answer(trained, tmp_path, "--interactions", trained / "interactions.csv",
                          "--exclude-interacted", "purchase,1d")
    assert done.returncode == 0, done.stderr
    tags = [{"tagKey": TAG, "tagValue": "purchase 1d"}]
    assert output.read_bytes() == world.segments("same", QUERIES, tags=tags)
    done, output = answer(trained, tmp_path, "--interactions", trained / "interactions.csv", "--exclude-interacted")
    assert done.returncode == 0, done.stderr
    tags = [{"tagKey": TAG, "tagValue": "true"}]
    assert output.read_bytes() == world.segments("same-all", QUERIES, tags=tags)


def people(folder):
    return {row["USER_ID"]: row for row in csv_module.DictReader((folder / "users.csv").read_text().splitlines())}


def test_a_filter_ranks_the_users_it_keeps_and_no_others(trained, tmp_path):
    everyone = users_lists((trained / "all.out").read_bytes())
    known = people(trained)
    events = interactions((trained / "interactions.csv").read_text().splitlines())
    buyers = {event["USER_ID"] for event in events if event["EVENT_TYPE"] == "purchase"}
    for expression, kept in [
            ('INCLUDE UserID WHERE Users.COUNTRY IN ("Japan")', lambda user: known[user]["COUNTRY"] == "Japan"),
            ("EXCLUDE UserID WHERE Users.AGE >= 30", lambda user: int(known[user]["AGE"]) < 30),
            ('INCLUDE UserID WHERE Users.AGE < 60 | EXCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("PURCHASE")',
             lambda user: int(known[user]["AGE"]) < 60 and user not in buyers),
            ('INCLUDE UserID WHERE Users.USER_ID IN ("u7")', lambda user: user == "u7"),
            ('INCLUDE UserID WHERE Users.COUNTRY IN ("Peru")', lambda user: False)]:
        done, output = answer(trained, tmp_path, "--interactions", trained / "interactions.csv", "--filter", expression)
        assert done.returncode == 0, done.stderr
        expected = [[user for user in users if kept(user)][:10] for users in everyone]
        assert users_lists(output.read_bytes()) == expected, expression


def test_lines_give_values_to_the_filter_and_have_errors_of_their_own(trained, tmp_path):
    everyone = users_lists((trained / "all.out").read_bytes())
    known = people(trained)
    cases = [({"AGE": str(age)} if age else {}, i) for i in range(ITEMS) for age in (0, 20, 45)]
    body = lines_of({"itemId": f"i{i}", "filterValues": values} for values, i in cases)
    body += b'{"itemId": "i3", "filterValues": {"AGE": "old"}}\n{"itemId":"i3"}\n'
    done, output = answer(trained, tmp_path, "--filter", "INCLUDE UserID WHERE Users.AGE < $AGE", body=body)
    assert done.returncode == 0, done.stderr
    *found, bad, missing = [json.loads(line) for line in output.read_text().splitlines()]
    for (values, i), line in zip(cases, found, strict=True):
        assert line["input"] == {"itemId": f"i{i}", "filterValues": values}
        if values:
            kept = [user for user in everyone[i] if int(known[user]["AGE"]) < int(values["AGE"])]
            assert line["output"]["usersList"] == kept[:10] and line["error"] is None
        else:
            assert line["error"] == "User error: Filter parameter AGE has no value"
    assert bad["error"] == "User error: Filter parameter AGE is not a number"
    assert missing["error"] == "User error: Filter parameter AGE has no value"


@pytest.mark.parametrize("arguments, words", [
    (["--filter", "INCLUDE UserID WHERE Users.NOPE > 1"], "NOPE"),
    (["--filter", "INCLUDE UserID WHERE Users.AGE >"], "position"),
    (["--filter", 'INCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("click")'], "Interactions"),
    (["--exclude-interacted", "true"], "--interactions"),
    (["--exclude-interacted", "true,soon"], "30d")])
def test_wrong_selections_are_wrong_usage(trained, tmp_path, arguments, words):
    done, output = answer(trained, tmp_path, *arguments)
    assert done.returncode == 2 and words in done.stderr, done.stderr
    assert not output.exists()
