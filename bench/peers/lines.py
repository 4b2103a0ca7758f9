#!/usr/bin/env python3
"""Rendering answer lines with orjson: parse a query line, look its list up, write the answer line.

    peers/lines.py INPUT ANSWERS OUTPUT

ANSWERS is an output file of the program for the same queries (each at least once), whose lists are taken
from it before the clock starts. The lines written say the same as the program's. One thread; the
file is synced.
"""

import os
import sys

import orjson

from common import Phases

BUFFER_BYTES = 1 << 20


def main():
    source, answers, target = sys.argv[1:]
    phases = Phases()
    with phases.time("load"):
        lists = {}
        with open(answers, "rb") as file:
            for line in file:
                found = orjson.loads(line)
                lists[found["input"]["itemId"]] = found["output"]["usersList"]
    lines = 0
    with phases.time("render"), open(source, "rb", BUFFER_BYTES) as file, open(target, "wb", BUFFER_BYTES) as out:
        for line in file:
            asked = orjson.loads(line)
            answer = {"input": asked, "output": {"usersList": lists[asked["itemId"]]}, "error": None}
            out.write(orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE))
            lines += 1
        out.flush()
        os.fsync(out.fileno())
    phases.print(lines=lines)


if __name__ == "__main__":
    main()
