"""The UserRec protocol on cases worked out by hand. Run with `pytest bench/quality`."""

import numpy as np
import pytest

import tables
import userrec


@pytest.fixture
def matrix():
    """Eight users with eight events each, ten seconds apart, user u at its own time of day: the second
    half are the events 4 to 8, so L = 40 and T_u is the last of them."""
    events = [(f"u{user}", f"i{number}", 1000 * user + 10 * number)
              for user in range(8) for number in range(1, 9)]
    return userrec.Matrix(events)


def test_second_halves():
    events = [("a", str(number), number) for number in range(1, 6)]
    # Ranks 1/5 .. 5/5: at least 0.5 are the third to the fifth.
    assert userrec.second_halves(events) == {"a": [(3, "3"), (4, "4"), (5, "5")]}


def test_splits_and_shifted_clocks(matrix):
    assert matrix.horizon == 40
    assert len(matrix.rows) == 4
    # Test users train on the events 4 to 7, the eighth is at T_u; the others on all five.
    assert matrix.columns == ["i4", "i5", "i6", "i7", "i8"]
    assert len(matrix.training) == 4 * 4 + 4 * 5
    assert matrix.target.tolist() == [[0, 0, 0, 0, 1]] * 4
    assert matrix.seen.tolist() == [[True] * 4 + [False]] * 4
    tested = {user: [] for user in matrix.rows}
    others = {}
    for user, _, time in matrix.training:
        tested.get(user, others.setdefault(user, [])).append(time)
    # 40 s are the horizon, which becomes 30 days.
    ages = [userrec.PREDICTED_SECONDS * age // 40 for age in (40, 30, 20, 10)]
    assert all(times == [userrec.PRESENT - age for age in ages] for times in tested.values())
    # The last event of a training user is one second before.
    assert all(max(times) == userrec.PRESENT - userrec.PREDICTED_SECONDS // 40
               for user, times in others.items() if user not in tested)
    assert matrix.stretched(10**9) == 360 * userrec.PREDICTED_SECONDS
    assert matrix.events.tolist() == [4] * 4
    assert matrix.decayed == pytest.approx([sum(np.exp(-age / 40) for age in (10, 20, 30, 40))] * 4)


def test_precision_and_recall(matrix):
    # C = 1; only i8 has anything to find, once in each row.
    found = userrec.user_rec(matrix, userrec.ranked(matrix, matrix.events))
    assert found == {"prec_times_100": 100 * 1 / 5, "recall": pytest.approx(0.25 / 5)}
    counted = matrix
    counted.target[2, 4] = 3
    first = {column: np.array([2]) for column in range(5)}
    assert userrec.user_rec(counted, first) == {"prec_times_100": 100 * 3 / 5, "recall": pytest.approx(0.5 / 5)}


def test_item_rec_leaves_seen_pairs_out(matrix):
    scores = np.zeros(matrix.target.shape)
    scores[:, 0] = 9.0
    # i4 was seen by all; of the rest i8 is the only one that was not.
    assert userrec.item_rec(matrix, scores)["prec_times_100"] == 100.0


def test_output_rows_are_picked(matrix, tmp_path):
    everybody = [f"u{user}" for user in range(8)]
    lines = [{"input": {"itemId": item}, "output": {"usersList": everybody}, "error": None}
             for item in matrix.columns]
    tables.write_lines(tmp_path / "out", lines)
    lists, scores = userrec.read_output(matrix, tmp_path / "out")
    assert scores is None
    assert lists[4].tolist() == [0, 1, 2, 3] and lists[0].tolist() == []
    lines[0]["output"]["usersList"] = everybody[:3]
    tables.write_lines(tmp_path / "out", lines)
    with pytest.raises(tables.DataError, match="test users listed"):
        userrec.read_output(matrix, tmp_path / "out")
