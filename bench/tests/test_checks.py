"""Lists that differ from the brute force are counted, of the program and of peers."""

import json

import numpy as np

import checks
import exact
import models
from test_exact import small

K = 10


def test_wrong_ids_are_counted_by_place_for_the_program_and_beyond_rounding_for_peers(tmp_path):
    model = small(6)
    model.user_offsets[:] = 0
    model.history_starts[:] = 0
    model.history_users, model.history_scores = model.history_users[:0], model.history_scores[:0]
    models.write(model, tmp_path / "model")
    queries, truth, answers, found = (tmp_path / name for name in ("q.npy", "t.npz", "a.out", "f.npy"))
    np.save(queries, np.array([3, 0, 5]))
    checks.truth(tmp_path / "model", queries, 2, K, truth)
    numbers, _ = exact.top_users(model, [3, 0, 5], K)
    lists = {item: [model.user_ids[user] for user in users] for item, users in zip((3, 0, 5), numbers)}

    def program():
        answers.write_text("".join(json.dumps({"input": {"itemId": model.item_ids[item]}, "output": {"usersList": ids}})
                                   + "\n" for item, ids in lists.items()))
        return checks.of_program(truth, answers)

    def peer():
        np.save(found, numbers)
        return checks.of_peer(tmp_path / "model", queries, truth, found)

    assert program() == {"compared": 2, "wrong": 0} and peer() == {"compared": 2, "wrong": 0}
    lists[3][2], lists[3][3] = lists[3][3], lists[3][2]
    lists[0].pop()
    assert program()["wrong"] == 3
    # Another order of equal or any users is a peer's own business; a user from below the cut is not.
    numbers[0] = numbers[0][::-1]
    assert peer()["wrong"] == 0
    scores = model.user_vectors @ model.item_vectors[3]
    numbers[0, 4] = int(scores.argmin())
    assert peer()["wrong"] == 1
