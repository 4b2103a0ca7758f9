"""Ids and digits as fixed-width byte tables, so that numpy can lay out whole lines at once.

An id is a letter and a number with leading zeros: `u0000017`, `i000042`. The width follows from the
count, so every id of a set has the same length and byte order is number order. What writes lines
from these tables is in `generate.py` and `queries.py`.
"""

import numpy as np


def digits(values, width):
    """Decimal digits of non-negative whole numbers with leading zeros: uint8 (n, width)."""
    values = np.asarray(values, dtype=np.int64)
    out = np.empty((len(values), width), dtype=np.uint8)
    for place in range(width - 1, -1, -1):
        values, last = np.divmod(values, 10)
        out[:, place] = last
    out += ord("0")
    return out


def id_width(count):
    """Digits that the ids of `count` things have."""
    return max(len(str(max(count - 1, 0))), 1)


def id_table(letter, count):
    """The ids of `count` things: uint8 (count, 1 + id_width)."""
    table = np.empty((count, 1 + id_width(count)), dtype=np.uint8)
    table[:, 0] = ord(letter)
    table[:, 1:] = digits(np.arange(count), id_width(count))
    return table


def id_text(letter, number, count):
    """One id as text."""
    return f"{letter}{number:0{id_width(count)}d}"


def timestamp_digits(seconds):
    """Unix times of ten digits: uint8 (n, 10), by two look-ups of five digits, not ten divisions."""
    high, low = np.divmod(np.asarray(seconds, dtype=np.int64), 100_000)
    return np.concatenate([_FIVE_DIGITS[high], _FIVE_DIGITS[low]], axis=1)


_FIVE_DIGITS = digits(np.arange(100_000), 5)
