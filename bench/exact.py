"""The right answer: every user scored in float64, ties as the program breaks them.

The score of user x for item y is the inner product of their vectors plus the offset of x; a pair in
the model's history has the score that stands there instead. Users are ranked by score, descending,
and by id in byte order, which is the order of their numbers. The program adds products in four sums
(places j, j + 4, j + 8, ... each, then (0 + 1) + (2 + 3) + offset); the scores near the cut are added
in that order here too, so lists can be compared id by id, even where scores differ in the last bit.
"""

import numpy as np

SUMS = 4
# Scores that another order of adding could move across the cut: a multiple of d 2^-53 |q||p|.
ROUNDING = 2.0**-50
BLOCK_BYTES = 512 << 20


def ordered_scores(query, vectors, offsets):
    """Scores of `vectors` (n, d) and `offsets` (n) for one `query` (d), added in the program's order: float64 (n)."""
    products = np.asarray(query, np.float64) * np.asarray(vectors, np.float64)
    sums = np.zeros((len(products), SUMS))
    for start in range(0, products.shape[1], SUMS):
        part = products[:, start:start + SUMS]
        sums[:, :part.shape[1]] += part
    return (sums[:, 0] + sums[:, 1]) + (sums[:, 2] + sums[:, 3]) + np.asarray(offsets, np.float64)


def ranked(scores, numbers, k):
    """The first k of `numbers` by score, descending, then number."""
    order = np.lexsort((numbers, -scores))[:k]
    return numbers[order], scores[order]


def top_users(model, items, k):
    """The k best users of every item: numbers (items, k) and scores, by scoring everybody in float64.

    `model` is a `models.Model`; `items` are row numbers. k is cut to the number of users.
    """
    users = len(model.user_vectors)
    k = min(k, users)
    found = np.empty((len(items), k), np.int64), np.empty((len(items), k))
    block = max(1, BLOCK_BYTES // (8 * users))
    for start in range(0, len(items), block):
        part = items[start:start + block]
        for row, scores in enumerate(_all_scores(model, part)):
            numbers, best = _cut(model, part[row], scores, k)
            found[0][start + row], found[1][start + row] = numbers, best
    return found


def _all_scores(model, items):
    """Scores of everybody for some items, history included: float64 (items, users)."""
    queries = np.asarray(model.item_vectors[items], np.float64)
    scores = np.empty((len(items), len(model.user_vectors)))
    step = max(1, BLOCK_BYTES // (16 * model.dimension))
    for start in range(0, scores.shape[1], step):
        part = slice(start, start + step)
        scores[:, part] = queries @ np.asarray(model.user_vectors[part], np.float64).T
        scores[:, part] += model.user_offsets[part]
    for row, item in enumerate(items):
        users, own = model.history_of(item)
        scores[row, users] = own
    return scores


def _cut(model, item, scores, k):
    """The k best of one item, those near the cut scored again in the program's order."""
    kth = np.partition(scores, len(scores) - k)[len(scores) - k]
    query = model.item_vectors[item]
    size = np.linalg.norm(query.astype(np.float64)) * model.user_norm_max() + np.abs(model.user_offsets).max()
    slack = model.dimension * ROUNDING * size
    near = np.flatnonzero(scores >= kth - slack)
    again = ordered_scores(query, model.user_vectors[near], model.user_offsets[near])
    users, own = model.history_of(item)
    listed = np.isin(near, users)
    again[listed] = own[np.searchsorted(users, near[listed])]
    return ranked(again, near, k)


def wrong_by_more_than_rounding(found, scores_of_found, kth_scores, tolerance):
    """Ids in lists of another engine that cannot be explained by its f32 sums.

    `found` (queries, k) are its user numbers, `scores_of_found` their float64 scores, `kth_scores` the
    float64 score at the cut, `tolerance` (queries) what f32 may be off. Repeated ids are wrong too.
    """
    below = scores_of_found < (kth_scores - tolerance)[:, None]
    ordered = np.sort(found, axis=1)
    repeated = (ordered[:, 1:] == ordered[:, :-1]).sum()
    return int(below.sum() + repeated)
