"""Runs programs pinned to a core, counts their CPU seconds from outside, and takes medians of ratios.

Seconds are user plus system time that the kernel counted for the process and the children it waited
for (wait4). On a shared machine they say more than wall time. `launch.py` stands between, for the sake of
the peaks of memory.
"""

import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

# Threads of numerical libraries; one pinned core gets one.
THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
LOG_TAIL_BYTES = 2_000
LAUNCH = pathlib.Path(__file__).resolve().with_name("launch.py")


@dataclasses.dataclass
class Run:
    """What a program cost and said."""

    cpu_seconds: float
    wall_seconds: float
    peak_memory_bytes: int
    output: str


class Failed(Exception):
    """A program ended with an error; the text is the end of what it wrote."""


def run(command, core=None, threads=1):
    """Runs `command` to its end, on one core if one is named.

    Raises `Failed` with the end of its standard error if it fails.
    """
    command = [str(part) for part in command]
    pinned = ["taskset", "-c", str(core), *command] if core is not None else command
    environment = os.environ | {name: str(threads) for name in THREAD_VARIABLES}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.NamedTemporaryFile("r") as note:
        launch = [sys.executable, "-I", "-S", LAUNCH, note.name]
        subprocess.run([*launch, *pinned], stdout=out, stderr=err, env=environment)
        found = json.loads(note.read() or '{"status": "nothing"}')
        out.seek(0)
        text = out.read().decode(errors="replace")
        status = found.pop("status")
        if status:
            err.seek(max(0, err.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            raise Failed(f"{' '.join(command)} ended with {status}:\n{err.read().decode(errors='replace')}")
    return Run(**found, output=text)


def in_turns(rounds, engines):
    """Calls every engine once per round, in order: [{name: figures}]. `engines` are {name: function}."""
    return [{name: engine() for name, engine in engines.items()} for _ in range(rounds)]


def median_of(rounds, value):
    """The median of `value(round)` over the rounds."""
    return statistics.median(value(one) for one in rounds)


def ratio(rounds, name, other, key):
    """The median over the rounds of other's figure divided by name's: how many times less `name` costs."""
    return median_of(rounds, lambda one: one[other][key] / one[name][key])


def load_average():
    return os.getloadavg()[0]


def machine():
    """What the figures were measured on."""
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown")
    memory = next(int(line.split()[1]) for line in pathlib.Path("/proc/meminfo").read_text().splitlines()
                  if line.startswith("MemTotal:"))
    return {"processor": model, "cores": os.cpu_count(), "memory_gib": round(memory / 2**20, 1)}
