#!/usr/bin/env python3
"""The UserRec protocol of "Bridging Recommendation and Marketing via Recurrent Intensity Modeling".

    userrec.py --binary target/release/kindred --data films

re-implements the protocol of the paper's published experiment code, MovieLens recipe:

- of every user the second half of the events is kept (rank in time as a share of the user's events
  >= 0.5; events are shuffled with seed 0, then sorted by time);
- Tmin, Tmax are a user's first and last kept event; group A is a random half of the users (seed 888),
  known for training only, all their events; every other user is a test row with T_u = Tmin + L, where
  L is the median over the users of Tmax - Tmin; the horizon h is L, too;
- target(u, i) counts the events of u with i in [T_u, T_u + h); columns are the items with a training
  event; pairs seen in training cannot be listed (score -1e10), but stay in the targets;
- every column gets the C = ceil(1 % of the rows) best rows; `prec` is the mean target of a listed
  cell times 100, `recall` the mean over columns of hits / max(1, column total).

Kindred knows one present for all users, the end of its data, while every row here has a T_u of its
own. So every user's clock is shifted: T_u of a test user, and the instant after the last event of a
training user, become the same instant. The clock is also made to run faster or slower, for all alike: h
becomes the 30 days that the program predicts (films are rated by the minute), and ages beyond 360 h
count as 360 h. Only ages in units of h remain meaningful, which is all that the protocol looks at. All
users are ranked for every column, and rows are picked from that.

ItemRec asks the other way round, k = ceil(1 % of the columns) items for every row; it needs scores
that compare between lists, so it is left out unless the program writes `scores`.

The random generators are numpy's; the paper's draws can differ, so figures agree up to the luck of
the split. Published for MovieLens 1M, UserRec prec x 100: RNN x HP 4.7, Transformer x HP 4.9, ALS of
that package 1.56, random 0.22. Other data have other figures.
"""

import argparse
import json
import pathlib
import sys
import tempfile

import numpy as np

import report
import tables
from program import Program, ProgramError
from protocol import byte_order

PRESENT = 2_000_000_000
PREDICTED_SECONDS = 30 * 86_400
AGE_HORIZONS_MAX = 360
SHUFFLE_SEED, GROUP_SEED, RANDOM_SEED, RANDOM_DRAWS = 0, 888, 1, 20


class Matrix:
    """Rows, columns, histories and targets of the protocol.

    rows     test users, columns items, both in byte order; target, seen: rows x columns
    training (user, item, shifted time) of all users
    events   training events of a row; decayed: sum of exp(-age / h), age from T_u
    """

    def __init__(self, events):
        kept = second_halves(events)
        users = byte_order(kept)
        spans = {user: (kept[user][0][0], kept[user][-1][0]) for user in users}
        self.horizon = int(np.median([last - first for first, last in spans.values()]))
        if self.horizon < 1:
            raise tables.DataError("half of the users have all their events at one instant")
        order = np.random.RandomState(GROUP_SEED).permutation(len(users))
        group_a = {users[place] for place in order[:len(users) // 2]}
        end = {user: spans[user][1] + 1 if user in group_a else spans[user][0] + self.horizon for user in users}
        self.training = [(user, item, PRESENT - self.stretched(end[user] - time))
                         for user in users for time, item in kept[user] if time < end[user]]
        self.rows = [user for user in users if user not in group_a]
        self.columns = byte_order({item for _, item, _ in self.training})
        self.row_number = {user: number for number, user in enumerate(self.rows)}
        self.column_number = {item: number for number, item in enumerate(self.columns)}
        self.target = np.zeros((len(self.rows), len(self.columns)), dtype=np.int64)
        self.seen = np.zeros(self.target.shape, dtype=bool)
        self.events, self.decayed = np.zeros(len(self.rows)), np.zeros(len(self.rows))
        for user in self.rows:
            for time, item in kept[user]:
                self.add(self.row_number[user], self.column_number.get(item), time - end[user])

    def stretched(self, age):
        """Seconds of the shifted clock; an age of 1 s or more stays one."""
        return min(AGE_HORIZONS_MAX * PREDICTED_SECONDS, -(-age * PREDICTED_SECONDS // self.horizon))

    def add(self, row, column, after):
        """One event of a test user, so many seconds after T_u, before it if negative."""
        if after < 0:
            self.seen[row, column] = True
            self.events[row] += 1
            self.decayed[row] += np.exp(after / self.horizon)
        elif after < self.horizon and column is not None:
            self.target[row, column] += 1


def second_halves(events):
    """{user: [(time, item)] in order of time} of the newer half; `events` are (user, item, time)."""
    order = np.random.RandomState(SHUFFLE_SEED).permutation(len(events))
    shuffled = sorted((events[place] for place in order), key=lambda event: event[2])
    of_user = {}
    for user, item, time in shuffled:
        of_user.setdefault(user, []).append((time, item))
    # The n-th of N events has rank n / N.
    return {user: [event for rank, event in enumerate(all_of, 1) if 2 * rank >= len(all_of)]
            for user, all_of in of_user.items()}


def user_rec(matrix, lists):
    """prec x 100 and recall of {column: rows, best first}; the first C count."""
    count = -(-len(matrix.rows) // 100)
    hits = np.array([matrix.target[lists[column][:count], column].sum() for column in range(len(matrix.columns))])
    totals = np.maximum(1, matrix.target.sum(axis=0))
    return {"prec_times_100": float(100 * hits.sum() / (count * len(matrix.columns))),
            "recall": float(np.mean(hits / totals))}


def item_rec(matrix, scores):
    """The same for rows: k = ceil(1 % of the columns) items of a row, by rows x columns of scores."""
    count = -(-len(matrix.columns) // 100)
    order = np.argsort(-np.where(matrix.seen, -1e10, scores), axis=1, kind="stable")[:, :count]
    hits = np.take_along_axis(matrix.target, order, axis=1).sum(axis=1)
    totals = np.maximum(1, matrix.target.sum(axis=1))
    return {"prec_times_100": float(100 * hits.sum() / (count * len(matrix.rows))),
            "recall": float(np.mean(hits / totals))}


def ranked(matrix, values):
    """Lists by one value per row, seen pairs left out, ties by id."""
    order = np.argsort(-values, kind="stable")
    return {column: order[~matrix.seen[order, column]] for column in range(len(matrix.columns))}


def random_figures(matrix):
    """The mean over some draws."""
    random = np.random.default_rng(RANDOM_SEED)
    draws = [user_rec(matrix, ranked(matrix, random.random(len(matrix.rows)))) for _ in range(RANDOM_DRAWS)]
    return {key: float(np.mean([draw[key] for draw in draws])) for key in draws[0]}


def read_output(matrix, path):
    """(lists of rows per column, scores or None) from the job's output file."""
    lists, scores = {}, np.full(matrix.target.shape, -1e10)
    complete = True
    for line in tables.read_lines(path):
        if line["error"] is not None:
            raise tables.DataError(f"{path}: {line['input']}: {line['error']}")
        column = matrix.column_number[str(line["input"]["itemId"])]
        rows = [(matrix.row_number[user], place) for place, user in enumerate(line["output"]["usersList"])
                if user in matrix.row_number]
        if len(rows) != len(matrix.rows):
            raise tables.DataError(f"{path}: {line['input']}: {len(rows)} of {len(matrix.rows)} test users listed")
        order = np.array([row for row, _ in rows])
        lists[column] = order[~matrix.seen[order, column]]
        given = line["output"].get("scores")
        complete &= given is not None
        if given is not None:
            scores[order, column] = [given[place] for _, place in rows]
    return lists, scores if complete else None


def run(program, data, work, options):
    header, rows, (user, item, time) = tables.read_interactions(data / "interactions.csv")
    matrix = Matrix([(row[user], row[item], int(row[time])) for row in rows])
    train, queries, output = work / "train.csv", work / "queries.jsonl", work / "queries.jsonl.out"
    tables.write_csv(train, tables.KEYS, matrix.training)
    tables.write_lines(queries, ({"itemId": name} for name in matrix.columns))
    everybody = len({event[0] for event in matrix.training})
    flags = ["--hidden-dimension", options.hidden_dimension] if options.hidden_dimension else []
    flags += ["--scores"] if program.has("segment", "--scores") else []
    seconds, _ = program.segment(train, queries, output, everybody, work / "model", flags)
    lists, scores = read_output(matrix, output)
    figures = {"model": user_rec(matrix, lists), "random": random_figures(matrix),
               "popularity": user_rec(matrix, ranked(matrix, matrix.events)),
               "moving average": user_rec(matrix, ranked(matrix, matrix.decayed))}
    return {"rows": len(matrix.rows), "columns": len(matrix.columns), "horizon_seconds": matrix.horizon,
            "training_events": len(matrix.training), "targets": int(matrix.target.sum()),
            "listed_rows": -(-len(matrix.rows) // 100), "segment_seconds": seconds, "user_rec": figures,
            "item_rec": None if scores is None else item_rec(matrix, scores)}


def show(result):
    lines = [(name, f"{entry['prec_times_100']:.3f}", f"{entry['recall']:.4f}")
             for name, entry in result["user_rec"].items()]
    print(f"{result['rows']:,} test users, {result['columns']:,} items, {result['listed_rows']} users a list, "
          f"horizon {result['horizon_seconds']:,} s, {result['targets']:,} events to find\n")
    print(report.table(["UserRec", "prec x 100", "recall"], lines))
    if result["item_rec"]:
        print(f"\nItemRec: prec x 100 {result['item_rec']['prec_times_100']:.3f}, "
              f"recall {result['item_rec']['recall']:.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/kindred", help="the kindred program")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder made by datasets.py")
    parser.add_argument("--hidden-dimension", type=int)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--work", type=pathlib.Path, help="keep the files of the run here")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or pathlib.Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        result = run(Program(options.binary, options.threads), options.data, work, options)
    show(result)
    if options.json:
        tables.write_json(options.json, result)
    print("\n" + json.dumps(result))


if __name__ == "__main__":
    try:
        main()
    except (tables.DataError, ProgramError, OSError) as error:
        sys.exit(f"error: {error}")
