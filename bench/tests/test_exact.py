"""The brute force against sorting by hand, where scores are whole numbers and ties are many."""

import numpy as np

import exact
import models


def small(seed, users=300, items=7, dimension=6):
    """Whole numbers from -2 to 2: scores are exact in any order of adding, and often equal."""
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.integers(-2, 3, size=shape).astype(np.float32)
    model = models.plain(draw(users, dimension), draw(items, dimension))
    model.user_ids, model.item_ids = model.user_ids.to_pylist(), model.item_ids.to_pylist()
    model.user_offsets = draw(users)
    owners = [np.sort(rng.choice(users, size=rng.integers(0, 40), replace=False)) for _ in range(items)]
    model.history_starts = np.concatenate([[0], np.cumsum([len(own) for own in owners])])
    model.history_users = np.concatenate(owners).astype(np.uint32)
    model.history_scores = draw(len(model.history_users)) * 3
    return model


def by_hand(model, item, k):
    scores = [sum(float(a) * float(b) for a, b in zip(vector, model.item_vectors[item])) + float(offset)
              for vector, offset in zip(model.user_vectors, model.user_offsets)]
    for user, score in zip(*model.history_of(item)):
        scores[user] = float(score)
    return sorted(range(len(scores)), key=lambda user: (-scores[user], model.user_ids[user].encode()))[:k]


def test_lists_are_those_of_a_plain_sort_with_ties_by_id_and_history_in_place_of_the_product():
    for seed in range(4):
        model = small(seed)
        for k in (1, 25, 299, 300, 1000):
            numbers, scores = exact.top_users(model, list(range(7)), k)
            assert (np.diff(scores) <= 0).all()
            for item in range(7):
                assert list(numbers[item]) == by_hand(model, item, k), (seed, k, item)


def test_scores_are_added_in_four_sums():
    # Alternating huge and small numbers: another order of adding gives another last bit.
    rng = np.random.default_rng(3)
    query = (rng.standard_normal(11) * 10.0 ** rng.integers(-6, 7, 11)).astype(np.float32)
    vectors = (rng.standard_normal((200, 11)) * 10.0 ** rng.integers(-6, 7, (200, 11))).astype(np.float32)
    offsets = rng.standard_normal(200).astype(np.float32)
    found = exact.ordered_scores(query, vectors, offsets)
    plain = vectors.astype(np.float64) @ query.astype(np.float64) + offsets
    assert np.allclose(found, plain, rtol=1e-9) and (found != plain).any()
    for vector, offset, score in zip(vectors, offsets, found):
        sums = [0.0] * 4
        for place, (a, b) in enumerate(zip(query, vector)):
            sums[place % 4] += float(a) * float(b)
        assert score == (sums[0] + sums[1]) + (sums[2] + sums[3]) + float(offset)


def test_only_what_rounding_cannot_explain_is_wrong():
    found = np.array([[4, 2, 9], [1, 1, 3]])
    scores = np.array([[5.0, 3.0, 2.9999], [9.0, 9.0, 8.0]])
    cut = np.array([3.0, 8.0])
    check = lambda tolerance: exact.wrong_by_more_than_rounding(found, scores, cut, np.full(2, tolerance))
    assert check(1e-3) == 1  # User 1 is there twice.
    assert check(1e-6) == 2  # And 2.9999 is not 3.
