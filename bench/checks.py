#!/usr/bin/env python3
"""Compares lists of users with the brute force of `exact.py`, in a process of its own.

    bench/checks.py truth MODEL QUERIES.npy COUNT K TRUTH.npz
    bench/checks.py program TRUTH.npz ANSWERS.out         # id by id
    bench/checks.py peer MODEL QUERIES.npy TRUTH.npz FOUND.npy

The program's lists must be the brute force's, id by id. A peer adds in f32 and breaks ties its own way,
so a user of its list counts as wrong only if its float64 score is further below the cut than f32 sums
can be off, or if it is there twice. Prints {"compared": lists, "wrong": ids}.
"""

import json
import sys

import numpy as np

import exact
import models

# What a sum of d products may be off in f32, as a multiple of d |q||p|: the unit roundoff, both ways.
F32_ROUNDING = 2.0**-23


def truth(folder, queries, count, k, out):
    model = models.read(folder)
    items = np.load(queries)[:int(count)]
    numbers, scores = exact.top_users(model, items, int(k))
    ids = np.array(model.user_ids)
    np.savez(out, items=np.array(model.item_ids)[items], numbers=numbers, scores=scores, ids=ids[numbers])
    return {}


def of_program(truth_file, answers):
    """The answers of the first queries, in the order of the truth."""
    known = np.load(truth_file)
    expected = {item: list(ids) for item, ids in zip(known["items"], known["ids"])}
    compared, wrong = 0, 0
    with open(answers, "rb") as file:
        for line in file:
            if compared == len(expected):
                break
            found = json.loads(line)
            wanted = expected[found["input"]["itemId"]]
            wrong += sum(a != b for a, b in zip(found["output"]["usersList"], wanted))
            wrong += abs(len(wanted) - len(found["output"]["usersList"]))
            compared += 1
    return {"compared": compared, "wrong": wrong}


def of_peer(folder, queries, truth_file, found_file):
    model = models.read(folder)
    known, found = np.load(truth_file), np.load(found_file)
    count = min(len(known["numbers"]), len(found))
    items, found = np.load(queries)[:count], found[:count]
    norms = np.linalg.norm(model.item_vectors[items].astype(np.float64), axis=1)
    tolerance = model.dimension * F32_ROUNDING * norms * model.user_norm_max()
    scores = np.stack([
        exact.ordered_scores(model.item_vectors[item], model.user_vectors[users], model.user_offsets[users])
        for item, users in zip(items, found)])
    wrong = exact.wrong_by_more_than_rounding(found, scores, known["scores"][:count, -1], tolerance)
    return {"compared": count, "wrong": wrong}


CHECKS = {"truth": truth, "program": of_program, "peer": of_peer}


if __name__ == "__main__":
    print(json.dumps(CHECKS[sys.argv[1]](*sys.argv[2:])))
