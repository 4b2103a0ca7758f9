#!/usr/bin/env python3
"""Scores an output file of a batch segment job against raw interactions.

    score.py --interactions all.csv --split EPOCH --horizon-days N --output q.jsonl.out [--items items.csv]

reads the lines `{"input": {"itemId": ...}, "output": {"usersList": [...]}, "error": null}` (or
`itemAttributes`, which needs --items), finds out who came in [split, split + horizon), and prints one
JSON object. It shares no code with the program that made the file. The lists should have been asked
for with numResults = population: a list that is too short for a figure is an error, or makes the
figure null (lift). Probabilities are taken from `scores` beside `usersList` where they are.
"""

import argparse
import json
import pathlib
import sys

import numpy as np

import attributes
import figures
import tables
from protocol import Baselines, Protocol

COLD_ACTUAL_MIN = 5
DAY = 86_400


class Asked:
    """A query: its items (numbers), users of before, users who came, and of these the new ones."""

    def __init__(self, protocol, items):
        self.items = protocol.numbers(items)
        self.seen = protocol.union(protocol.seen, self.items)
        self.came = protocol.union(protocol.came, self.items)
        self.first = np.setdiff1d(self.came, self.seen, assume_unique=True)
        self.cold = protocol.trained(self.items) == 0


class Score:
    """The figures of one output file.

    With `first_time_only` users with an event of before on the query's items are left out of lists and
    actual users everywhere; without, only in the figures named first_time.
    """

    def __init__(self, protocol, index=None, first_time_only=False):
        self.protocol, self.index, self.first_time_only = protocol, index, first_time_only
        self.baselines = Baselines(protocol)
        population, k = len(protocol.users), protocol.k
        names = ("model", *Baselines.NAMES)
        self.main = {name: figures.Tally(population, k) for name in names}
        self.first = {name: figures.Tally(population, k) for name in names}
        self.chance = {"main": figures.Chance(population, k), "first": figures.Chance(population, k)}
        self.lift = figures.Lift(population)
        self.calibration = figures.Calibration()
        self.cold = {name: figures.Tally(population, k) for name in ("model", "most_active")}
        self.asked = self.errors = 0

    def items_of(self, query):
        if "itemAttributes" in query:
            if self.index is None:
                raise tables.DataError("attribute queries need the items file")
            return self.index.items(query["itemAttributes"])
        return {str(query["itemId"])}

    def add_line(self, line):
        if line["error"] is not None:
            self.errors += 1
            return
        output = line["output"]
        try:
            ranking = np.array([self.protocol.user_number[user] for user in output["usersList"]], dtype=np.int64)
        except KeyError as error:
            raise tables.DataError(f"{line['input']}: user {error} has no event before the split") from error
        if len(np.unique(ranking)) != len(ranking):
            raise tables.DataError(f"{line['input']}: a user is listed twice")
        query = Asked(self.protocol, self.items_of(line["input"]))
        if query.cold:
            self.add_cold(query, ranking)
        else:
            self.asked += 1
            self.add(query, ranking, output.get("scores"), line["input"])

    def add(self, query, ranking, scores, place):
        population, k = len(self.protocol.users), self.protocol.k
        new = figures.without(ranking, query.seen, population)
        listable = population - len(query.seen)
        if len(ranking) < min(k, population) or (self.first_time_only and len(new) < min(k, listable)):
            raise tables.DataError(f"{place}: the list has only {len(ranking)} users")
        # Users of before can fill a short list: then nothing can be said of first times.
        complete = len(new) >= min(k, listable)
        if len(query.first) and complete:
            self.first["model"].add(new, query.first)
            self.chance["first"].add(listable, len(query.first))
            for name in Baselines.NAMES:
                simple = self.baselines.ranking(name, query.items)
                self.first[name].add(figures.without(simple, query.seen, population), query.first)
        main, actual = (new, query.first) if self.first_time_only else (ranking, query.came)
        eligible = listable if self.first_time_only else population
        if scores is not None:
            kept = np.isin(ranking, main)
            longest = self.lift.sizes[-1]
            self.calibration.add(main[:longest], np.asarray(scores, dtype=float)[kept][:longest], actual)
        if not len(actual):
            return
        self.main["model"].add(main, actual)
        self.chance["main"].add(eligible, len(actual))
        self.lift.add(main, actual, eligible)
        for name in Baselines.NAMES:
            simple = self.baselines.ranking(name, query.items)
            if self.first_time_only:
                simple = figures.without(simple, query.seen, population)
            self.main[name].add(simple, actual)

    def add_cold(self, query, ranking):
        if len(query.came) >= COLD_ACTUAL_MIN:
            self.cold["model"].add(ranking, query.came)
            self.cold["most_active"].add(self.baselines.most_active, query.came)

    def result(self, rate_scale=1.0):
        """All figures; the keys are those of `kindred evaluate --json`, and some more."""
        model, first = self.main["model"], self.first["model"]
        active = self.main["most_active"]
        gains = np.subtract(model.recalls, active.recalls)

        def figures_of(name):
            return {**self.main[name].figures(), "first_time_recall": figures.mean(self.first[name].recalls)}

        random = {**self.chance["main"].figures(), "first_time_recall": figures.mean(self.chance["first"].recalls)}
        return {
            "split": self.protocol.split, "horizon_seconds": self.protocol.horizon,
            "first_time_only": self.first_time_only,
            "population": len(self.protocol.users), "k": self.protocol.k,
            "queries": len(model.hits), "queries_asked": self.asked, "line_errors": self.errors,
            "model": {**figures_of("model"), "recall_interval": figures.interval(model.recalls),
                      "gain_interval": figures.interval(gains)},
            "baselines": [{"name": "random", **random},
                          *({"name": name, **figures_of(name)} for name in Baselines.NAMES)],
            "first_time_recall": figures.mean(first.recalls), "first_time_queries": len(first.hits),
            "first_time_hits": figures.mean(first.hits),
            "overlap": model.overlap(),
            "overlap_most_active": model.overlap_with(self.baselines.most_active[:self.protocol.k]),
            "lift": self.lift.figures(), "calibration": self.calibration.figures(rate_scale),
            "cold_items": self.cold_figures(),
        }

    def cold_figures(self):
        model, active = self.cold["model"], self.cold["most_active"]
        if not model.hits:
            return None
        return {"queries": len(model.hits),
                "model": {**model.figures(), "recall_interval": figures.interval(model.recalls),
                          "gain_interval": figures.interval(np.subtract(model.recalls, active.recalls))},
                "baselines": [{"name": "most_active", **active.figures()}]}


def score_file(output, protocol, items=None, first_time_only=False, rate_scale=1.0):
    """The figures of an output file; `items` is the path of the items file."""
    index = attributes.Index(*tables.read_items(items)) if items else None
    score = Score(protocol, index, first_time_only)
    for line in tables.read_lines(output):
        score.add_line(line)
    return score.result(rate_scale)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interactions", type=pathlib.Path, required=True, help="CSV of all events, also later ones")
    parser.add_argument("--split", type=int, required=True, help="epoch seconds; the lists know what is older")
    parser.add_argument("--horizon-days", type=float, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True, help="the job's output file")
    parser.add_argument("--items", type=pathlib.Path, help="CSV of items, for attribute queries")
    parser.add_argument("--first-time-only", action="store_true", help="leave out users who had the items before")
    parser.add_argument("--rate-scale", type=float, default=1.0,
                        help="horizon measured / horizon of the probabilities, for the calibration")
    args = parser.parse_args()
    protocol = Protocol(args.interactions, args.split, round(args.horizon_days * DAY))
    result = score_file(args.output, protocol, args.items, args.first_time_only, args.rate_scale)
    json.dump(result, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    try:
        main()
    except (tables.DataError, attributes.QueryError, OSError) as error:
        sys.exit(f"error: {error}")
