#!/usr/bin/env python3
"""Spark MLlib's implicit ALS, one core: CPU seconds of an iteration.

    peers/spark_als.py PAIRS.npz DIMENSION ITERATIONS

PAIRS.npz is a scipy CSR matrix users × items. An iteration is the difference between fits of
ITERATIONS and of one, divided, so what a fit costs once does not count; a fit before them warms the
JVM up.
"""

import json
import sys
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse
from pyspark.ml.recommendation import ALS

import jvm

ALPHA = 10.0
REGULARIZATION = 0.05
BLOCKS = 10


def fit(data, rank, iterations):
    """CPU seconds of one fit."""
    before = jvm.cpu_seconds()
    als = ALS(rank=rank, maxIter=iterations, regParam=REGULARIZATION, alpha=ALPHA, implicitPrefs=True, seed=3,
              userCol="user", itemCol="item", ratingCol="rating", numUserBlocks=BLOCKS, numItemBlocks=BLOCKS,
              intermediateStorageLevel="MEMORY_AND_DISK")
    als.fit(data).userFactors.count()
    return jvm.cpu_seconds() - before


def main():
    pairs, rank, iterations = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    matrix = scipy.sparse.load_npz(pairs).tocoo()
    with tempfile.TemporaryDirectory() as home:
        path = f"{home}/pairs.parquet"
        pq.write_table(pa.table({"user": matrix.row.astype(np.int32), "item": matrix.col.astype(np.int32),
                                 "rating": matrix.data.astype(np.float32)}), path)
        session = jvm.session(home, cores=1)
        data = session.read.parquet(path).cache()
        count = data.count()
        fit(data, rank, iterations)
        one, many = fit(data, rank, 1), fit(data, rank, iterations)
        print(json.dumps({"iteration_cpu_seconds": (many - one) / (iterations - 1), "pairs": count,
                          "peak_memory_bytes": jvm.peak_memory_bytes()}))
        session.stop()


if __name__ == "__main__":
    main()
