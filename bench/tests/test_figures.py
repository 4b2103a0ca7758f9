"""Ratios, the sizing formula and the document, on figures made up for it."""

import sys

import measure
import pytest
import report
import sizing
from sections.context import goal


def test_a_ratio_is_the_median_of_the_rounds_own_ratios():
    rounds = [{"a": {"s": a}, "b": {"s": b}} for a, b in [(1.0, 4.0), (2.0, 20.0), (1.0, 5.0)]]
    assert measure.ratio(rounds, "a", "b", "s") == 5.0
    calls = []
    measure.in_turns(2, {"x": lambda: calls.append("x"), "y": lambda: calls.append("y")})
    assert calls == ["x", "y", "x", "y"]


def test_cpu_seconds_and_memory_are_the_childs():
    # What this process has in memory must not show in the peak of a small one.
    large = bytearray(150 << 20)
    large[::4096] = large[::4096]
    assert measure.run(["true"]).peak_memory_bytes < 50 << 20
    program = "x = bytearray(200 << 20); x[::4096] = x[::4096]; print(sum(range(3_000_000)))"
    done = measure.run([sys.executable, "-c", program])
    assert done.output.strip() == str(sum(range(3_000_000)))
    assert 0 < done.cpu_seconds < done.wall_seconds + 1 and done.peak_memory_bytes > 200 << 20
    with pytest.raises(measure.Failed, match="nobody"):
        measure.run([sys.executable, "-c", "import sys; sys.exit('nobody')"])


def test_the_formula_finds_the_coefficients_that_made_the_runs():
    shapes = [(u, d, k, n, min(n, 4_000)) for u in (1e5, 1e6) for d in (64, 149) for k in (25, 1_000)
              for n in (1_000, 50_000, 1_000_000)]
    runs = []
    for users, dimension, k, lines, distinct in shapes:
        run = {"users": users, "dimension": dimension, "k": k, "lines": lines, "distinct": distinct, "items": 1e4,
               "history": 0.0, "tiles": 1 / users**0.1, "output_bytes": lines * (40.0 + 11 * k)}
        scored = distinct * users * dimension * run["tiles"]
        run["cpu_seconds"] = 0.1 + 2e-9 * users * dimension + 3e-12 * scored + 4e-8 * lines
        run["peak_memory_bytes"] = 3e7 + 4.0 * (users + 1e4) * dimension + 50 * users
        run["model_bytes"] = 4.0 * (users + 1e4) * dimension + 8 * (users + 1e4)
        runs.append(run)
    formula = sizing.fit(sizing.JOB_FORMS, runs[::2])
    assert formula["cpu_seconds"][2] == pytest.approx(3e-12, rel=0.01)
    assert formula["output_bytes"] == pytest.approx([40.0, 11.0])
    assert all(value >= 0 for values in formula.values() for value in values)
    for what in sizing.JOB_FORMS:
        count, median, largest = sizing.errors(sizing.JOB_FORMS, formula, runs[1::2], what)
        assert count == len(runs) // 2 and median <= largest < 0.01


def test_goals_say_whether_they_are_met_in_both_directions():
    assert goal("a", "b", 4, 4.1)["met"] and not goal("a", "b", 4, 3.9)["met"]
    assert goal("a", "b", -2.0, 1.9)["met"] and not goal("a", "b", -2.0, 2.1)["met"]


def test_the_document_has_tables_goals_and_a_mark_where_others_used_the_machine():
    section = {"title": "Things", "text": "About things.", "goals": [goal("path", "peer", 4, 3.5)], "rounds": [],
               "tables": [{"title": "All", "columns": ["what", "figure"],
                           "rows": [["a", 1234.5], ["b", 0.01234], ["c", None]]}],
               "measured_with": {"date": "2030-01-01", "version": "kindred 0", "commit": "abc", "size": "full",
                                 "machine": {"processor": "P", "cores": 2, "memory_gib": 8.0}, "rounds": 3,
                                 "load_before": 0.1, "load_after": 1.0, "command": "bench/run.py things"}}
    text = report.document({"things": section}, "results.json")
    for line in ["| path | peer | at least 4 times | 3.5 times | no | `bench/run.py things` |", "| a | 1,234 |",
                 "| b | 0.0123 |", "| c |  |", "## Things"]:
        assert line in text, line
    assert "others used" not in text
    section["measured_with"] |= {"load_before": 3.0, "size": "small"}
    assert "at least 4 times" not in report.document({"things": section}, "results.json")
    assert "others used" in report.document({"things": section}, "results.json")
