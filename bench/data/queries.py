#!/usr/bin/env python3
"""Seeded query lines over the items of `generate.py`: the input of a batch segment job.

    bench/data/queries.py --lines 50e6 --items 750e3 --out queries.json

`--shape every` (default) asks for every item at least once, where there are as many lines, and for
the rest evenly; `--shape zipf` by a power law, some items never. Lines can be spoiled: a share of
broken ones (`--broken 0.01`: in turn the forms of BROKEN), some of a megabyte spread over the file
(`--long 100`), ends of lines in CRLF, no line end behind the last, and gzip if the name ends in .gz.

Lines are made in chunks, each from a random source of its own, so memory does not grow with them.
"""

import argparse
import gzip
import sys
import time

import numpy as np

from names import id_table

CHUNK_LINES = 1_000_000
ZIPF_POWER = 0.9
LONG_LINE_BYTES = 1_000_000
GZIP_LEVEL = 1
HEAD, TAIL = b'{"itemId": "', b'"}'
# What a job must answer with an error of the line. None of them has a line end.
BROKEN = (b'{"itemId": "i0', b"not json", b'{"itemid": "i1"}', b'{"itemId": 17}', b"{}", b'["itemId"]',
          b'{"itemId": ""}', b'{"itemId": "i1"} {"itemId": "i2"}', b'\xff\xfe{"itemId"', b"null")


def draw_items(asked, permuted, chunk, first, lines):
    """Numbers of the items that lines first .. first + lines ask for."""
    rng = np.random.default_rng([asked.seed, 5, chunk])
    if asked.shape == "zipf":
        rest = 1 - ZIPF_POWER
        rank = (rng.random(lines) * ((asked.items + 1) ** rest - 1) + 1) ** (1 / rest) - 1
        return permuted[np.minimum(rank.astype(np.int64), asked.items - 1)]
    # Its share of the items that must occur, in proportion to its lines, and others at random.
    plain = asked.lines - asked.long
    own = permuted[first * asked.items // plain: (first + lines) * asked.items // plain][:lines]
    item = rng.integers(asked.items, size=lines)
    item[rng.choice(lines, size=len(own), replace=False)] = own
    return item


def render(ids, item, end):
    """Whole lines: uint8 (lines, bytes of a line)."""
    head, tail = np.frombuffer(HEAD, np.uint8), np.frombuffer(TAIL + end, np.uint8)
    out = np.empty((len(item), len(head) + ids.shape[1] + len(tail)), dtype=np.uint8)
    out[:, :len(head)] = head
    out[:, len(head):-len(tail)] = ids[item]
    out[:, -len(tail):] = tail
    return out


def spoil(lines, places, end):
    """The bytes of `lines` with those at `places` replaced by broken ones in turn."""
    forms = [form + end for form in BROKEN]
    width = max(lines.shape[1], *map(len, forms))
    wide = np.zeros((len(lines), width), dtype=np.uint8)
    wide[:, :lines.shape[1]] = lines
    length = np.full(len(lines), lines.shape[1])
    for number, form in enumerate(forms):
        mine = places[number::len(forms)]
        wide[mine, :len(form)] = np.frombuffer(form, np.uint8)
        length[mine] = len(form)
    return wide[np.arange(width) < length[:, None]]


def long_line(number, end):
    """A query of a megabyte for an item that cannot exist."""
    name = b"%020d" % number
    return HEAD + b"x" * (LONG_LINE_BYTES - len(HEAD + name + TAIL)) + name + TAIL + end


def chunks(asked):
    """Yields the bytes of the file piece by piece."""
    ids = id_table("i", asked.items)
    permuted = np.random.default_rng([asked.seed, 6]).permutation(asked.items)
    end = b"\r\n" if asked.crlf else b"\n"
    plain = asked.lines - asked.long
    for chunk, first in enumerate(range(0, plain, CHUNK_LINES)):
        count = min(CHUNK_LINES, plain - first)
        for number in range(first * asked.long // plain, (first + count) * asked.long // plain):
            yield long_line(number, end)
        lines = render(ids, draw_items(asked, permuted, chunk, first, count), end)
        rng = np.random.default_rng([asked.seed, 7, chunk])
        places = np.flatnonzero(rng.random(count) < asked.broken)
        bytes_ = spoil(lines, places, end).data if len(places) else lines.reshape(-1).data
        if asked.no_final_newline and first + count == plain:
            bytes_ = bytes_[:-len(end)]
        yield bytes_


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    number = lambda text: int(float(text))
    parser.add_argument("--lines", type=number, required=True, help="all of them, long ones included")
    parser.add_argument("--items", type=number, required=True, help="as for generate.py")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--shape", choices=["every", "zipf"], default="every")
    parser.add_argument("--broken", type=float, default=0.0, help="share of broken lines")
    parser.add_argument("--long", type=number, default=0, help="lines of a megabyte")
    parser.add_argument("--crlf", action="store_true")
    parser.add_argument("--no-final-newline", action="store_true")
    parser.add_argument("--out", required=True)
    asked = parser.parse_args()
    if asked.long >= asked.lines:
        parser.error("--long must leave lines of the other kind")
    start, cpu = time.monotonic(), time.process_time()
    opened = gzip.open(asked.out, "wb", GZIP_LEVEL) if asked.out.endswith(".gz") else open(asked.out, "wb")
    with opened as out:
        for piece in chunks(asked):
            out.write(piece)
    print(f"{asked.lines} lines, {time.process_time() - cpu:.1f} s of CPU, "
          f"{time.monotonic() - start:.1f} s of wall", file=sys.stderr)


if __name__ == "__main__":
    main()
