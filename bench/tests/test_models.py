"""Model directories as another reader of their formats sees them."""

import hashlib
import json

import numpy as np
import pyarrow.parquet as pq
from safetensors.numpy import load_file

import models
from test_exact import small


def test_a_written_model_reads_back_and_opens_elsewhere(tmp_path):
    model = small(1)
    models.write(model, tmp_path)
    again = models.read(tmp_path)
    for name in ("user_vectors", "item_vectors", "user_offsets", "item_offsets", "history_starts", "history_users",
                 "history_scores", "user_ids", "item_ids"):
        assert np.array_equal(getattr(again, name), getattr(model, name)), name
    tensors = load_file(tmp_path / "model.safetensors")
    assert np.array_equal(tensors["user_vectors"], model.user_vectors) and tensors["user_log_rates"].shape == (300,)
    assert pq.read_schema(tmp_path / "history.parquet").names == ["user", "item", "score"]
    card = json.loads((tmp_path / "card.json").read_text())
    for name, checksum in card["checksums"].items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == checksum
    assert (card["users"], card["items"], card["dimension"]) == (300, 7, 6)


def test_the_largest_norm_is_found_in_any_block(monkeypatch):
    model = small(2)
    model.user_vectors[250] = 9.0
    monkeypatch.setattr(models, "NORM_ROWS_AT_ONCE", 64)
    assert np.isclose(model.user_norm_max(), 9.0 * 6**0.5)
