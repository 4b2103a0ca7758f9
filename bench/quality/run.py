#!/usr/bin/env python3
"""How good are the segments on a public data set? Time-split evaluation from outside.

    datasets.py films --out films
    run.py --binary target/release/kindred --data films [--recipe ...] [--model ...] [--without PART]

cuts the interactions at the split of `dataset.json`, hands the older part and a file of queries to
`kindred segment`, asks for everybody in order, and scores the lists with `score.py` against what
happened then. Where the program has `kindred evaluate`, its figures for the whole file are compared
with those: counts must be equal, means agree to 1e-9. Exit status 1 if anything differs.

--shuffle is the sanity test: the items of the training events are dealt out anew, users and times
stay. What is left to know is who is active, so recall must fall to what the most active users reach.
--all runs the ablations, the shuffle, and both recipes, one line each. --splits N takes the N splits
that lie 0, 1, ... N - 1 horizons before the one of `dataset.json`, and prints the means over them: one
split of a small data set can hang on a few users.
"""

import argparse
import datetime
import json
import pathlib
import random
import sys
import tempfile
import time

import attributes
import report
import score
import tables
from program import Program, ProgramError
from protocol import Protocol

DAY = 86_400
ITEM, ATTRIBUTE = "item-affinity", "item-attribute-affinity"
PARTS = ("intensity", "lookback", "kappa", "own-history")
MODELS = ("auto", "lookback", "ials")
TRAINING_EVENTS_MIN = 100
DOUBLES_MAX = 500
SHUFFLE_SEED = 20_240_229


class Case:
    """One data set, cut `back` horizons before its split: `whole` and `train` are files, `protocol`
    what happened."""

    def __init__(self, data, work, shuffle, back):
        self.about = json.loads((data / "dataset.json").read_text())
        self.items, self.work, self.back = data / "items.csv", work, back
        self.horizon = round(self.about["horizon_days"] * DAY)
        self.split = self.about["split"] - back * self.horizon
        work.mkdir(parents=True, exist_ok=True)
        header, rows, (_, item, when) = tables.read_interactions(data / "interactions.csv")
        older = [row for row in rows if int(row[when]) < self.split]
        newer = [row for row in rows if int(row[when]) >= self.split]
        if shuffle:
            dealt = [row[item] for row in older]
            random.Random(SHUFFLE_SEED).shuffle(dealt)
            for row, what in zip(older, dealt):
                row[item] = what
        self.whole, self.train = work / "whole.csv", work / "train.csv"
        tables.write_csv(self.whole, header, older + newer)
        tables.write_csv(self.train, header, older)
        self.rows, self.places = older, (item, when)
        self.protocol = Protocol(self.whole, self.split, self.horizon)

    def item_queries(self):
        """({"itemId"} of the items that are queries, the same of items without a past)."""
        item, when = self.places
        rule = self.about["queries"] or {"min_events": 1, "before": self.split}
        before = rule["before"] - self.back * self.horizon
        counts = {}
        for row in self.rows:
            counts[row[item]] = counts.get(row[item], 0) + (int(row[when]) < before)
        known = sorted(name for name, count in counts.items() if count >= rule["min_events"])
        _, described = tables.read_items(self.items)
        fresh = []
        for name in sorted(set(described) - set(counts)):
            if len(score.Asked(self.protocol, {name}).came) >= score.COLD_ACTUAL_MIN:
                fresh.append(name)
        return [[{"itemId": name} for name in names] for names in (known, fresh)]

    def attribute_queries(self, doubles, events_min):
        """{"itemAttributes"} of single values, or of pairs of values, with at least `events_min`
        training events and somebody who came."""
        index = attributes.Index(*tables.read_items(self.items))

        def wanted(items):
            numbers = self.protocol.numbers(items)
            return (self.protocol.trained(numbers) >= events_min
                    and any(len(self.protocol.came[number]) for number in numbers))

        found = (attributes.double_queries(index, wanted, DOUBLES_MAX) if doubles
                 else attributes.single_queries(index, wanted))
        return [{"itemAttributes": text} for text in found]


class Run:
    """The runs over one case; `options` are the command line's."""

    def __init__(self, program, case, options):
        self.program, self.case, self.options = program, case, options

    def one(self, name, recipe=ITEM, doubles=False, model="auto", without=()):
        """The figures of one setting: {case, figures, evaluate, comparison, seconds, note}."""
        day = datetime.datetime.fromtimestamp(self.case.split, datetime.timezone.utc).date()
        print(f"{name}, {day} ...", file=sys.stderr, flush=True)
        found = {"case": name, "split": str(day), "figures": None, "evaluate": None, "comparison": None, "note": ""}
        if recipe == ATTRIBUTE and not self.program.has("segment", ATTRIBUTE):
            return {**found, "note": "this program lacks the recipe"}
        known, fresh = (self.case.item_queries() if recipe == ITEM else
                        (self.case.attribute_queries(doubles, self.options.min_training_events), []))
        if not known:
            return {**found, "note": "no queries"}
        changes = [] if model == "auto" else ["--model", model]
        for part in without:
            changes += ["--without", part]
        if all(self.program.has("segment", flag) for flag in changes if flag.startswith("--")):
            found |= self.scored(known + fresh, recipe, changes)
        if self.program.has("evaluate", recipe):
            found |= self.evaluated(known, recipe, changes)
        if found["figures"] and found["evaluate"]:
            found["comparison"] = report.compare(found["figures"], found["evaluate"])
            differing = len(found["comparison"]["differing"])
            found["note"] = f"{differing} figures differ" if differing else "agrees"
        elif found["evaluate"]:
            found |= {"figures": found["evaluate"], "note": "by `kindred evaluate` alone"}
        elif not found["figures"]:
            found["note"] = f"this program lacks {' '.join(changes)}"
        return found

    def scored(self, queries, recipe, changes):
        case, work = self.case, self.case.work
        tables.write_lines(work / "queries.jsonl", queries)
        options = ["--recipe", recipe, "--items", case.items, *changes, *self.dimension()]
        if self.program.has("segment", "--scores"):
            options.append("--scores")
        seconds, card = self.program.segment(case.train, work / "queries.jsonl", work / "queries.jsonl.out",
                                             len(case.protocol.users), work / "model", options)
        # The probabilities are for the horizon that the model chose.
        modelled = (card.get("choices") or {}).get("horizon_seconds") or case.horizon
        start = time.monotonic()
        figures = score.score_file(work / "queries.jsonl.out", case.protocol,
                                   case.items if recipe == ATTRIBUTE else None,
                                   case.about["first_time_only"], case.horizon / modelled)
        return {"figures": figures, "segment_seconds": seconds, "score_seconds": time.monotonic() - start}

    def evaluated(self, queries, recipe, changes):
        case, work = self.case, self.case.work
        tables.write_lines(work / "asked.jsonl", queries)
        options = ["--items", case.items, "--recipe", recipe, "--split", case.split,
                   "--horizon-days", f"{case.about['horizon_days']:g}", "--queries", work / "asked.jsonl",
                   *changes, *self.dimension()]
        if case.about["first_time_only"]:
            options.append("--first-time-only")
        found, seconds = self.program.evaluate(case.whole, options)
        return {"evaluate": found, "evaluate_seconds": seconds}

    def dimension(self):
        wanted = self.options.hidden_dimension
        return ["--hidden-dimension", wanted] if wanted else []

    def chosen(self):
        """The setting of the command line; both kinds of queries for the attribute recipe."""
        name, changes = self.case.about["name"], {"model": self.options.model, "without": self.options.without}
        if self.options.recipe == ITEM:
            return [self.one(f"{name}, {ITEM}", **changes)]
        return [self.one(f"{name}, {ATTRIBUTE}, {kind}", recipe=ATTRIBUTE, doubles=doubles, **changes)
                for kind, doubles in (("one value", False), ("two values", True))]

    def all(self):
        name = self.case.about["name"]
        full = self.one(f"{name}, {ITEM}")
        less = [self.one(f"{name}, without {part}", without=[part]) for part in PARTS]
        less.append(self.one(f"{name}, model ials", model="ials"))
        for entry in less:
            # Compared with the figures of the same origin: a flag without any effect deserves a look.
            origin = "evaluate" if entry["evaluate"] else "figures"
            if entry[origin] and full[origin] and entry[origin]["model"] == full[origin]["model"]:
                entry["note"] += "; the same as the full model"
        found = [full, *less]
        for kind, doubles in (("one value", False), ("two values", True)):
            found.append(self.one(f"{name}, {ATTRIBUTE}, {kind}", recipe=ATTRIBUTE, doubles=doubles))
        return found


def measure(program, options, work):
    """The results of one call, split after split."""
    results = []
    for back in range(options.splits):
        def run_in(folder, shuffle):
            return Run(program, Case(options.data, work / f"{folder}-{back}", shuffle, back), options)

        if not options.all:
            results += run_in("shuffled" if options.shuffle else "case", options.shuffle).chosen()
            continue
        results += run_in("case", False).all()
        shuffled = run_in("shuffled", True)
        results.append(shuffled.one(f"{shuffled.case.about['name']}, shuffled items"))
    return results


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/kindred", help="the kindred program")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder made by datasets.py")
    parser.add_argument("--recipe", choices=(ITEM, ATTRIBUTE), default=ITEM)
    parser.add_argument("--model", choices=MODELS, default="auto")
    parser.add_argument("--without", choices=PARTS, action="append", default=[], help="leave a part of the model out")
    parser.add_argument("--hidden-dimension", type=int)
    parser.add_argument("--min-training-events", type=int, default=TRAINING_EVENTS_MIN,
                        help="attribute queries with fewer are not asked")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--shuffle", action="store_true", help="deal the items of the training events out anew")
    parser.add_argument("--all", action="store_true", help="ablations, shuffle and both recipes")
    parser.add_argument("--splits", type=int, default=1, help="take the means over so many splits")
    parser.add_argument("--work", type=pathlib.Path, help="keep the files of the runs here")
    parser.add_argument("--json", type=pathlib.Path, help="write all figures here")
    return parser.parse_args()


def main():
    options = arguments()
    with tempfile.TemporaryDirectory() as scratch:
        results = measure(Program(options.binary, options.threads), options, options.work or pathlib.Path(scratch))
    for entry in results:
        if entry["figures"]:
            seconds = ", ".join(f"{name} {entry[f'{name}_seconds']:.1f} s" for name in ("segment", "score", "evaluate")
                                if f"{name}_seconds" in entry)
            print(report.show(f"{entry['case']}, {entry['split']}", entry["figures"]), report.show_comparison(entry["comparison"]),
                  seconds, sep="\n\n", end="\n\n")
    print(report.summary(results))
    if options.json:
        tables.write_json(options.json, results)
    return any(entry["comparison"] and entry["comparison"]["differing"] for entry in results)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (tables.DataError, attributes.QueryError, ProgramError, OSError) as error:
        sys.exit(f"error: {error}")
