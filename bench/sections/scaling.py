"""How cost grows with lines, users, d, k and events, and a formula for operators that is checked.

One thing is varied at a time around a middle; every run is one process on one core, measured from
outside. Jobs run on plain factors of several sizes, and on models trained here, which have a history.
The coefficients of the formula (`sizing.py`) are fitted on every second run, and its error is shown
on the others, which it has not seen.
"""

import pathlib

import pyarrow.parquet

import prepare
import sizing

from .context import tile_share

MIDDLE_LINES = 100_000
MIDDLE_K = 25
DIMENSIONS = (32, 64, 149, 256)
# Jobs on plain factors ask for the same few items, so that lines cost reading and writing alone.
MIDDLE_DISTINCT = 5_000
EVENTS_PER_USER = 20
EVENTS_PER_ITEM = 200
TRAINED_DIMENSION = 64
TRAINED_DIMENSIONS = (32, 149)


JOB_COLUMNS = ["varied", "lines", "distinct", "users", "d", "k", "pairs of the history", "CPU s", "peak memory MiB",
               "output MiB", "share of tiles computed", "used to"]
TRAINING_COLUMNS = ["events", "users", "items", "d", "CPU s", "peak memory MiB", "used to"]


def run(context):
    jobs = [plain_job(context, point) for point in points(context)]
    trainings = [trained(context, point) for point in training_points(context)]
    jobs += [one.pop("job") for one in trainings]
    checks, coefficients, formulas = [], [], {}
    for kind, forms, runs in [("job", sizing.JOB_FORMS, jobs), ("training", sizing.TRAINING_FORMS, trainings)]:
        formulas[kind] = formula = sizing.fit(forms, runs[::2])
        checks += [[kind, what, *sizing.errors(forms, formula, runs[1::2], what)] for what in forms]
        coefficients += [[kind, *line] for line in sizing.described(forms, formula)]
    text = ("Jobs on models that exist, and trainings of iALS towers; seconds are of one core, and two take about "
            "half. What the default setting adds to a training is its budget of look-back epochs "
            "(`training.budget_tflops`).")
    formula_title = "The formula: each quantity is the sum of its coefficients times what they stand for"
    return {"title": "Scaling and sizing", "text": text, "goals": [], "formulas": formulas,
            "rounds": {"jobs": jobs, "trainings": trainings},
            "tables": [
                {"title": "Jobs", "columns": JOB_COLUMNS, "rows": job_rows(jobs)},
                {"title": "Trainings", "columns": TRAINING_COLUMNS, "rows": training_rows(trainings)},
                {"title": formula_title, "columns": ["of a", "quantity", "for each", "coefficient", "unit"],
                 "rows": coefficients},
                {"title": "Its error on runs it has not seen",
                 "columns": ["of a", "quantity", "runs", "median error", "largest error"], "rows": checks}]}


def job_rows(jobs):
    names = ("varied", "lines", "distinct", "users", "dimension", "k", "history", "cpu_seconds")
    return [[*(one[name] for name in names), one["peak_memory_bytes"] / 2**20, one["output_bytes"] / 2**20,
             one["tiles"], use(place)] for place, one in enumerate(jobs)]


def training_rows(trainings):
    names = ("events", "users", "items", "dimension", "cpu_seconds")
    return [[*(one[name] for name in names), one["peak_memory_bytes"] / 2**20, use(place)]
            for place, one in enumerate(trainings)]


def use(place):
    return "check" if place % 2 else "fit"


def points(context):
    """Jobs on plain factors: one thing varied at a time, no combination twice."""
    size = context.size
    middle = {"users": size.scaling_users[-2], "dimension": size.dimensions[-1], "k": MIDDLE_K, "lines": MIDDLE_LINES,
              "asked": min(size.items, MIDDLE_DISTINCT)}
    seen = []
    for varied, values in [("users", size.scaling_users), ("dimension", DIMENSIONS), ("k", size.scaling_ks),
                           ("lines", size.scaling_lines), ("asked", (1_000, size.items))]:
        for value in values:
            point = middle | {varied: value}
            if point not in seen:
                seen.append(point)
                yield point | {"varied": varied}


def training_points(context):
    """Events varied at one dimension, then the dimension at the middle number of events."""
    events = context.size.scaling_events
    yield from ({"events": count, "dimension": TRAINED_DIMENSION} for count in events)
    yield from ({"events": events[1], "dimension": dimension} for dimension in TRAINED_DIMENSIONS)


def plain_job(context, point):
    """A job on plain factors: what was asked for and what it cost."""
    size, work = context.size, context.work
    csv = prepare.interactions(work, size.users, size.items, size.events)
    prefix = prepare.factors(work, csv, point["dimension"])
    if point["users"] < size.users:
        prefix = prepare.first_users(work, prefix, point["users"])
    few = point["asked"]
    asked = widened(prepare.queries(work, few, point["lines"]), few, size.items)
    return point | job(context, prepare.model(work, prefix), asked, point["k"])


def job(context, folder, asked, k):
    """Costs of a job, and the counts that the formula knows."""
    done, stats = context.kindred.segment("--model-in", folder, "--input", asked, "--num-results", k)
    history = pyarrow.parquet.read_metadata(folder / "history.parquet").num_rows
    return {name: stats[name] for name in ("lines", "users", "items", "dimension", "output_bytes")} | {
        "distinct": stats["distinct_queries"], "k": k, "history": history, "tiles": tile_share(stats),
        "cpu_seconds": done.cpu_seconds, "peak_memory_bytes": done.peak_memory_bytes,
        "model_bytes": sum(file.stat().st_size for file in folder.iterdir())}


def trained(context, point):
    """A training and what it cost, with a job on its model as `job`."""
    work, events = context.work, point["events"]
    users, items = events // EVENTS_PER_USER, events // EVENTS_PER_ITEM
    folder = work / f"scaling-model-e{events}-d{point['dimension']}"
    asked = prepare.queries(work, items, MIDDLE_LINES)
    done, _ = context.kindred.segment(
        "--interactions", prepare.interactions(work, users, items, events), "--input", prepare.queries(work, items, 10),
        "--hidden-dimension", point["dimension"], "--model-out", folder, settings={"training.model": "ials"})
    return point | {"users": users, "items": items, "cpu_seconds": done.cpu_seconds,
                    "peak_memory_bytes": done.peak_memory_bytes,
                    "job": {"varied": "trained"} | job(context, folder, asked, MIDDLE_K)}


def widened(path, few, many):
    """Queries for the first `few` items with the ids that they have among `many`."""
    extra = len(str(many - 1)) - len(str(few - 1))
    wide = pathlib.Path(path).with_name(f"{path.stem}-of{many}.json")
    if extra == 0:
        return path
    if not wide.exists():
        with open(path, "rb") as source, open(wide, "wb") as target:
            while part := source.read(1 << 24):
                part += source.readline()
                target.write(part.replace(b': "i', b': "i' + b"0" * extra))
    return wide
