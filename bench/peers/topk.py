#!/usr/bin/env python3
"""Exact top-k users by inner product with a library, on plain factors.

    peers/topk.py ENGINE USERS.npy ITEMS.npy QUERIES.npy K OUT.npy

ENGINE is faiss, implicit, numpy or usearch. Queries are row numbers of items. The numbers of the
users found, best first, go to OUT.npy (queries, k); seconds are printed. One thread.
"""

import sys

import numpy as np

from common import Phases

# FAISS is at its best with about a thousand queries a call (250 or a dimension of 64 cost it up to nine tenths).
FAISS_QUERIES = 1024
# Blocks of about this many scores keep numpy's partition in memory that it can afford.
NUMPY_SCORES = 32_000_000


def with_faiss(users, queries, k, phases):
    import faiss
    faiss.omp_set_num_threads(1)
    with phases.time("build"):
        index = faiss.IndexFlatIP(users.shape[1])
        index.add(users)
    with phases.time("search"):
        return np.concatenate([index.search(queries[at:at + FAISS_QUERIES], k)[1]
                               for at in range(0, len(queries), FAISS_QUERIES)])


def with_implicit(users, queries, k, phases):
    from implicit.cpu.topk import topk
    with phases.time("search"):
        return topk(users, queries, k, num_threads=1)[0]


def with_numpy(users, queries, k, phases):
    block = max(1, NUMPY_SCORES // len(users))
    found = []
    with phases.time("search"):
        for at in range(0, len(queries), block):
            scores = queries[at:at + block] @ users.T
            numbers = np.argpartition(scores, scores.shape[1] - k, axis=1)[:, -k:]
            order = np.argsort(-np.take_along_axis(scores, numbers, 1), axis=1, kind="stable")
            found.append(np.take_along_axis(numbers, order, 1))
    return np.concatenate(found)


def with_usearch(users, queries, k, phases):
    from usearch.index import MetricKind, search
    with phases.time("search"):
        return np.asarray(search(users, queries, k, MetricKind.IP, exact=True, threads=1).keys).reshape(len(queries), k)


ENGINES = {"faiss": with_faiss, "implicit": with_implicit, "numpy": with_numpy, "usearch": with_usearch}


def main():
    engine, users, items, queries, k, out = sys.argv[1:]
    phases = Phases()
    with phases.time("load"):
        users = np.load(users)
        queries = np.ascontiguousarray(np.load(items, mmap_mode="r")[np.load(queries)])
    found = ENGINES[engine](users, queries, int(k), phases)
    np.save(out, found.astype(np.int64))
    phases.print()


if __name__ == "__main__":
    main()
