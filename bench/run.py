#!/usr/bin/env python3
"""Measures the program beside its peers and the limits of the machine, and writes docs/PERFORMANCE.md.

    bench/run.py [--size full|small] [--rounds 3] [--core 1] SECTION...      # results to a JSON file
    bench/run.py report                                                      # the document from it

Sections, each by itself and again at will: limits, scoring, training, lookback, lines, import,
attributes, job, scaling, big for the job of 50 million lines and users for one over 50 million users (`sections/` says what each does).
Programs are pinned to one core and take turns; figures are CPU seconds from outside, and ratios are
medians over the rounds. Inputs are made once in the work folder (`prepare.py`).
"""

import argparse
import datetime
import importlib
import json
import os
import pathlib
import sys

import measure
import program
import report
import sizes
from sections.context import Context

SECTIONS = ["limits", "scoring", "training", "lookback", "lines", "import", "attributes", "job", "scaling", "big", "users"]
MODULES = {"import": "importing"}
DOCUMENT = program.REPOSITORY / "docs/PERFORMANCE.md"


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="+", choices=[*SECTIONS, "report"])
    parser.add_argument("--size", choices=sizes.SIZES, default="full")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--core", type=int, default=1, help="the core that single-core runs are pinned to")
    parser.add_argument("--kindred", default=program.default_binary(), help="the program")
    parser.add_argument("--work", type=pathlib.Path, default=program.REPOSITORY / "target/bench")
    parser.add_argument("--results", type=pathlib.Path, default=program.REPOSITORY / "bench/results.json")
    parser.add_argument("--document", type=pathlib.Path, default=DOCUMENT)
    parser.add_argument("--no-spark", action="store_true", help="leave out what needs Java")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE",
                        help="of a section, for example memory=1GiB for the big job")
    return parser.parse_args()


def load(path):
    return json.loads(path.read_text()) if path.exists() else {}


def save(path, results):
    """In the order of the sections, whatever order they were run in."""
    ordered = {name: results[name] for name in SECTIONS if name in results}
    path.write_text(json.dumps(ordered, indent=1) + "\n")


def measure_section(name, context):
    """One section with what it was measured with."""
    before = measure.load_average()
    found = importlib.import_module(f"sections.{MODULES.get(name, name)}").run(context)
    found["measured_with"] = context.kindred.version() | {
        "date": datetime.date.today().isoformat(), "machine": measure.machine(), "size": context.size.name,
        "load_before": before, "load_after": measure.load_average(), "rounds": context.rounds,
        "command": f"bench/run.py --size {context.size.name} --rounds {context.rounds} "
        + "".join(f"--option {key}={value} " for key, value in context.options.items()) + name}
    return found


def context_of(asked, work):
    """What the sections are given, from the arguments."""
    return Context(
        kindred=program.Kindred(pathlib.Path(asked.kindred).resolve(), work, asked.core), work=work,
        size=sizes.SIZES[asked.size], rounds=asked.rounds, spark=not asked.no_spark,
        options=dict(option.split("=", 1) for option in asked.option), known=load(asked.results))


def main():
    asked = parse()
    work = asked.work.resolve() / "data"
    work.mkdir(parents=True, exist_ok=True)
    context = context_of(asked, work) if asked.sections != ["report"] else None
    for name in asked.sections:
        if name == "report":
            shown = os.path.relpath(asked.results.resolve(), program.REPOSITORY)
            asked.document.write_text(report.document(load(asked.results), shown))
            print(f"wrote {asked.document}", file=sys.stderr)
            continue
        print(f"== {name}", file=sys.stderr, flush=True)
        # Read again: another section may have been added meanwhile.
        found = measure_section(name, context)
        context.known = load(asked.results) | {name: found}
        save(asked.results, context.known)
        for table in found["tables"]:
            print(f"{table['title']}\n{report.table(table['columns'], table['rows'])}", flush=True)


if __name__ == "__main__":
    main()
