#!/usr/bin/env python3
"""Spark MLlib's recommendForItemSubset on given factors, one core.

    peers/spark_topk.py USERS.npy ITEMS.npy QUERIES.npy K OUT.npy

The factors are put into a saved ALSModel, so Spark answers from the same numbers as everybody else. It
runs twice in one JVM; the second, warm run counts. Seconds are CPU seconds of the JVM.
"""

import json
import pathlib
import shutil
import sys
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.ml.recommendation import ALS, ALSModel

import jvm

# Users and items multiplied at a time; larger blocks did not help.
BLOCK_SIZE = 4096
ROWS_AT_ONCE = 65_536


def save_model(session, folder, users, items):
    """A tiny trained model's directory with the factors exchanged."""
    few = session.createDataFrame([(0, 0, 1.0), (1, 1, 1.0)], "user int, item int, rating float")
    ALS(rank=2, maxIter=1, implicitPrefs=True).fit(few).write().overwrite().save(str(folder))
    for name, vectors in [("userFactors", users), ("itemFactors", items)]:
        shutil.rmtree(folder / name)
        (folder / name).mkdir()
        _write_factors(folder / name / "part-0.parquet", vectors)
    part = next((folder / "metadata").glob("part-*"))
    described = json.loads(part.read_text())
    described["rank"] = users.shape[1]
    part.write_text(json.dumps(described) + "\n")
    for checksum in (folder / "metadata").glob(".*.crc"):
        checksum.unlink()


def _write_factors(path, vectors):
    schema = pa.schema([pa.field("id", pa.int32(), nullable=False), pa.field("features", pa.list_(pa.float32()))])
    with pq.ParquetWriter(path, schema) as out:
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            part = vectors[start:start + ROWS_AT_ONCE]
            ends = np.arange(len(part) + 1, dtype=np.int32) * vectors.shape[1]
            features = pa.ListArray.from_arrays(pa.array(ends), pa.array(part.reshape(-1)))
            ids = pa.array(np.arange(start, start + len(part), dtype=np.int32))
            out.write_table(pa.table([ids, features], schema=schema))


def main():
    users, items, queries, k, out = sys.argv[1:]
    users, items, queries, k = np.load(users), np.load(items, mmap_mode="r"), np.load(queries), int(k)
    with tempfile.TemporaryDirectory() as home:
        session = jvm.session(home, cores=1)
        folder = pathlib.Path(home) / "model"
        save_model(session, folder, users, np.ascontiguousarray(items))
        model = ALSModel.load(str(folder))
        model.setBlockSize(BLOCK_SIZE)
        model.userFactors.cache().count()
        subset = session.createDataFrame([(int(item),) for item in queries], f"{model.getItemCol()} int")
        for _ in range(2):
            before = jvm.cpu_seconds()
            rows = model.recommendForItemSubset(subset, k).collect()
            seconds = jvm.cpu_seconds() - before
        peak = jvm.peak_memory_bytes()
        session.stop()
    lists = {row[0]: [user for user, _ in row[1]] for row in rows}
    np.save(out, np.array([lists[int(item)] for item in queries], np.int64))
    print(json.dumps({"search_cpu_seconds": seconds, "peak_memory_bytes": peak}))


if __name__ == "__main__":
    main()
