"""What every section is given, and the form of what it gives back.

A section is a module with `run(context) -> dict`: `title`, `text` (a paragraph in Markdown), `tables`
(each `title`, `columns`, `rows`), `goals` (see `goal`) and `rounds`, the figures behind them. The
report is made of that alone, so sections can be run one by one, and again.
"""

import dataclasses
import json
import pathlib
import sys

import measure
import program
import sizes

PEERS = pathlib.Path(__file__).resolve().parents[1] / "peers"


@dataclasses.dataclass
class Context:
    """The program, where files go, how large and how often."""

    kindred: program.Kindred
    work: pathlib.Path
    size: sizes.Size
    rounds: int
    spark: bool
    options: dict
    # Results of the other sections, by name.
    known: dict

    def peer(self, name, *arguments):
        """Runs a peer pinned to the core; the line of JSON it prints last."""
        done = measure.run([sys.executable, "-W", "ignore", PEERS / f"{name}.py", *arguments], self.kindred.core)
        return json.loads(done.output.splitlines()[-1])

    def fma_gflops(self):
        """The multiply-add peak of the core, taken now."""
        return json.loads(self.kindred.example("limits", "quick").output)["fma_gflops"]


def goal(path, against, wanted, found, unit="times"):
    """A line of the table of goals; `wanted` is a lower bound, or an upper one for a negative number."""
    met = found >= wanted if wanted >= 0 else found <= -wanted
    return {"path": path, "against": against, "wanted": wanted, "found": found, "unit": unit, "met": bool(met)}


def tile_share(stats):
    """Which part of the score tiles the program computed."""
    return stats.get("tiles_computed", 0) / max(stats.get("tiles_total", 1), 1)


def share_of_core(done):
    """CPU seconds a wall second had in a run on one core: what its own wall figures must be multiplied
    with when others took turns on that core."""
    return min(1.0, done.cpu_seconds / max(done.wall_seconds, 1e-9))
