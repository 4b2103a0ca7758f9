"""Sweeps of iALS beside `implicit` (and Spark ALS), on the same pairs, with the recall they reach.

The program's figure is the median sweep of its statistics, times the share of the core that the run
had; its peers time their iterations by CPU. Recall is of one item per user that was left out before
training, after as many iterations each: the program makes 8 sweeps, and 4 more on all data.
"""

import json
import sys

import measure
import prepare
import program

from .context import goal, share_of_core

RECALL = program.REPOSITORY / "bench/recall.py"


class Case:
    """One dimension."""

    def __init__(self, context, csv, held, dimension):
        self.context, self.csv, self.held, self.dimension = context, csv, held, dimension
        self.pairs = prepare.pairs(context.work, csv)

    def _recall(self, source):
        return json.loads(measure.run([sys.executable, RECALL, self.pairs, self.held, source]).output)["recall_at_50"]

    def kindred(self):
        folder = self.context.work / f"trained-d{self.dimension}"
        question = prepare.queries(self.context.work, self.context.size.items, 10)
        done, stats = self.context.kindred.segment(
            "--interactions", self.csv, "--input", question, "--hidden-dimension", self.dimension,
            "--model-out", folder, settings={"training.model": "ials"})
        return {"seconds": stats["sweep_seconds"] * share_of_core(done), "train_seconds": stats["train_seconds"],
                "cpu_seconds": done.cpu_seconds, "peak_memory_bytes": done.peak_memory_bytes,
                "recall": self._recall(folder)}

    def implicit(self):
        prefix = self.context.work / f"peer-als-d{self.dimension}"
        found = self.context.peer("als", self.pairs, self.dimension, self.context.size.peer_iterations, prefix)
        # The first iteration pays for what the library sets up.
        seconds = sorted(found["iteration_cpu_seconds"][1:])
        return {"seconds": seconds[len(seconds) // 2], "peak_memory_bytes": found["peak_memory_bytes"],
                "cpu_seconds": found["fit_cpu_seconds"], "recall": self._recall(prefix)}

    def spark(self):
        found = self.context.peer("spark_als", self.pairs, self.dimension, self.context.size.spark_iterations)
        return {"seconds": found["iteration_cpu_seconds"], "peak_memory_bytes": found["peak_memory_bytes"],
                "pairs": found["pairs"]}


def run(context):
    size = context.size
    csv, held = prepare.held_out(context.work, prepare.interactions(context.work, size.users, size.items, size.events))
    wanted = {149: 3.2, 64: 4.0}
    rows, goals, all_rounds = [], [], {}
    for dimension in size.dimensions:
        case = Case(context, csv, held, dimension)
        rounds = measure.in_turns(context.rounds, {"kindred": case.kindred, "implicit": case.implicit})
        engines = ["kindred", "implicit"]
        if context.spark and dimension == min(size.dimensions):
            spark = case.spark()
            rounds = [one | {"spark": spark} for one in rounds]
            engines.append("spark")
        all_rounds[dimension] = rounds
        for name in engines:
            median = lambda key: measure.median_of(rounds, lambda one: one[name][key])
            rows.append([dimension, name, median("seconds"),
                         None if name == "kindred" else measure.ratio(rounds, "kindred", name, "seconds"),
                         None if name == "spark" else median("recall"),
                         max(one[name]["peak_memory_bytes"] for one in rounds) / 2**30])
            at_least = 20.0 if name == "spark" else wanted.get(dimension)
            if name != "kindred" and at_least:
                goals.append(goal(f"iALS sweep, {size.events:,} events, d = {dimension}", name, at_least, rows[-1][3]))
    return {"title": "Training: iALS", "text": f"{size.users:,} users, {size.items:,} items. A sweep solves both sides "
            f"once. Recall at 50 of one left-out item of {prepare.HELD_OUT_USERS:,} users (standard error about a "
            "point), after 12 sweeps each. The program's memory holds the events and their times as well.",
            "tables": [{"title": "", "columns": ["d", "engine", "CPU seconds a sweep", "times what Kindred takes",
                                                 "recall at 50", "peak memory GiB"], "rows": rows}],
            "goals": goals, "rounds": all_rounds}
