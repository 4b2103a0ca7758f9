"""Attribute queries: which items they mean, and which of them are worth asking.

The language is that of `itemAttributes` in batch segment jobs:

    query = cond { "AND" cond } ;   cond = "ITEMS" "." name "=" ( string | number ) ;

Keywords ignore case; a column is found by its exact spelling, else ignoring case where one column
fits; a string cell is a set of values between `|`; a column whose cells are all numbers is compared
as numbers. Written for this benchmark on its own, so that it can disagree with the program.
"""

import itertools
import random
import re

TOKEN = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|(-?\d+(?:\.\d+)?)|([A-Za-z_][A-Za-z0-9_]*)|([.=]))', re.DOTALL)
RESERVED = {"ITEM_ID", "CREATION_TIMESTAMP"}
SAMPLE_SEED = 2017


class QueryError(Exception):
    """A query that means no set of items."""


def tokens(text):
    place, found = 0, []
    while text[place:].strip():
        match = TOKEN.match(text, place)
        if not match:
            raise QueryError(f"unexpected character at position {place + 1}")
        string, number, word, sign = match.groups()
        if string is not None:
            found.append(("string", re.sub(r"\\(.)", r"\1", string, flags=re.DOTALL)))
        else:
            found.append(("number", number) if number else ("word", word) if word else ("sign", sign))
        place = match.end()
    return found


def parse(text):
    """[(column, literal)] of a query."""
    rest, conditions = tokens(text), []
    while True:
        if len(rest) < 5:
            raise QueryError("a condition is ITEMS.column = value")
        (_, dataset), dot, (kind, name), equals, (literal_kind, literal) = rest[:5]
        right = dot == ("sign", ".") and kind == "word" and equals == ("sign", "=")
        if not right or dataset.upper() != "ITEMS" or literal_kind not in ("string", "number"):
            raise QueryError("a condition is ITEMS.column = value")
        conditions.append((name, literal))
        rest = rest[5:]
        if not rest:
            return conditions
        joint, rest = rest[0], rest[1:]
        if joint[0] != "word" or joint[1].upper() != "AND":
            raise QueryError("conditions are joined by AND")


def is_number(text):
    return re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text) is not None


class Index:
    """The items of every value of every column."""

    def __init__(self, names, items):
        """`names` are the columns, `items` maps an item to its cells in that order."""
        self.names = [name for name in names if name.upper() not in RESERVED]
        self.values = {}
        for place, name in enumerate(names):
            if name not in self.names:
                continue
            cells = {item: row[place] for item, row in items.items() if row[place] != ""}
            numeric = bool(cells) and all(map(is_number, cells.values()))
            found = {}
            for item, cell in cells.items():
                for value in {float(cell)} if numeric else set(cell.split("|")) - {""}:
                    found.setdefault(value, set()).add(item)
            self.values[name] = (numeric, found)

    def column(self, name):
        if name in self.values:
            return name
        fitting = [known for known in self.values if known.upper() == name.upper()]
        if len(fitting) != 1:
            raise QueryError(f"column {name} cannot be asked for")
        return fitting[0]

    def items(self, text):
        """The set of items that a query means; never empty."""
        result = None
        for name, literal in parse(text):
            numeric, values = self.values[self.column(name)]
            if numeric and not is_number(literal):
                raise QueryError(f"column {name} has numbers")
            found = values.get(float(literal) if numeric else literal, set())
            result = found if result is None else result & found
        if not result:
            raise QueryError("no item has these attributes")
        return result

    def pairs(self):
        """All (column, value), columns in the order of the file, values in their own order."""
        return [(name, value) for name in self.names for value in sorted(self.values[name][1])]


def condition(name, value):
    """The text of one condition."""
    if isinstance(value, float):
        return f"ITEMS.{name} = {value:.15g}"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'ITEMS.{name} = "{escaped}"'


def single_queries(index, wanted):
    """Queries for one value each; `wanted` says of a set of items whether it is worth asking."""
    return [condition(name, value) for name, value in index.pairs() if wanted(index.values[name][1][value])]


def double_queries(index, wanted, limit):
    """Queries for two values of two different columns that some item has together; at most `limit`,
    drawn with a fixed seed, in a fixed order."""
    found = []
    for one, other in itertools.combinations(index.names, 2):
        left, right = index.values[one][1], index.values[other][1]
        of_item = {}
        for value, items in right.items():
            for item in items:
                of_item.setdefault(item, set()).add(value)
        for value in sorted(left):
            partners = set().union(*(of_item.get(item, set()) for item in left[value]))
            for partner in sorted(partners):
                if wanted(left[value] & right[partner]):
                    found.append(f"{condition(one, value)} AND {condition(other, partner)}")
    if len(found) > limit:
        chosen = random.Random(SAMPLE_SEED).sample(range(len(found)), limit)
        found = [found[place] for place in sorted(chosen)]
    return found
