"""Lines a second from the input to the disk where queries repeat, beside Python with orjson.

The program's figure is CPU time from outside: a run with many lines minus one with a tenth of them,
over the lines between; reading twice, rendering, writing and syncing are all in it. orjson's is its
loop alone: parse, look up, dump, write.
"""

import itertools
import json

import measure
import prepare

from .context import goal

# Few enough that scoring is nothing, and that the answers are in the cache as they are with repeats.
ITEMS = 1_000
USERS = 20_000
DIMENSION = 64
K = 25
PEER_LINES = 1_000_000
COMPARED_LINES = 1_000


def beginning(path):
    """The first lines of an output, understood."""
    with open(path, "rb") as file:
        return [json.loads(line) for line in itertools.islice(file, COMPARED_LINES)]


def run(context):
    size, work = context.size, context.work
    model = prepare.model(work, prepare.gaussian(work, USERS, ITEMS, DIMENSION))
    many, few = (prepare.queries(work, ITEMS, count) for count in (size.lines, size.lines // 10))
    peer_input = prepare.queries(work, ITEMS, min(PEER_LINES, size.lines))
    answers, written = work / "lines.out", work / "peer-lines.out"
    ask = lambda source, keep=None: context.kindred.segment(
        "--model-in", model, "--input", source, "--num-results", K, keep=keep)
    ask(peer_input, answers)

    def kindred():
        less, _ = ask(few)
        more, stats = ask(many)
        return {"seconds": (more.cpu_seconds - less.cpu_seconds) / (size.lines - size.lines // 10),
                "wall_seconds": (more.wall_seconds - less.wall_seconds) / (size.lines - size.lines // 10),
                "bytes": stats["output_bytes"] / size.lines, "peak_memory_bytes": more.peak_memory_bytes}

    def orjson():
        found = context.peer("lines", peer_input, answers, written)
        same = beginning(written) == beginning(answers)
        return {"seconds": found["render_cpu_seconds"] / found["lines"], "same": same,
                "bytes": written.stat().st_size / found["lines"], "peak_memory_bytes": found["peak_memory_bytes"]}

    rounds = measure.in_turns(context.rounds, {"kindred": kindred, "orjson": orjson})
    if not all(one["orjson"]["same"] for one in rounds):
        raise SystemExit("orjson wrote other lines than the program")
    answers.unlink(), written.unlink()
    rows = []
    for name in ("kindred", "orjson"):
        seconds = measure.median_of(rounds, lambda one: one[name]["seconds"])
        rows.append([name, 1e-6 / seconds, rounds[0][name]["bytes"] / seconds / 1e6,
                     None if name == "kindred" else measure.ratio(rounds, "kindred", name, "seconds"),
                     max(one[name]["peak_memory_bytes"] for one in rounds) / 2**20])
    path = f"lines rendered to disk, {ITEMS:,} different queries"
    return {"title": "Lines", "text": f"{size.lines:,} lines, k = {K}; orjson with {PEER_LINES:,}. The first "
            f"{COMPARED_LINES:,} lines of both outputs are compared.",
            "tables": [{"title": "", "columns": ["engine", "M lines/s a core", "MB/s", "times what Kindred takes",
                                                 "peak memory MiB"], "rows": rows}],
            "goals": [goal(path, "a core", 3.0, rows[0][1], "M lines/s"), goal(path, "orjson", 2.5, rows[1][3])],
            "rounds": rounds}
