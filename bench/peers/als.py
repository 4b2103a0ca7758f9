#!/usr/bin/env python3
"""Implicit ALS by the library `implicit`, conjugate gradients, one thread.

    peers/als.py PAIRS.npz DIMENSION ITERATIONS [OUT_PREFIX]

PAIRS.npz is a scipy CSR matrix users × items. CPU seconds of each iteration are printed; the factors
go to OUT_PREFIX-users.npy and OUT_PREFIX-items.npy.
"""

import sys
import time

import numpy as np
import scipy.sparse
from implicit.cpu.als import AlternatingLeastSquares

from common import Phases

ALPHA = 10.0
REGULARIZATION = 0.05


def main():
    pairs, dimension, iterations = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    phases = Phases()
    with phases.time("load"):
        matrix = scipy.sparse.load_npz(pairs).tocsr().astype(np.float32)
    model = AlternatingLeastSquares(factors=dimension, iterations=iterations, regularization=REGULARIZATION,
                                    alpha=ALPHA, use_cg=True, num_threads=1, random_state=3)
    marks = []
    with phases.time("fit"):
        marks.append(time.process_time())
        model.fit(matrix, show_progress=False, callback=lambda *_: marks.append(time.process_time()))
    if len(sys.argv) > 4:
        np.save(f"{sys.argv[4]}-users.npy", np.asarray(model.user_factors, np.float32))
        np.save(f"{sys.argv[4]}-items.npy", np.asarray(model.item_factors, np.float32))
    # The first one includes the set-up of the library.
    phases.print(iteration_cpu_seconds=list(np.diff(marks)), pairs=int(matrix.nnz))


if __name__ == "__main__":
    main()
