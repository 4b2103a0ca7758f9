"""What counts as agreement. Run with `pytest bench/quality`."""

import copy
import pathlib

import pytest

import report
import run
import score
import tables
from program import Program, ProgramError


@pytest.fixture
def result(tmp_path):
    """The figures of one list over a hundred users."""
    events = [(f"u{user:03}", f"i{user % 3}", user + 1) for user in range(100)]
    events += [("u001", "i1", 1000), ("u002", "i0", 1001)]
    tables.write_csv(tmp_path / "events.csv", tables.KEYS, events)
    found = score.Score(score.Protocol(tmp_path / "events.csv", 1000, 100))
    users = [f"u{user:03}" for user in range(100)]
    for item in ("i0", "i1"):
        found.add_line({"input": {"itemId": item}, "error": None,
                        "output": {"usersList": users, "scores": [0.5] * 100}})
    return found.result()


def test_equal_results_agree_and_changed_ones_do_not(result):
    same = report.compare(result, copy.deepcopy(result))
    assert same["equal"] > 40 and same["differing"] == same["absent"] == []
    for change in (lambda one: one.update(queries=3), lambda one: one["model"].update(coverage=0.0100001),
                   lambda one: one["baselines"][3].update(hits_at_1_percent=0.4),
                   lambda one: one["lift"][2].update(recall=0.6),
                   lambda one: one["calibration"]["bins"][1].update(happened=0.3)):
        other = copy.deepcopy(result)
        change(other)
        assert len(report.compare(result, other)["differing"]) == 1


def test_rounding_random_draws_and_missing_parts_are_no_difference(result):
    other = copy.deepcopy(result)
    other["overlap"] += 1e-12
    other["baselines"][0]["recall_at_1_percent"] = 0.5
    other["calibration"] = None
    found = report.compare(result, other)
    assert found["differing"] == []
    assert "predicted_total" in found["absent"]
    assert "only one of the two has" in report.show_comparison(found)


def test_markdown_of_a_result(result):
    text = report.show("toy", result)
    assert "100 users, lists of 1, 2 queries." in text
    assert "| **model** | 0.000 | 0.0000 | 0.010 |" in text
    line = report.summary([{"case": "toy", "figures": result, "note": "agrees"}] * 2).splitlines()[-1]
    assert line.startswith("| toy | 2 | 0.000 |") and line.endswith("| agrees |")


@pytest.fixture
def data(tmp_path):
    """A data set of three users whose split is at 100, with horizons of 10 s."""
    events = [("a", "x", 85), ("b", "x", 92), ("a", "y", 95), ("c", "y", 99), ("a", "x", 101), ("b", "z", 105)]
    tables.write_csv(tmp_path / "interactions.csv", tables.KEYS, events)
    tables.write_csv(tmp_path / "items.csv", ["ITEM_ID", "KIND"], [["x", "old"], ["y", "new"], ["z", "new"]])
    tables.write_json(tmp_path / "dataset.json", {
        "name": "toy", "split": 100, "horizon_days": 10 / run.DAY, "first_time_only": False,
        "queries": {"min_events": 2, "before": 100}})
    return tmp_path


def test_a_case_is_cut_at_its_split(data):
    case = run.Case(data, data / "work", False, 0)
    assert case.train.read_text().splitlines()[1:] == ["a,x,85", "b,x,92", "a,y,95", "c,y,99"]
    assert case.item_queries() == [[{"itemId": "x"}, {"itemId": "y"}], []]
    # z is new, and somebody with a past came for it.
    assert case.attribute_queries(False, 2) == [{"itemAttributes": 'ITEMS.KIND = "new"'},
                                                {"itemAttributes": 'ITEMS.KIND = "old"'}]
    assert case.attribute_queries(False, 3) == []
    earlier = run.Case(data, data / "work", False, 1)
    assert earlier.train.read_text().splitlines()[1:] == ["a,x,85"]
    assert earlier.protocol.users == ["a"]


def test_shuffling_moves_nothing_but_the_items(data):
    events = [("a", f"i{number}", number) for number in range(90)] + [("a", "i0", 101), ("b", "i1", 102)]
    tables.write_csv(data / "interactions.csv", tables.KEYS, events)
    plain, shuffled = run.Case(data, data / "plain", False, 0), run.Case(data, data / "shuffled", True, 0)

    def cells(case, place):
        return [row.split(",")[place] for row in case.train.read_text().splitlines()]

    assert cells(plain, 0) == cells(shuffled, 0) and cells(plain, 2) == cells(shuffled, 2)
    assert sorted(cells(plain, 1)) == sorted(cells(shuffled, 1)) and cells(plain, 1) != cells(shuffled, 1)
    assert plain.whole.read_text().splitlines()[91:] == shuffled.whole.read_text().splitlines()[91:]


def fake_program(folder, text):
    path = folder / "program"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return Program(path)


def test_flags_are_found_in_the_help_as_whole_words(tmp_path):
    program = fake_program(tmp_path, '[ "$1" = segment ] || exit 2\necho "  --model-in <DIR>  --scores"\n')
    assert program.has("segment") and program.has("segment", "--scores")
    assert not program.has("segment", "--model") and not program.has("evaluate")


def test_a_failed_program_is_an_error_with_its_words(tmp_path):
    program = fake_program(tmp_path, 'echo "no such file" >&2\nexit 1\n')
    with pytest.raises(ProgramError, match="no such file"):
        program.evaluate(pathlib.Path("x.csv"), [])
    assert fake_program(tmp_path, 'echo "{}"\n').evaluate("x.csv", [])[0] == {}
