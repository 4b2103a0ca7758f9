"""Toy cases worked out by hand. Run with `pytest bench/quality`."""

import json
import math

import numpy as np
import pytest

import attributes
import figures
import score
import tables
from protocol import Baselines, Protocol

DAY = 86_400


def write(path, events):
    tables.write_csv(path, tables.KEYS, events)
    return path


def line(query, users, scores=None, error=None):
    output = {"usersList": users} if scores is None else {"usersList": users, "scores": scores}
    return {"input": query, "output": output, "error": error}


@pytest.fixture
def toy(tmp_path):
    """200 users, so K = 2; user u000 is the most active one, then u001; T = 1000, H = 100."""
    events = [(f"u{user:03}", "base", user + 1) for user in range(200)]
    events += [("u000", "base", 500), ("u000", "base", 501), ("u001", "base", 400)]
    events += [("u001", "a", 300), ("u009", "a", 301), ("u004", "b", 600)]
    # The horizon is [1000, 1100); newcomers and later events do not count.
    events += [("u001", "a", 1000), ("u002", "a", 1050), ("u003", "a", 1099), ("u004", "b", 1010),
               ("u004", "b", 1011), ("u005", "b", 1100), ("new", "a", 1001)]
    return Protocol(write(tmp_path / "events.csv", events), 1000, 100)


def scored(protocol, lines, **options):
    found = score.Score(protocol, **options)
    for entry in lines:
        found.add_line(entry)
    return found.result()


def test_population_and_actual_users(toy):
    assert (len(toy.users), toy.k) == (200, 2)
    asked = score.Asked(toy, {"a"})
    assert [toy.users[user] for user in asked.came] == ["u001", "u002", "u003"]
    assert [toy.users[user] for user in asked.seen] == ["u001", "u009"]
    assert [toy.users[user] for user in asked.first] == ["u002", "u003"]
    both = score.Asked(toy, {"a", "b", "never seen"})
    assert [toy.users[user] for user in both.came] == ["u001", "u002", "u003", "u004"]


def test_the_worked_case_with_all_actual_users_as_denominator(toy):
    found = scored(toy, [line({"itemId": "a"}, ["u001", "u009"]), line({"itemId": "b"}, ["u004", "u001"])])
    assert found["queries"] == 2 and found["k"] == 2 and found["population"] == 200
    assert found["model"]["hits_at_1_percent"] == 1.0
    assert found["model"]["recall_at_1_percent"] == pytest.approx((1 / 3 + 1) / 2, abs=1e-15)
    assert found["model"]["coverage"] == 0.015
    # One common user in two places of both ordered pairs; u001 is one of the two most active.
    assert found["overlap"] == 0.5
    assert found["overlap_most_active"] == 0.5


def test_simple_rankings(toy):
    found = scored(toy, [line({"itemId": "a"}, ["u001", "u009"]), line({"itemId": "b"}, ["u004", "u001"])])
    simple = {entry["name"]: entry for entry in found["baselines"]}
    # u000 has 3 events, u001 has 3 (base twice, a once); b's u004 is not among them.
    assert simple["most_active"]["recall_at_1_percent"] == pytest.approx(1 / 6)
    # u004 at 600 and u000 at 501 came last.
    assert simple["most_recent"]["recall_at_1_percent"] == pytest.approx(1 / 2)
    # Of a's two users of before u009 has the larger share; b's is u004, then the most active.
    assert simple["own_history"]["hits_at_1_percent"] == 1.0
    assert simple["random"]["recall_at_1_percent"] == pytest.approx(0.01)
    assert simple["random"]["hits_at_1_percent"] == pytest.approx(0.01 * 2)


def test_own_history_is_decayed_share_times_recent_activity(tmp_path):
    events = [("a", "x", 0), ("a", "y", 120 * DAY), ("b", "x", 100 * DAY), ("c", "y", 110 * DAY),
              ("d", "z", 1), ("d", "z", 2)]
    protocol = Protocol(write(tmp_path / "events.csv", events), 121 * DAY, 11 * DAY)
    simple = Baselines(protocol)
    x, y, z = (protocol.item_number[item] for item in "xyz")
    old = math.exp(-1)
    assert simple.worth[x] == pytest.approx({0: 2 * old / (1 + old), 1: 1.0})
    assert simple.worth[y] == pytest.approx({0: 2 / (1 + old), 2: 2.0})
    assert simple.worth[z] == pytest.approx({3: 1.0})
    assert simple.most_active.tolist() == [0, 3, 1, 2]
    assert simple.own_history([x]).tolist() == [1, 0, 3, 2]
    assert simple.own_history([x, y]).tolist() == [0, 2, 1, 3]


def everyone(protocol, first):
    return first + [user for user in protocol.users if user not in first]


def test_first_times(toy):
    lines = [line({"itemId": "a"}, everyone(toy, ["u001", "u009", "u003", "u002"])),
             line({"itemId": "b"}, everyone(toy, ["u004"]))]
    found = scored(toy, lines)
    # a: u003 and u002 move up; b has no new user, so one query remains.
    assert (found["first_time_queries"], found["first_time_recall"]) == (1, 1.0)
    only = scored(toy, lines, first_time_only=True)
    assert only["queries"] == 1
    assert only["model"]["hits_at_1_percent"] == 2.0
    simple = {entry["name"]: entry for entry in only["baselines"]}
    assert simple["random"]["recall_at_1_percent"] == pytest.approx(2 / 198)
    assert only["overlap"] == 0.0


def test_lift_counts_longer_lists(toy):
    ranking = everyone(toy, ["u000", "u001", "u004", "u005", "u006", "u007", "u008", "u009", "u010", "u002"])
    found = scored(toy, [line({"itemId": "a"}, ranking)])
    assert [point["users"] for point in found["lift"]] == [1, 2, 4, 10, 20, 40]
    assert [round(point["recall"], 3) for point in found["lift"]] == [0, 0.333, 0.333, 0.667, 1, 1]
    assert found["lift"][-1]["lift"] == pytest.approx(5.0)
    assert scored(toy, [line({"itemId": "a"}, ranking[:39])])["lift"] is None


def test_calibration_bins(toy):
    ranking = everyone(toy, ["u001", "u002", "u009", "u003"])
    probabilities = [0.9] * 4 + [0.1] * 196
    found = scored(toy, [line({"itemId": "a"}, ranking, probabilities)])["calibration"]
    # The best 20 % of the list: 40 pairs, 4 to a bin.
    assert [part["pairs"] for part in found["bins"]] == [4] * 10
    assert found["bins"][-1] == {"predicted": pytest.approx(0.9), "happened": 0.75, "pairs": 4}
    assert found["bins"][0]["happened"] == 0.0
    assert found["predicted_total"] == pytest.approx(4 * 0.9 + 36 * 0.1)
    assert found["happened_total"] == 3
    twice = figures.Calibration()
    twice.add(np.array([1, 2]), [0.5, 1.0], np.array([1]))
    assert twice.figures(2.0)["predicted_total"] == pytest.approx(0.75 + 1)


def test_errors_and_short_lists(toy):
    found = scored(toy, [line({"itemId": "a"}, ["u001", "u009"]),
                         line({"itemId": "z"}, [], error="User error: ...")])
    assert (found["queries"], found["line_errors"]) == (1, 1)
    with pytest.raises(tables.DataError, match="only 1 users"):
        scored(toy, [line({"itemId": "a"}, ["u001"])])
    with pytest.raises(tables.DataError, match="listed twice"):
        scored(toy, [line({"itemId": "a"}, ["u001", "u001"])])
    with pytest.raises(tables.DataError, match="no event before"):
        scored(toy, [line({"itemId": "a"}, ["u001", "new"])])


def test_items_without_a_past_are_counted_apart(tmp_path):
    events = [(f"u{user:03}", "base", user + 1) for user in range(100)]
    events += [(f"u{user:03}", "fresh", 1000 + user) for user in range(5)]
    events += [(f"u{user:03}", "rare", 1000 + user) for user in range(4)]
    protocol = Protocol(write(tmp_path / "events.csv", events), 1000, 100)
    found = scored(protocol, [line({"itemId": "fresh"}, ["u003"]), line({"itemId": "rare"}, ["u003"])])
    assert found["queries"] == 0
    assert found["cold_items"]["queries"] == 1
    assert found["cold_items"]["model"]["recall_at_1_percent"] == pytest.approx(0.2)


ITEMS = '''ITEM_ID,GENRES,PRICE,YEAR,BRAND
i1,Comedy|Action,10.0,1999,Acme
i2,Comedy,,2005,"Tea ""Leaf"""
i3,Horror|Action,10.0,1999,
i4,,5.5,2020,Acme
i5,comedy,20.0,2005,
'''


@pytest.fixture
def index(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text(ITEMS)
    return attributes.Index(*tables.read_items(path))


@pytest.mark.parametrize("query, items", [
    ('ITEMS.GENRES = "Comedy"', "i1 i2"),
    ('ITEMS.genres = "Comedy"', "i1 i2"),
    ('ITEMS.GENRES="Comedy"', "i1 i2"),
    ('items.GENRES = "comedy"', "i5"),
    ('ITEMS.GENRES = "Comedy" AND ITEMS.GENRES = "Action"', "i1"),
    ("ITEMS.PRICE = 10", "i1 i3"),
    ('ITEMS.PRICE = "10.0"', "i1 i3"),
    ('ITEMS.YEAR = 1999 AND ITEMS.GENRES = "Action"', "i1 i3"),
    ('ITEMS.BRAND = "Tea \\"Leaf\\""', "i2"),
    ('ITEMS.BRAND = "Acme" and ITEMS.YEAR = 2020', "i4"),
])
def test_attribute_queries(index, query, items):
    assert index.items(query) == set(items.split())


@pytest.mark.parametrize("query", [
    'ITEMS.GENRES = "Horror" AND ITEMS.YEAR = 2005', 'ITEMS.GENRES = "Drama"', "ITEMS.PRICE > 5", "",
    'ITEMS.GENRES = "Comedy" OR ITEMS.GENRES = "Action"', 'ITEMS.GENRES IN ("Comedy")',
    'NOT ITEMS.GENRES = "Comedy"', "ITEMS.CREATION_TIMESTAMP = 1", "USERS.AGE = 3", 'ITEMS.GENRES = "Comedy" AND',
])
def test_refused_attribute_queries(index, query):
    with pytest.raises(attributes.QueryError):
        index.items(query)


def test_attribute_lists_are_scored_over_all_items_that_match(tmp_path, index):
    events = [(f"u{user:03}", "i4", user + 1) for user in range(100)]
    events += [("u007", "i1", 900), ("u001", "i1", 1000), ("u002", "i3", 1001), ("u002", "i1", 1002),
               ("u003", "i2", 1003), ("u007", "i3", 1004)]
    protocol = Protocol(write(tmp_path / "events.csv", events), 1000, 100)
    query = {"itemAttributes": "ITEMS.YEAR = 1999"}
    found = scored(protocol, [line(query, ["u002", "u007"])], index=index)
    # i1 and i3: u001, u002 and u007 came, u007 not for the first time.
    assert found["model"]["recall_at_1_percent"] == pytest.approx(1 / 3)
    assert (found["first_time_queries"], found["first_time_recall"]) == (1, 0.5)
    simple = {entry["name"]: entry for entry in found["baselines"]}
    assert simple["own_history"]["recall_at_1_percent"] == pytest.approx(1 / 3)
    assert simple["most_active"]["recall_at_1_percent"] == pytest.approx(1 / 3)
    with pytest.raises(tables.DataError, match="items file"):
        scored(protocol, [line(query, ["u002"])])


def test_queries_worth_asking_mean_what_they_say(index):
    single = attributes.single_queries(index, lambda items: len(items) >= 2)
    assert {frozenset(index.items(query)) for query in single} == {
        frozenset(group.split()) for group in ("i1 i2", "i1 i3", "i2 i5", "i1 i4")}
    double = attributes.double_queries(index, lambda items: True, 100)
    assert 'ITEMS.YEAR = 2005 AND ITEMS.BRAND = "Tea \\"Leaf\\""' in double
    assert len(set(double)) == len(double) == expected_doubles()
    assert attributes.double_queries(index, lambda items: True, 3) == attributes.double_queries(
        index, lambda items: True, 3)
    assert all(index.items(query) for query in double)


def expected_doubles():
    """Pairs of values of two columns that an item has, counted cell by cell from the table above."""
    rows = [[["Comedy", "Action"], [10], [1999], ["Acme"]], [["Comedy"], [], [2005], ["Tea"]],
            [["Horror", "Action"], [10], [1999], []], [[], [5.5], [2020], ["Acme"]],
            [["comedy"], [20], [2005], []]]
    return len({(i, one, j, other) for row in rows for i in range(4) for j in range(i + 1, 4)
                for one in row[i] for other in row[j]})


def test_the_command_prints_json(toy, tmp_path, capsys, monkeypatch):
    tables.write_lines(tmp_path / "out", [line({"itemId": "a"}, ["u001", "u009"])])
    monkeypatch.setattr("sys.argv", ["score.py", "--interactions", str(tmp_path / "events.csv"), "--split", "1000",
                                     "--horizon-days", str(100 / DAY), "--output", str(tmp_path / "out")])
    score.main()
    assert json.loads(capsys.readouterr().out)["model"]["hits_at_1_percent"] == 1.0
