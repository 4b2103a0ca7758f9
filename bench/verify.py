#!/usr/bin/env python3
"""Checks the output of a segment job line by line, and a sample of it against the model in numpy.

    bench/verify.py INPUT OUTPUT --model DIR [--k 25] [--sample 400] [--seed 1]

Every line: the output has as many lines as the input has lines that are not blank, in the same order,
and each repeats its input (byte for byte, or as a JSON string if it is no JSON object); a line has an
error exactly if it does not ask for an item of the model, and lists k users otherwise; equal inputs
have equal answers. Lines are streamed: memory grows with the
different inputs (a hash of 8 bytes each), not with the lines.

A sample of the answered lines, drawn evenly: the list is computed again from the model's files by
scoring every user in float64 (`exact.py`) and must agree id by id. Ends with status 1 at the first
line that is wrong, named.
"""

import argparse
import gzip
import json
import pathlib
import sys
import time

import numpy as np

import exact
import models

HEAD = b'{"input": '
MIDDLE = b', "output": {"usersList": ['
OK_END = b']}, "error": null}\n'
# Of a longer line the job repeats only the beginning.
LINE_BYTES_MAX = 64 << 10
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# More different inputs than a batch segment job may have items.
DISTINCT_MAX = 20_000_000


class Wrong(Exception):
    """What is wrong, and in which line."""


def opened(path):
    """A file for reading bytes; `.gz` is expanded."""
    return gzip.open(path, "rb") if str(path).endswith(".gz") else open(path, "rb", buffering=1 << 20)


def input_lines(file):
    """The lines as the job sees them: without ends and outer white space, blank ones left out."""
    for number, line in enumerate(file):
        if number == 0 and line.startswith(BYTE_ORDER_MARK):
            line = line[len(BYTE_ORDER_MARK):]
        line = line.strip()
        if line:
            yield line


def is_object(line):
    """Whether the job takes a line for a JSON object."""
    if len(line) > LINE_BYTES_MAX:
        return False
    try:
        return isinstance(json.loads(line.decode("utf-8")), dict)
    except ValueError:
        return False


def echo(line):
    """What the output repeats of an input line that is no object, decoded."""
    return line[:LINE_BYTES_MAX].decode("utf-8", errors="replace")


def asked_item(line):
    """The item that a line asks for; None if it asks for nothing."""
    if not is_object(line):
        return None
    item = json.loads(line).get("itemId")
    return item if isinstance(item, str) else None


def check_error(number, line, out, known):
    """A line with an error: it had to have one, repeats the input, lists nobody and says why."""
    try:
        found = json.loads(out)
    except ValueError as error:
        raise Wrong(f"line {number}: the output is no JSON: {error}") from error
    expected = json.loads(line) if is_object(line) else echo(line)
    if found.get("input") != expected:
        raise Wrong(f"line {number}: the input is not repeated")
    if found["output"]["usersList"] or not isinstance(found["error"], str):
        raise Wrong(f"line {number}: neither an answer nor an error")
    if asked_item(line) in known:
        raise Wrong(f"line {number}: an error for an item that the model has")


def check_lines(source, target, k, sample, known):
    """Streams both files; `known` are the items of the model.

    Gives {line number: (input, output)} of `sample`, and how many lines, errors and different answered
    inputs there were.
    """
    answers, kept, errors, number = {}, {}, 0, 0
    wanted = iter(sorted(sample))
    next_wanted = next(wanted, -1)
    # The users of a full list are separated by k - 1 of these.
    between = k - 1
    for number, line in enumerate(input_lines(source)):
        out = target.readline()
        start = len(HEAD) + len(line)
        end = start + len(MIDDLE)
        if out[len(HEAD):start] == line and out[start:end] == MIDDLE and out.endswith(OK_END):
            key, tail = hash(line), hash(out[end:])
            before = answers.get(key)
            if before is None:
                if asked_item(line) not in known:
                    raise Wrong(f"line {number}: an answer about an item that the model has not")
                if len(answers) >= DISTINCT_MAX:
                    raise Wrong(f"line {number}: more than {DISTINCT_MAX} different inputs")
                answers[key] = tail
            elif before != tail:
                raise Wrong(f"line {number}: another answer than to an equal line before")
            if out.count(b'","', end) != between or not out.startswith(HEAD):
                raise Wrong(f"line {number}: the list has not {k} users")
        elif out.endswith(b"}\n"):
            check_error(number, line, out, known)
            errors += 1
        else:
            raise Wrong(f"line {number}: the output ends or is cut here")
        if number == next_wanted:
            kept[number] = (line, out)
            next_wanted = next(wanted, -1)
    if target.readline():
        raise Wrong(f"the output has more than {number + 1} lines")
    return kept, number + 1, errors, len(answers)


def check_sample(kept, model, k):
    """Compares the kept lines with the model, id by id; gives how many were compared."""
    row_of = {text: row for row, text in enumerate(model.item_ids)}
    answered = [(number, json.loads(out)) for number, (_, out) in kept.items() if out.endswith(OK_END)]
    items = [row_of[found["input"]["itemId"]] for _, found in answered]
    users, _ = exact.top_users(model, items, k)
    for (number, found), expected in zip(answered, users):
        expected = [model.user_ids[user] for user in expected]
        listed = found["output"]["usersList"]
        if listed != expected:
            place = next(place for place in range(k) if listed[place] != expected[place])
            raise Wrong(f"line {number}: place {place} of the list is {listed[place]}, "
                        f"and the model says {expected[place]}")
    return len(answered)


def count_lines(path):
    with opened(path) as file:
        return sum(part.count(b"\n") for part in iter(lambda: file.read(1 << 22), b"")) + 1


def verify(source, target, folder, k, sample, seed):
    """All checks; gives a dict of counts and seconds. Raises `Wrong`."""
    start = time.monotonic()
    model = models.read(folder)
    k = min(k, len(model.user_ids))
    rng = np.random.default_rng(seed)
    chosen = {int(number) for number in rng.integers(count_lines(source), size=sample)}
    with opened(source) as lines, opened(target) as answers:
        kept, lines_found, errors, distinct = check_lines(lines, answers, k, chosen, frozenset(model.item_ids))
    streamed = time.monotonic()
    compared = check_sample(kept, model, k)
    return {"lines": lines_found, "line_errors": errors, "distinct_answered": distinct, "lines_compared": compared,
            "stream_seconds": round(streamed - start, 1), "compare_seconds": round(time.monotonic() - streamed, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--k", type=int, default=25)
    parser.add_argument("--sample", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    try:
        print(json.dumps(verify(asked.input, asked.output, asked.model, asked.k, asked.sample, asked.seed)))
    except Wrong as wrong:
        sys.exit(f"wrong: {wrong}")


if __name__ == "__main__":
    main()
