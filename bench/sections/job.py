"""The whole job as a user meets it: CSV in, a trained model, 500 queries answered; all cores, wall time.

Beside it stands what AWS published for jobs of its service (minutes of training and of the segment
job); those are other machines and other data, so they are context and not a race.
"""

import measure
import prepare

from .context import goal

QUERIES = 500
EVENTS_PER_USER = 20
EVENTS_PER_ITEM = 400
ITEMS_MIN = 1_000
# Events, and what AWS's own published run took, in minutes.
PUBLISHED = {34_853: 33 + 7}


def run(context):
    size, work = context.size, context.work
    rows, goals, all_rounds = [], [], {}
    for events in size.job_events:
        users, items = max(events // EVENTS_PER_USER, 1), max(events // EVENTS_PER_ITEM, ITEMS_MIN)
        csv, asked = prepare.interactions(work, users, items, events), prepare.queries(work, items, QUERIES)

        def kindred(csv=csv, asked=asked):
            done, stats = context.kindred.segment("--interactions", csv, "--input", asked, threads=0, pinned=False)
            return {name: stats.get(name) for name in ("import_seconds", "train_seconds", "score_seconds")} | {
                "wall_seconds": done.wall_seconds, "cpu_seconds": done.cpu_seconds,
                "peak_memory_bytes": done.peak_memory_bytes}

        rounds = [one["kindred"] for one in measure.in_turns(context.rounds, {"kindred": kindred})]
        all_rounds[events] = rounds
        median = lambda key: measure.median_of(rounds, lambda one: one[key])
        rows.append([events, users, items, median("wall_seconds"), median("cpu_seconds"), median("import_seconds"),
                     median("train_seconds"), median("score_seconds"),
                     max(one["peak_memory_bytes"] for one in rounds) / 2**30, PUBLISHED.get(events)])
        if events in PUBLISHED:
            goals.append(goal(f"CSV of {events:,} events → {QUERIES} queries answered", "the clock", -60.0,
                              rows[-1][3], "seconds"))
    return {"title": "The whole job", "text": f"`kindred segment` from CSV to the answers of {QUERIES} queries, all "
            "cores, the default settings (d = 149, both towers, validation, metrics, final fit). Wall seconds depend "
            "on what else runs; CPU seconds do not.",
            "tables": [{"title": "", "rows": rows, "columns": [
                "events", "users", "items", "wall s", "CPU s", "import s", "train s", "score s", "peak memory GiB",
                "published by AWS, minutes"]}],
            "goals": goals, "rounds": all_rounds}
