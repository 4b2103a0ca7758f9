"""What the peers' programs share: phases in CPU seconds of this process, printed as one line of JSON.

Every peer is a process of its own that loads what it needs, gets ready, works, and prints. Work is
timed by the process's CPU clock, so that loading files is not counted against anybody.
"""

import contextlib
import json
import resource
import time


class Phases:
    """CPU and wall seconds by name."""

    def __init__(self):
        self.found = {}

    @contextlib.contextmanager
    def time(self, name):
        cpu, wall = time.process_time(), time.monotonic()
        yield
        self.found[f"{name}_cpu_seconds"] = time.process_time() - cpu
        self.found[f"{name}_wall_seconds"] = time.monotonic() - wall

    def print(self, **more):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(self.found | more | {"peak_memory_bytes": peak}))
