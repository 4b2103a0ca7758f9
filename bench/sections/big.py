"""The job the service was made for: 50 million lines over a model of a million users, checked to the end.

Training on the CSV, the job, and `verify.py` over every line of its output; all cores. Options:
`lines`, `users`, `items`, `events`, `k`, `dimension`, `threads`, `memory` (handed to the program), `broken`
(share of broken lines; then also long ones, CRLF, no final newline), `gzip` (1 for a packed input),
`sample` (lines computed again), `model` (`ials` or `auto`).
"""

import json
import sys

import pyarrow.parquet

import measure
import prepare
import program
import sizing

from .context import goal, tile_share

VERIFY = program.REPOSITORY / "bench/verify.py"
MEMORY_BESIDE_MODEL_GIB = 2.0
MINUTES = 6.0
FULL = {"users": 1_000_000, "items": 750_000, "events": 50_000_000, "lines": 50_000_000}
SMALL = {"users": 50_000, "items": 20_000, "events": 1_000_000, "lines": 1_000_000}


def run(context):
    option = lambda name, default: type(default)(context.options.get(name, default))
    full = context.size.name == "full"
    counts = FULL if full else SMALL
    users, items, events, lines = (option(name, counts[name]) for name in ("users", "items", "events", "lines"))
    k, dimension = option("k", 25), option("dimension", 149)
    work, folder = context.work, context.work / f"big-model-u{users}-i{items}-e{events}-d{dimension}"
    csv = prepare.interactions(work, users, items, events)
    trained = train(context, csv, items, folder, dimension, option("model", "ials"))
    broken = option("broken", 0.0)
    spoiled = ["--broken", str(broken), "--long", "100", "--crlf", "--no-final-newline"] if broken else []
    asked, answers = prepare.queries(work, items, lines, *spoiled, gzip=bool(option("gzip", 0))), work / "big.out"
    memory = ["--memory", context.options["memory"]] if "memory" in context.options else []
    done, stats = context.kindred.segment("--model-in", folder, "--input", asked, "--num-results", k, *memory,
                                          threads=option("threads", 0), pinned=False, keep=answers)
    checked = measure.run([sys.executable, VERIFY, asked, answers, "--model", folder, "--k", k,
                           "--sample", option("sample", 400)])
    answers.unlink()
    return described(context, done, stats, trained, json.loads(checked.output), folder)


def train(context, csv, items, folder, dimension, towers):
    """Trains unless the model is there; the statistics of the training, kept beside it."""
    kept = folder.with_suffix(".json")
    if not kept.exists():
        done, stats = context.kindred.segment(
            "--interactions", csv, "--input", prepare.queries(context.work, items, 10), "--model-out", folder,
            "--hidden-dimension", dimension, threads=0, pinned=False, settings={"training.model": towers})
        kept.write_text(json.dumps(stats | {"peak_memory_bytes": done.peak_memory_bytes}))
    return json.loads(kept.read_text())


def foreseen(context, stats, folder):
    """What the formula of the section `scaling` says of this job, where that has been run."""
    formula = context.known.get("scaling", {}).get("formulas", {}).get("job")
    if formula is None:
        return []
    run = stats | {
        "distinct": stats["distinct_queries"], "tiles": tile_share(stats),
        "history": pyarrow.parquet.read_metadata(folder / "history.parquet").num_rows}
    says = lambda what: sizing.predicted(sizing.JOB_FORMS, formula, run, what)
    return [["CPU seconds by the sizing formula", says("cpu_seconds")],
            ["peak memory GiB by the sizing formula", says("peak_memory_bytes") / 2**30],
            ["model files GiB by the sizing formula", says("model_bytes") / 2**30]]


def described(context, done, stats, trained, checked, folder):
    model_gib = sum(file.stat().st_size for file in folder.iterdir()) / 2**30
    memory = done.peak_memory_bytes / 2**30
    rows = [["lines", stats["lines"]], ["lines answered with an error", stats["line_errors"]],
            ["different queries", stats["distinct_queries"]], ["users", stats["users"]], ["items", stats["items"]],
            ["wall seconds", done.wall_seconds], ["CPU seconds", done.cpu_seconds],
            ["scoring, wall seconds", stats["score_seconds"]], ["rendering, wall seconds", stats["render_seconds"]],
            ["share of tiles computed", tile_share(stats)],
            ["output GB", stats["output_bytes"] / 1e9], ["peak memory GiB", memory], ["model files GiB", model_gib],
            ["training before: import, wall seconds", trained["import_seconds"]],
            ["training before: training, wall seconds", trained["train_seconds"]],
            ["training before: peak memory GiB", trained["peak_memory_bytes"] / 2**30],
            ["lines checked for order, count and echo", checked["lines"]],
            ["lines computed again in float64, all ids equal", checked["lines_compared"]]]
    rows += foreseen(context, stats, folder)
    label = f"{stats['lines']:,} lines, {stats['users']:,} users, {stats['distinct_queries']:,} different items"
    goals = [goal(label, "the clock", -MINUTES, done.wall_seconds / 60, "minutes"),
             goal(label, "memory beside the model", -MEMORY_BESIDE_MODEL_GIB, memory - model_gib, "GiB")] \
        if context.size.name == "full" else []
    return {"title": "Fifty million lines" if context.size.name == "full" else "Many lines",
            "text": f"k = {stats['k']}, d = {stats['dimension']}, all cores. Every line was checked, and a random "
            "sample of the answers was computed again from the model's files in numpy.",
            "tables": [{"title": "", "columns": ["what", "figure"], "rows": rows}], "goals": goals,
            "rounds": [{"statistics": stats, "training": trained, "checked": checked}]}
