#!/usr/bin/env python3
"""Inputs of the sections, made once and kept in the work folder: data, pairs, factors, models, queries.

    bench/prepare.py WORK interactions 1000000 50000 20000000

Each function gives the path of a file or folder and makes it if it is not there. The name of a file says
all that decides its content. Work that needs much memory runs in a process of its own
(`python prepare.py WORK FUNCTION ARGUMENT...`), so that the one that measures stays small.
"""

import pathlib
import sys

import numpy as np

import measure

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "data"))
import names  # noqa: E402

HELD_OUT_USERS = 2_000
# Iterations of the plain factors, as in the libraries' own examples of exact search.
FACTOR_ITERATIONS = 4
SEED = 7
# Deviation of the logarithm of users' norms; implicit's factors of the made-up events have 0.56.
NORM_SPREAD = 0.56
ROWS_AT_ONCE = 1 << 20


def _once(path, make):
    """Makes `path` beside its place and moves it there, unless it is there."""
    if not path.exists():
        part = path.with_name(f"part-{path.name}")
        make(part)
        part.rename(path)
    return path


def _apart(work, function, *arguments):
    """Runs a function of this file in a process of its own, which keeps this one small."""
    measure.run([sys.executable, HERE / "prepare.py", work, function, *arguments])


def interactions(work, users, items, events):
    """A CSV of made-up events; the described items are beside it (see `items_of`)."""
    path = work / f"events-u{users}-i{items}-e{events}.csv"
    return _once(path, lambda part: measure.run(
        [sys.executable, HERE / "data/generate.py", "--events", events, "--users", users, "--items", items,
         "--seed", SEED, "--out", part, "--items-out", items_of(path)]))


def items_of(path):
    return path.with_name(path.name.replace("events", "items"))


def queries(work, items, lines, *more, gzip=False):
    """Query lines; `more` are flags of `data/queries.py`."""
    flags = "".join(more).replace("--", "-").replace(".", "")
    path = work / f"queries-i{items}-l{lines}{flags}.json{'.gz' if gzip else ''}"
    return _once(path, lambda part: measure.run(
        [sys.executable, HERE / "data/queries.py", "--lines", lines, "--items", items, "--seed", SEED,
         "--out", part, *more]))


def trained(kindred, csv, dimension, towers="ials"):
    """A model that the program trained on a CSV, with its history and offsets."""
    path = kindred.work / f"{towers}-d{dimension}-{csv.stem}"
    if not (path / "card.json").exists():
        items = len(items_of(csv).read_bytes().splitlines()) - 1
        kindred.segment("--interactions", csv, "--input", queries(kindred.work, items, 10), "--model-out", path,
                        "--hidden-dimension", dimension, threads=0, pinned=False, settings={"training.model": towers})
    return path


def pairs(work, csv):
    """The distinct pairs of a CSV with their counts, a scipy CSR; rows and columns are id numbers."""
    path = work / f"pairs-{csv.stem}.npz"
    if not path.exists():
        _apart(work, "make_pairs", csv, path)
    return path


def held_out(work, csv):
    """The CSV without one pair of each of HELD_OUT_USERS users, and those pairs: (CSV, .npy (n, 2))."""
    rest, out = work / f"rest-{csv.stem}.csv", work / f"held-{csv.stem}.npy"
    if not (rest.exists() and out.exists()):
        _apart(work, "make_held_out", csv, rest, out)
    return rest, out


def factors(work, csv, dimension):
    """Plain ALS factors of `implicit` on a CSV: the prefix of -users.npy and -items.npy."""
    prefix = work / f"als{FACTOR_ITERATIONS}-d{dimension}-{csv.stem}"
    if not pathlib.Path(f"{prefix}-items.npy").exists():
        measure.run([sys.executable, HERE / "peers/als.py", pairs(work, csv), dimension, FACTOR_ITERATIONS, prefix],
                    threads=2)
    return prefix


def own_factors(kindred, csv, dimension):
    """The program's own iALS towers as plain factors, offsets and history left out: a prefix as of `factors`."""
    prefix = kindred.work / f"own-d{dimension}-{csv.stem}"
    if not pathlib.Path(f"{prefix}-items.npy").exists():
        _apart(kindred.work, "make_own_factors", trained(kindred, csv, dimension), prefix)
    return prefix


def gaussian(work, users, items, dimension):
    """Factors without structure, where nothing can be left out: a prefix as of `factors`."""
    prefix = work / f"gaussian-u{users}-i{items}-d{dimension}"
    if not pathlib.Path(f"{prefix}-items.npy").exists():
        _apart(work, "make_gaussian", users, items, dimension, prefix)
    return prefix


def spread(work, users, items, dimension):
    """Factors whose users have norms as trained ones have them, log-normal: a prefix as of `factors`."""
    prefix = work / f"spread-u{users}-i{items}-d{dimension}"
    if not pathlib.Path(f"{prefix}-items.npy").exists():
        _apart(work, "make_spread", users, items, dimension, prefix)
    return prefix


def all_items(work, items):
    """A line for every item, in the order of their numbers."""
    path = work / f"all-items-i{items}.json"
    return _once(path, lambda part: part.write_text(
        "".join(f'{{"itemId": "{names.id_text("i", item, items)}"}}\n' for item in range(items))))


def model(work, prefix):
    """Plain factors as a model directory."""
    path = prefix.with_name(f"model-{prefix.name}")
    if not (path / "card.json").exists():
        _apart(work, "make_model", prefix, path)
    return path


def first_users(work, prefix, users):
    """The factors of the first users alone."""
    out = prefix.with_name(f"{prefix.name}-first{users}")
    if not pathlib.Path(f"{out}-items.npy").exists():
        _apart(work, "make_first_users", prefix, users, out)
    return out


# What runs in a process of its own.

def make_pairs(_, csv, path):
    import scipy.sparse
    users, items, _ = _numbers(csv)
    matrix = scipy.sparse.csr_matrix((np.ones(len(users), np.float32), (users, items)))
    matrix.sum_duplicates()
    scipy.sparse.save_npz(path, matrix, compressed=False)


def _numbers(csv):
    """Numbers of users and items, and times, of every row: the digits of the generator's ids."""
    import pyarrow.compute as pc
    import pyarrow.csv
    table = pyarrow.csv.read_csv(csv)
    number = lambda name: pc.cast(pc.utf8_slice_codeunits(table[name], 1), "int32").to_numpy()
    return number("USER_ID"), number("ITEM_ID"), table["TIMESTAMP"].to_numpy()


def make_held_out(_, csv, rest, out):
    """Leaves all events of one random pair out, for users with at least three events."""
    users, items, _ = _numbers(csv)
    rng = np.random.default_rng(SEED)
    able = np.flatnonzero(np.bincount(users) >= 3)
    chosen = np.sort(rng.choice(able, size=min(HELD_OUT_USERS, len(able)), replace=False))
    mine = np.flatnonzero(np.isin(users, chosen))
    mine = mine[np.argsort(users[mine], kind="stable")]
    first = np.searchsorted(users[mine], chosen)
    count = np.searchsorted(users[mine], chosen, side="right") - first
    place = mine[first + (rng.random(len(chosen)) * count).astype(np.int64)]
    held = np.stack([chosen, items[place]], axis=1)
    wanted = np.full(users.max() + 1, -1)
    wanted[chosen] = held[:, 1]
    keep = wanted[users] != items
    lines = np.memmap(csv, np.uint8, "r")
    header = bytes(lines[:256]).index(b"\n") + 1
    width = (len(lines) - header) // len(users)
    with open(rest, "wb") as file:
        file.write(bytes(lines[:header]))
        rows = lines[header:].reshape(len(users), width)
        for start in range(0, len(users), 1 << 20):
            file.write(rows[start:start + (1 << 20)][keep[start:start + (1 << 20)]].data)
    np.save(out, held)


def make_own_factors(_, folder, prefix):
    import models
    model = models.read(folder)
    np.save(f"{prefix}-users.npy", model.user_vectors)
    np.save(f"{prefix}-items.npy", model.item_vectors)


def make_gaussian(_, users, items, dimension, prefix):
    rng = np.random.default_rng(SEED)
    np.save(f"{prefix}-users.npy", rng.standard_normal((int(users), int(dimension)), dtype=np.float32))
    np.save(f"{prefix}-items.npy", rng.standard_normal((int(items), int(dimension)), dtype=np.float32))


def make_spread(_, users, items, dimension, prefix):
    rng = np.random.default_rng(SEED)
    users, items, dimension = int(users), int(items), int(dimension)
    out = np.lib.format.open_memmap(f"{prefix}-users.npy", "w+", np.float32, (users, dimension))
    for start in range(0, users, ROWS_AT_ONCE):
        rows = out[start:start + ROWS_AT_ONCE]
        rows[:] = rng.standard_normal(rows.shape, dtype=np.float32)
        rows *= np.exp(NORM_SPREAD * rng.standard_normal((len(rows), 1), dtype=np.float32))
    out.flush()
    np.save(f"{prefix}-items.npy", rng.standard_normal((items, dimension), dtype=np.float32))


def make_model(_, prefix, path):
    import models
    models.write(models.plain(np.load(f"{prefix}-users.npy", mmap_mode="r"),
                              np.load(f"{prefix}-items.npy", mmap_mode="r")), path)


def make_first_users(_, prefix, users, out):
    np.save(f"{out}-users.npy", np.load(f"{prefix}-users.npy", mmap_mode="r")[:int(users)])
    np.save(f"{out}-items.npy", np.load(f"{prefix}-items.npy", mmap_mode="r"))


def main():
    work = pathlib.Path(sys.argv[1])
    work.mkdir(parents=True, exist_ok=True)
    made = globals()[sys.argv[2]](work, *sys.argv[3:])
    if made is not None:
        print(made)


if __name__ == "__main__":
    main()
