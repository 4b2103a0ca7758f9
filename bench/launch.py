"""Starts a program for `measure.py` and notes what the kernel counted for it.

    launch.py NOTE COMMAND...

Between the measuring process and the program because Linux counts the memory of whoever starts a
program into the program's peak: this one imports next to nothing. NOTE gets one JSON object.
"""

import json
import os
import sys
import time


def main():
    note, command = sys.argv[1], sys.argv[2:]
    start = time.monotonic()
    process = os.posix_spawnp(command[0], command, os.environ)
    _, status, used = os.wait4(process, 0)
    found = {"cpu_seconds": used.ru_utime + used.ru_stime, "wall_seconds": time.monotonic() - start,
             "peak_memory_bytes": used.ru_maxrss * 1024, "status": os.waitstatus_to_exitcode(status)}
    with open(note, "w") as out:
        json.dump(found, out)


if __name__ == "__main__":
    main()
