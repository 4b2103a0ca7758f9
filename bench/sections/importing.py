"""A CSV of events imported: rows a second and memory, beside pyarrow and pandas that check nothing.

The program is asked to import (for an exclusion) with a model that is there, so nothing is trained; the
figure is `import_seconds` of the statistics times the share of the core that the run had.
"""

import measure
import prepare

from .context import goal, share_of_core


def run(context):
    size, work = context.size, context.work
    csv = prepare.interactions(work, size.users, size.items, size.import_events)
    model = prepare.model(work, prepare.gaussian(work, 1_000, 1_000, 64))
    question = prepare.queries(work, 1_000, 10)
    written = work / "imported.parquet"

    def kindred():
        done, stats = context.kindred.segment("--model-in", model, "--interactions", csv, "--exclude-interacted",
                                              "--input", question)
        return {"seconds": stats["import_seconds"] * share_of_core(done) / size.import_events,
                "peak_memory_bytes": done.peak_memory_bytes}

    def peer(name):
        found = context.peer("importing", name, csv, written)
        written.unlink()
        return {"seconds": found["import_cpu_seconds"] / size.import_events,
                "peak_memory_bytes": found["peak_memory_bytes"]}

    engines = {"kindred": kindred, "pyarrow": lambda: peer("pyarrow"), "pandas": lambda: peer("pandas")}
    rounds = measure.in_turns(context.rounds, engines)
    rows = []
    for name in engines:
        seconds = measure.median_of(rounds, lambda one: one[name]["seconds"])
        rows.append([name, 1e-6 / seconds, seconds * 1e6,
                     None if name == "kindred" else measure.ratio(rounds, "kindred", name, "seconds"),
                     max(one[name]["peak_memory_bytes"] for one in rounds) / 2**30])
    path = f"CSV import, {size.import_events:,} rows"
    return {"title": "Import", "text": f"{size.import_events:,} rows of USER_ID, ITEM_ID, TIMESTAMP, one core. The "
            "program validates every field, and its peak includes what comes after the import.",
            "tables": [{"title": "", "columns": ["engine", "M rows/s a core", "CPU seconds a million rows",
                                                 "times what Kindred takes", "peak memory GiB"], "rows": rows}],
            "goals": [goal(path, "a million rows", -2.0, rows[0][2], "CPU seconds"),
                      goal(path, "memory", -2.0, rows[0][4], "GiB")], "rounds": rounds}
