#!/usr/bin/env python3
"""Kindred's model directories in numpy, and plain factors as such a directory.

    bench/models.py to-kindred FACTORS.npz DIR      # user_vectors, item_vectors [, user_ids, item_ids]
    bench/models.py to-numpy DIR FACTORS.npz

The form is the one of `crates/engine/src/model/artifact.rs`: safetensors for vectors and offsets, Parquet
for ids and history, and a card with the SHA-256 of each. Plain factors get zero offsets, no history,
and ids that ascend with their numbers. Memory: the factors once (they are mapped, not read).
"""

import argparse
import dataclasses
import hashlib
import json
import pathlib
import struct
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "data"))
from names import id_table  # noqa: E402

FILES = ("model.safetensors", "users.parquet", "items.parquet", "history.parquet")
FORMAT = 2
RECIPE = "aws-item-affinity"
HASH_BYTES_AT_ONCE = 1 << 20
NORM_ROWS_AT_ONCE = 1 << 16


@dataclasses.dataclass
class Model:
    """Vectors (n, d) and (m, d) in f32, offsets (n) and (m), ids in that order, history by item."""

    user_vectors: np.ndarray
    item_vectors: np.ndarray
    user_offsets: np.ndarray
    item_offsets: np.ndarray
    # Lists of text, or tables of it in models that are made to be written.
    user_ids: list | pa.StringArray
    item_ids: list | pa.StringArray
    history_starts: np.ndarray
    history_users: np.ndarray
    history_scores: np.ndarray
    card: dict = dataclasses.field(default_factory=dict)
    _norm_max: float = None

    @property
    def dimension(self):
        return self.user_vectors.shape[1]

    def history_of(self, item):
        """Users (ascending) and scores of the pairs of an item that have a score of their own."""
        pairs = slice(self.history_starts[item], self.history_starts[item + 1])
        return self.history_users[pairs], self.history_scores[pairs]

    def user_norm_max(self):
        if self._norm_max is None:
            blocks = range(0, len(self.user_vectors), NORM_ROWS_AT_ONCE)
            part = lambda start: self.user_vectors[start:start + NORM_ROWS_AT_ONCE].astype(np.float64)
            self._norm_max = max(float(np.linalg.norm(part(start), axis=1).max()) for start in blocks)
        return self._norm_max


def plain(user_vectors, item_vectors, user_ids=None, item_ids=None):
    """A model of bare factors. Ids must ascend in byte order where they are given."""
    n, m = len(user_vectors), len(item_vectors)
    return Model(user_vectors, item_vectors, np.zeros(n, np.float32), np.zeros(m, np.float32),
                 list(user_ids) if user_ids is not None else _ids("u", n),
                 list(item_ids) if item_ids is not None else _ids("i", m),
                 np.zeros(m + 1, np.int64), np.zeros(0, np.uint32), np.zeros(0, np.float32))


def _ids(letter, count):
    """The ids of so many things; as one table of bytes, for there may be 50 million."""
    table = id_table(letter, count)
    ends = np.arange(count + 1, dtype=np.int32) * table.shape[1]
    return pa.StringArray.from_buffers(count, pa.py_buffer(ends), pa.py_buffer(table))


def read(folder):
    """Opens a model directory; vectors stay mapped."""
    folder = pathlib.Path(folder)
    card = json.loads((folder / "card.json").read_text())
    tensors = _map_tensors(folder / "model.safetensors")
    ids = lambda name: pq.read_table(folder / name).column(0).to_pylist()
    item_ids = ids("items.parquet")
    history = pq.read_table(folder / "history.parquet")
    items = history.column("item").to_numpy()
    starts = np.searchsorted(items, np.arange(len(item_ids) + 1))
    return Model(tensors["user_vectors"], tensors["item_vectors"], tensors["user_offsets"], tensors["item_offsets"],
                 ids("users.parquet"), item_ids, starts,
                 history.column("user").to_numpy(), history.column("score").to_numpy(), card)


def _map_tensors(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    found = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "F32":
            raise SystemExit(f"{path}: {name} is {entry['dtype']} instead of F32")
        start = 8 + length + entry["data_offsets"][0]
        found[name] = np.memmap(path, np.float32, "r", start, tuple(entry["shape"])) \
            if int(np.prod(entry["shape"])) else np.zeros(entry["shape"], np.float32)
    return found


def write(model, folder):
    """Writes a model directory that `kindred segment --model-in` opens."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    n, m = len(model.user_vectors), len(model.item_vectors)
    _write_tensors(folder / "model.safetensors", {
        "user_vectors": model.user_vectors, "user_offsets": model.user_offsets,
        "user_log_rates": np.zeros(n, np.float32),
        "item_vectors": model.item_vectors, "item_offsets": model.item_offsets})
    for name, column, ids in [("users", "USER_ID", model.user_ids), ("items", "ITEM_ID", model.item_ids)]:
        _write_table(folder / f"{name}.parquet", [(column, pa.array(ids, pa.string()))])
    items = np.repeat(np.arange(m, dtype=np.uint32), np.diff(model.history_starts))
    _write_table(folder / "history.parquet", [
        ("user", pa.array(model.history_users.astype(np.uint32))), ("item", pa.array(items)),
        ("score", pa.array(model.history_scores.astype(np.float32)))])
    card = {"format": FORMAT, "recipe": RECIPE, "towers": "plain", "dimension": model.dimension, "seed": 0,
            "users": n, "items": m, "interactions": 0, "snapshot": {}, "settings": {}, "choices": None,
            "intensity": None, "metrics": None, "notes": ["plain factors of another program"],
            "instruction_set": "none", "checksums": {name: _sha256(folder / name) for name in FILES}}
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n")


def _write_tensors(path, tensors):
    header, offset = {}, 0
    for name, array in tensors.items():
        end = offset + array.size * 4
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            np.ascontiguousarray(array, dtype="<f4").tofile(out)


def _write_table(path, columns):
    schema = pa.schema([pa.field(name, array.type, nullable=False) for name, array in columns])
    pq.write_table(pa.table([array for _, array in columns], schema=schema), path, compression="snappy")


def _sha256(path):
    hasher = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(HASH_BYTES_AT_ONCE):
            hasher.update(part)
    return hasher.hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("direction", choices=["to-kindred", "to-numpy"])
    parser.add_argument("source")
    parser.add_argument("target")
    asked = parser.parse_args()
    if asked.direction == "to-kindred":
        given = np.load(asked.source)
        write(plain(given["user_vectors"], given["item_vectors"], given.get("user_ids"), given.get("item_ids")),
              asked.target)
    else:
        model = read(asked.source)
        np.savez(asked.target, user_vectors=model.user_vectors, item_vectors=model.item_vectors,
                 user_offsets=model.user_offsets, item_offsets=model.item_offsets,
                 user_ids=np.array(model.user_ids), item_ids=np.array(model.item_ids),
                 history_starts=model.history_starts, history_users=model.history_users,
                 history_scores=model.history_scores)


if __name__ == "__main__":
    main()
