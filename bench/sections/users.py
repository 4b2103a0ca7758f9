"""A job over 50 million users: what it takes when the users and not the lines are many.

Made-up factors with norms as trained ones have them; every query is different. All cores. The lists of
some queries are compared with the brute force. Options: `users`, `dimension`, `queries`, `verified`.
"""

import json
import sys

import numpy as np

import measure
import prepare
import program

from .context import tile_share

CHECKS = program.REPOSITORY / "bench/checks.py"
K = 25
FULL = {"users": 50_000_000, "dimension": 32, "queries": 2_000, "verified": 8}
SMALL = {"users": 500_000, "dimension": 32, "queries": 200, "verified": 8}


def run(context):
    counts = FULL if context.size.name == "full" else SMALL
    users, dimension, queries, verified = (
        int(context.options.get(name, counts[name])) for name in ("users", "dimension", "queries", "verified"))
    work = context.work
    model = prepare.model(work, prepare.spread(work, users, queries, dimension))
    numbers, answers, truth = work / "users-queries.npy", work / "users.out", work / "truth.npz"
    np.save(numbers, np.arange(queries))
    asked = prepare.all_items(work, queries)
    done, stats = context.kindred.segment("--model-in", model, "--input", asked, "--num-results", K,
                                          threads=0, pinned=False, keep=answers)
    check = lambda *arguments: json.loads(measure.run([sys.executable, CHECKS, *arguments]).output)
    check("truth", model, numbers, verified, K, truth)
    checked = check("program", truth, answers)
    if checked["wrong"]:
        raise SystemExit(f"the program's lists are wrong: {checked}")
    answers.unlink()
    model_bytes = sum(file.stat().st_size for file in model.iterdir())
    rows = [["users", users], ["dimension", dimension], ["different queries", queries],
            ["wall seconds", done.wall_seconds], ["CPU seconds", done.cpu_seconds],
            ["scoring, wall seconds", stats["score_seconds"]], ["share of tiles computed", tile_share(stats)],
            ["model files GiB", model_bytes / 2**30],
            ["peak memory GiB, the model's mapped files in it", done.peak_memory_bytes / 2**30],
            ["lists compared with the brute force, all ids equal", checked["compared"]]]
    return {"title": "Many users", "text": f"k = {K}, all cores, one run. Wall seconds have the opening of the "
            "model and the packing of its users in them.",
            "tables": [{"title": "", "columns": ["what", "figure"], "rows": rows}], "goals": [],
            "rounds": [{"stats": stats, "wall_seconds": done.wall_seconds, "cpu_seconds": done.cpu_seconds}]}
