"""Every kind of mistake in an output is found, and the right output passes."""

import json

import numpy as np
import pytest

import exact
import models
import verify
from test_exact import small

K = 25


def job(model, lines):
    """The output that a job should write for these lines."""
    out = b""
    row_of = {text: row for row, text in enumerate(model.item_ids)}
    for line in lines:
        line = line.strip()
        if not line:
            continue
        if not verify.is_object(line):
            error = {"input": verify.echo(line), "output": {"usersList": []}, "error": "bad"}
            out += json.dumps(error).encode() + b"\n"
        elif json.loads(line).get("itemId") not in row_of:
            out += b'{"input": ' + line + b', "output": {"usersList": []}, "error": "unknown"}\n'
        else:
            numbers, _ = exact.top_users(model, [row_of[json.loads(line)["itemId"]]], K)
            ids = b",".join(b'"%s"' % model.user_ids[n].encode() for n in numbers[0])
            out += b'{"input": ' + line + b', "output": {"usersList": [' + ids + b']}, "error": null}\n'
    return out


@pytest.fixture
def case(tmp_path):
    model = small(5)
    models.write(model, tmp_path / "model")
    names = [model.item_ids[n] for n in np.random.default_rng(1).integers(7, size=60)]
    lines = [b'{"itemId": "%s"}' % name.encode() for name in names]
    lines[10], lines[20], lines[30] = b"not json", b"", b'{"itemId": "' + b"x" * 70_000 + b'"}'
    lines[40] = b'{"itemId": "nobody"}'
    source = tmp_path / "in.json"
    source.write_bytes(b"\r\n".join(lines))
    return source, tmp_path / "out.json", tmp_path / "model", job(model, lines)


def check(case, out):
    case[1].write_bytes(out)
    return verify.verify(case[0], case[1], case[2], K, 200, 1)


def test_the_right_output_passes_and_is_counted(case):
    found = check(case, case[3])
    assert (found["lines"], found["line_errors"], found["distinct_answered"]) == (59, 3, 7)
    assert found["lines_compared"] > 20


def lines_of(case):
    return case[3].splitlines(keepends=True)


def refused(line):
    """An error where there was an answer."""
    return line.split(b', "output"')[0] + b', "output": {"usersList": []}, "error": "no"}\n'


def answered(line, other):
    """Another line's answer for the item that nobody has."""
    return line.split(b', "output"')[0] + b', "output"' + other.split(b', "output"')[1] if b"nobody" in line else line


@pytest.mark.parametrize("spoil, says", [
    (lambda lines: lines[:5] + lines[6:], "not repeated|neither an answer|input"),
    (lambda lines: lines[:5] + [lines[6], lines[5]] + lines[7:], "not repeated"),
    (lambda lines: lines + lines[:1], "more than 59"),
    (lambda lines: lines[:-1], "ends or is cut"),
    (lambda lines: lines[:3] + [lines[3].replace(b'["', b'["u1","', 1)] + lines[4:], "25 users|equal line"),
    (lambda lines: lines[:10] + [lines[10].replace(b"not json", b"not JSON")] + lines[11:], "not repeated"),
    (lambda lines: lines[:7] + [refused(lines[7])] + lines[8:], "an error for an item"),
    (lambda lines: [answered(line, lines[0]) for line in lines], "an answer about an item"),
])
def test_a_dropped_swapped_added_cut_or_altered_line_is_named(case, spoil, says):
    with pytest.raises(verify.Wrong, match=says):
        check(case, b"".join(spoil(lines_of(case))))


def test_two_users_exchanged_everywhere_are_found_by_the_sample(case):
    first = lambda line: line.split(b'"usersList": ["')[1].split(b'","')[:2]
    out = [line for line in lines_of(case)]
    for place, line in enumerate(out):
        if b'"error": null' in line:
            a, b = first(line)
            out[place] = line.replace(b'["%s","%s"' % (a, b), b'["%s","%s"' % (b, a))
    with pytest.raises(verify.Wrong, match="place 0 of the list"):
        check(case, b"".join(out))
