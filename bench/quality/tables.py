"""CSV and JSON Lines files of the benchmark: reading, writing, cutting at a point in time.

A table is a header and a list of rows of strings; nothing is converted before it is needed, so that
what is cut is written back as it was read. Interactions need the columns USER_ID, ITEM_ID and
TIMESTAMP (epoch seconds).
"""

import csv
import gzip
import io
import json
import pathlib

KEYS = ("USER_ID", "ITEM_ID", "TIMESTAMP")


class DataError(Exception):
    """A file that cannot be used; the message names the file and, where there is one, the line."""


def open_text(path):
    """The text of a file, expanded if its name ends in `.gz`."""
    path = pathlib.Path(path)
    raw = gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")
    return io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")


def read_csv(path):
    """(header, rows) of a CSV file; rows with another number of cells than the header are an error."""
    with open_text(path) as text:
        reader = csv.reader(text)
        header = next(reader, None)
        if header is None:
            raise DataError(f"{path}: the file is empty")
        rows = []
        for row in reader:
            if len(row) != len(header):
                raise DataError(f"{path}, line {reader.line_num}: {len(row)} cells, the header has {len(header)}")
            rows.append(row)
    return header, rows


def write_csv(path, header, rows):
    with open(path, "w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def columns(path, header, names=KEYS):
    """The places of `names` in `header`."""
    missing = [name for name in names if name not in header]
    if missing:
        raise DataError(f"{path}: no column {missing[0]}")
    return [header.index(name) for name in names]


def read_interactions(path):
    """(header, rows, places of USER_ID, ITEM_ID, TIMESTAMP); rows that agree in every cell are kept
    once, the first of them."""
    header, rows = read_csv(path)
    return header, [list(row) for row in dict.fromkeys(map(tuple, rows))], columns(path, header)


def read_items(path):
    """(column names without ITEM_ID, {item: cells}); of several rows of an item the last counts."""
    header, rows = read_csv(path)
    (key,) = columns(path, header, ("ITEM_ID",))
    names = [name for place, name in enumerate(header) if place != key]
    return names, {row[key]: row[:key] + row[key + 1:] for row in rows}


def read_lines(path):
    """The objects of a JSON Lines file, one at a time; blank lines are skipped."""
    with open_text(path) as text:
        for number, line in enumerate(text, 1):
            if line.strip():
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise DataError(f"{path}, line {number}: {error}") from error


def write_lines(path, objects):
    with open(path, "w", encoding="utf-8", newline="") as text:
        for value in objects:
            text.write(json.dumps(value, ensure_ascii=False) + "\n")


def write_json(path, value):
    pathlib.Path(path).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
