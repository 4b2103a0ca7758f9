"""Attribute queries beside the FMA peak: one pass over users × items serves all queries of a job.

Operations counted: 2 × users × items that any query covers × dimension, the products alone; the
exponential of every one of them and the sums come on top. Seconds are `score_seconds` of the
statistics times the share of the core that the run had.
"""

import csv
import json

import measure
import prepare

from .context import goal, share_of_core

EVENTS_PER_USER = 20
ITEMS = 10_000
K = 25


def questions(work, items_file, target):
    """A line for every category and every brand; returns (lines, items they cover)."""
    with open(items_file, newline="") as file:
        rows = list(csv.DictReader(file))
    texts = sorted({f'ITEMS.{column} = "{row[column]}"' for row in rows for column in ("CATEGORY", "BRAND")})
    target.write_text("".join(json.dumps({"itemAttributes": text}) + "\n" for text in texts))
    return len(texts), len(rows)


def run(context):
    size, work = context.size, context.work
    dimension = size.dimensions[0]
    events = prepare.interactions(work, size.attribute_users, ITEMS, size.attribute_users * EVENTS_PER_USER)
    items, asked = prepare.items_of(events), work / "attribute-queries.json"
    lines, covered = questions(work, items, asked)
    folder = work / f"attribute-model-{events.stem}-d{dimension}"
    if not (folder / "card.json").exists():
        context.kindred.segment("--recipe", "item-attribute-affinity", "--interactions", events, "--items", items,
                                "--input", asked, "--model-out", folder, "--hidden-dimension", dimension,
                                settings={"training.model": "ials"})

    def kindred():
        done, stats = context.kindred.segment("--recipe", "item-attribute-affinity", "--model-in", folder,
                                              "--input", asked, "--num-results", K)
        if stats["line_errors"]:
            raise SystemExit(f"{stats['line_errors']} attribute queries were refused")
        seconds = stats["score_seconds"] * share_of_core(done)
        operations = 2.0 * stats["users"] * min(stats["items"], covered) * dimension
        return {"seconds": seconds, "gflops": operations / seconds / 1e9, "queries": stats["distinct_queries"],
                "peak_memory_bytes": done.peak_memory_bytes}

    rounds = measure.in_turns(context.rounds, {"peak": lambda: {"gflops": context.fma_gflops()}, "kindred": kindred})
    median = lambda value: measure.median_of(rounds, value)
    share = median(lambda one: one["kindred"]["gflops"] / one["peak"]["gflops"])
    row = [lines, median(lambda one: one["kindred"]["seconds"]), median(lambda one: one["kindred"]["gflops"]), share,
           max(one["kindred"]["peak_memory_bytes"] for one in rounds) / 2**30]
    label = f"attribute queries, {size.attribute_users:,} users"
    return {"title": "Attribute queries",
            "text": f"{size.attribute_users:,} users, {covered:,} items, d = {dimension}, k = {K}: "
            "a query for every category and every brand.",
            "tables": [{"title": "", "columns": ["queries", "CPU seconds", "GFLOP/s (2·U·m·d)", "of the FMA peak",
                                                 "peak memory GiB"], "rows": [row]}],
            "goals": [goal(label, "FMA peak of the core", 0.5, share, "of it")],
            "rounds": rounds}
