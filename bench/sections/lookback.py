"""Epochs of the look-back towers: beside the FMA peak of the core, and beside PyTorch on the same step.

Both train on data made alike (every event with a time of its own) and count the same operations, 6 ×
rows × negatives × d. The program is the engine's example `lookback`, one thread; its own wall figures
are multiplied by the share of the core that it had.
"""

import re

import measure

from .context import goal, share_of_core

# Why the goal may be missed, for the document.
TRIED = ("The matrix products run at about 0.8 of the peak and are a little more than half of the time; the rest is the "
         "walk through the users' states and back, Adagrad's roots and quotients, and rows that are gathered. Tried "
         "without a gain: shards of 512 rows instead of 256, the sums of the biases in the pass of the softmax, keeping "
         "the memory of the gradient. Approximate roots would be faster and differ between processors, and the bytes of "
         "a model must not.")
RATE = re.compile(r"epochs [\d.]+ s, ([\d.]+) GFLOP/s")


def run(context):
    users, events, items = context.size.lookback
    dimension = context.size.dimensions[0]

    def kindred():
        done = context.kindred.example("lookback", f"users={users}", f"events={events}", f"items={items}",
                                       f"d={dimension}", "threads=1", "rounds=1")
        rate = float(RATE.search(done.output).group(1))
        return {"gflops": rate / share_of_core(done), "peak_memory_bytes": done.peak_memory_bytes}

    def torch():
        found = context.peer("lookback", users, events, items, dimension)
        return {"gflops": found["operations"] / found["epoch_cpu_seconds"] / 1e9,
                "peak_memory_bytes": found["peak_memory_bytes"], "loss": found["loss"]}

    engines = {"peak": lambda: {"gflops": context.fma_gflops()}, "kindred": kindred, "torch": torch}
    rounds = measure.in_turns(context.rounds, engines)
    rows = []
    for name in ("kindred", "torch"):
        rows.append([name, measure.median_of(rounds, lambda one: one[name]["gflops"]),
                     measure.median_of(rounds, lambda one: one[name]["gflops"] / one["peak"]["gflops"]),
                     None if name == "kindred" else
                     measure.median_of(rounds, lambda one: one["kindred"]["gflops"] / one["torch"]["gflops"]),
                     max(one[name]["peak_memory_bytes"] for one in rounds) / 2**30])
    path = f"look-back epoch, {users * events:,} events, d = {dimension}"
    return {"title": "Training: look-back", "text": f"{users:,} users with {events} events, {items:,} items, "
            f"d = {dimension}, {context.rounds} rounds. {TRIED}",
            "tables": [{"title": "", "columns": ["engine", "GFLOP/s of an epoch", "of the FMA peak",
                                                 "times what Kindred takes", "peak memory GiB"], "rows": rows}],
            "goals": [goal(path, "FMA peak of the core", 0.5, rows[0][2], "of it"),
                      goal(path, "PyTorch", 3.0, rows[1][3])], "rounds": rounds}
