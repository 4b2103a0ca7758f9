#!/usr/bin/env python3
"""Recall at 50 of a held-out item, of plain factors or of a model of the program.

    bench/recall.py PAIRS.npz HELD.npy PREFIX|MODEL_DIR

HELD.npy is (n, 2): a user and the item that was left out. A hit is an item among the 50 best of those
that the user had not. Of a model, the items' offsets count, as they do when one user's items are
compared. Prints {"recall_at_50": ..., "users": ...}; users or items that a model does not know miss.
"""

import json
import pathlib
import sys

import numpy as np
import scipy.sparse

import models

PLACES = 50
USERS_AT_ONCE = 256


def towers(source):
    """User vectors, item vectors, item offsets, and the numbers of users and items in the data."""
    if not pathlib.Path(source).is_dir():
        users, items = (np.load(f"{source}-{side}.npy", mmap_mode="r") for side in ("users", "items"))
        return users, items, np.zeros(len(items)), np.arange(len(users)), np.arange(len(items))
    model = models.read(source)
    numbers = lambda ids: np.array([int(text[1:]) for text in ids])
    return model.user_vectors, model.item_vectors, model.item_offsets, numbers(model.user_ids), numbers(model.item_ids)


def main():
    pairs, held, source = sys.argv[1:]
    seen, held = scipy.sparse.load_npz(pairs).tocsr(), np.load(held)
    users, items, offsets, user_numbers, item_numbers = towers(source)
    row_of_user = {int(number): row for row, number in enumerate(user_numbers)}
    column_of_item = np.full(max(int(item_numbers.max()), int(held[:, 1].max()), seen.shape[1]) + 1, -1)
    column_of_item[item_numbers] = np.arange(len(item_numbers))
    vectors = np.asarray(items, np.float32)
    hits = 0
    known = [(row_of_user[user], user, item) for user, item in held.tolist()
             if user in row_of_user and column_of_item[item] >= 0]
    for start in range(0, len(known), USERS_AT_ONCE):
        part = known[start:start + USERS_AT_ONCE]
        scores = users[[row for row, _, _ in part]] @ vectors.T + offsets
        for line, (_, user, item) in zip(scores, part):
            had = column_of_item[seen.indices[seen.indptr[user]:seen.indptr[user + 1]]]
            line[had[had >= 0]] = -np.inf
            hits += int((line > line[column_of_item[item]]).sum()) < PLACES
    print(json.dumps({"recall_at_50": hits / len(held), "users": len(held)}))


if __name__ == "__main__":
    main()
