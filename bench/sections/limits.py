"""The physical limits: multiply-adds and memory of a core, writing and reading of the disk."""

import json
import mmap
import os
import time

import measure


BUFFER_BYTES = 8 << 20


def run(context):
    rounds = []
    for _ in range(context.rounds):
        found = json.loads(context.kindred.example("limits").output)
        rounds.append(found | disk(context.work / "disk.bin", context.size.disk_bytes))
    median = lambda key: measure.median_of(rounds, lambda one: one[key])
    rows = [["multiply-adds of f32, one core", median("fma_gflops"), "GFLOP/s"],
            ["memory read, one core", median("read_gb_per_s"), "GB/s"],
            ["memory copied, one core (each byte read and written)", median("copy_gb_per_s"), "GB/s"],
            ["512 bytes from anywhere in 1 GiB, not prefetched", median("random_row_ns"), "ns"],
            ["disk write, with fdatasync", median("write_gb_per_s"), "GB/s"],
            ["disk write, past the page cache", median("direct_gb_per_s"), "GB/s"],
            ["disk read, cache dropped", median("read_disk_gb_per_s"), "GB/s"]]
    return {"title": "Physical limits", "text": "By `crates/engine/examples/limits.rs`, and a file of "
            f"{context.size.disk_bytes >> 30} GiB. Medians of {context.rounds} rounds.",
            "tables": [{"title": "", "columns": ["what", "measured", "unit"], "rows": rows}],
            "goals": [], "rounds": rounds}


def written_gb_per_s(path, size, flag):
    """GB/s of writing a file and making it last."""
    # A map, because direct writes want whole pages.
    block = mmap.mmap(-1, BUFFER_BYTES)
    block.write(os.urandom(BUFFER_BYTES))
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | flag, 0o600)
    start = time.monotonic()
    for _ in range(size // BUFFER_BYTES):
        os.write(file, block)
    os.fdatasync(file)
    seconds = time.monotonic() - start
    os.close(file)
    return size / seconds / 1e9


def disk(path, size):
    """GB/s of writing a file to the disk and of reading it back from there."""
    found = {"direct_gb_per_s": written_gb_per_s(path, size, os.O_DIRECT),
             "write_gb_per_s": written_gb_per_s(path, size, 0)}
    file = os.open(path, os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    start = time.monotonic()
    while os.read(file, BUFFER_BYTES):
        pass
    read = time.monotonic() - start
    os.close(file)
    path.unlink()
    return found | {"read_disk_gb_per_s": size / read / 1e9}
