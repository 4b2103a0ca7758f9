"""How cost grows with lines, users, d and k, and a formula for operators that is checked against it.

One thing is varied at a time around one middle; every run is one process on one core, measured from
outside. The coefficients of the formula (`sizing.py`) are fitted on every second run, and its error
is shown on the others, which it has not seen.
"""

import pathlib

import prepare
import sizing

MIDDLE_LINES = 100_000
MIDDLE_K = 25
DIMENSIONS = (32, 64, 149, 256)


def run(context):
    runs = [measured(context, point) for point in points(context)]
    fitted, unseen = runs[::2], runs[1::2]
    formula = sizing.fit(fitted)
    rows = [[one["varied"], one["lines"], one["distinct"], one["users"], one["dimension"], one["k"], one["cpu_seconds"],
             one["peak_memory_bytes"] / 2**20, one["output_bytes"] / 2**20, one["tiles"],
             "fit" if one in fitted else "check"] for one in runs]
    checks = [[what, *sizing.errors(formula, unseen, what)] for what in sizing.FORMS]
    coefficients = [[what, name, value, unit] for what, name, value, unit in sizing.described(formula)]
    return {"title": "Scaling and sizing", "text": "Segment jobs on models that exist: plain ALS factors, "
            f"{context.size.items:,} items. Time is of one core; two take about half.",
            "tables": [
                {"title": "Runs", "columns": ["varied", "lines", "distinct", "users", "d", "k", "CPU s",
                                              "peak memory MiB", "output MiB", "share of tiles computed", "used to"],
                 "rows": rows},
                {"title": "The formula: each quantity is the sum of its coefficients times what they stand for",
                 "columns": ["quantity", "for each", "coefficient", "unit"], "rows": coefficients},
                {"title": "Its error on runs it has not seen", "columns": ["quantity", "runs", "median error", "largest error"],
                 "rows": checks}],
            "goals": [], "rounds": runs}


def points(context):
    """What to run: one thing varied at a time."""
    size = context.size
    middle = {"users": size.scaling_users[-2], "dimension": size.dimensions[-1], "k": MIDDLE_K, "lines": MIDDLE_LINES}
    for varied, values in [("users", size.scaling_users), ("dimension", DIMENSIONS), ("k", size.scaling_ks),
                           ("lines", size.scaling_lines)]:
        for value in values:
            yield middle | {varied: value, "varied": varied}


def measured(context, point):
    """One run: what was asked for and what it cost."""
    size, work = context.size, context.work
    csv = prepare.interactions(work, size.users, size.items, size.events)
    prefix = prepare.factors(work, csv, point["dimension"])
    if point["users"] < size.users:
        prefix = prepare.first_users(work, prefix, point["users"])
    folder = prepare.model(work, prefix)
    # Every run asks for the same few thousand items, so that lines cost reading and writing alone.
    asked = prepare.queries(work, min(size.items, 5_000), point["lines"])
    asked = widened(asked, min(size.items, 5_000), size.items)
    done, stats = context.kindred.segment("--model-in", folder, "--input", asked, "--num-results", point["k"])
    model_bytes = (folder / "model.safetensors").stat().st_size
    return point | {"distinct": stats["distinct_queries"], "items": stats["items"], "cpu_seconds": done.cpu_seconds,
                    "peak_memory_bytes": done.peak_memory_bytes, "output_bytes": stats["output_bytes"],
                    "model_bytes": model_bytes, "score_seconds": stats["score_seconds"],
                    "tiles": stats.get("tiles_computed", 0) / max(stats.get("tiles_total", 1), 1)}


def widened(path, few, many):
    """Queries for the first `few` items with the ids that they have among `many`."""
    extra = len(str(many - 1)) - len(str(few - 1))
    if extra == 0:
        return path
    wide = pathlib.Path(path).with_name(f"{path.stem}-of{many}.json")
    if not wide.exists():
        with open(path, "rb") as source, open(wide, "wb") as target:
            while part := source.read(1 << 24):
                part += source.readline()
                target.write(part.replace(b'"i', b'"i' + b"0" * extra).replace(b'"i' + b"0" * extra + b"temId", b'"itemId'))
    return wide
