"""Which users a filter keeps, worked out the slow way from its text and the raw rows.

Written from the description of the language alone. Nothing here is fast, and nothing here knows the
program under test: its answers are judged by this.
"""

import re
import struct

TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|\$\w+|-?\d+(?:\.\d+)?|\w+|<=|>=|!=|[.,()|*=<>])', re.DOTALL)
SIGNS = {
    "=": lambda a, b: a == b, "!=": lambda a, b: a != b, "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
}


class LineError(Exception):
    """The line has no list of users but an error."""


def single(number):
    """The nearest number of 32 bits."""
    return struct.unpack("<f", struct.pack("<f", number))[0]


def unquote(text):
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


def tokens(text):
    found, place = [], 0
    text = text.rstrip()
    while place < len(text):
        match = TOKEN.match(text, place)
        assert match, f"no token at {text[place:]!r}"
        found.append(match.group(1))
        place = match.end()
    return found


def split(items, word):
    """The parts of a list of tokens between those that are `word` in any case."""
    parts = [[]]
    for item in items:
        if item.upper() == word:
            parts.append([])
        else:
            parts[-1].append(item)
    return parts


class Data:
    """What is known about users: typed columns, rows by user, event types by user."""

    def __init__(self, types, rows, events):
        self.types = types    # column -> "string", "int", "long", "float" or "double"
        self.rows = rows      # user -> column -> text as in the file ("" is null)
        self.events = events  # user -> list of event types, "" where there is none

    def cell(self, user, column):
        return self.rows.get(user, {}).get(column, "")

    def words(self, user, column):
        cell = self.cell(user, column)
        if column == "USER_ID":
            return {cell} - {""}
        return set(cell.split("|")) - {""}

    def number(self, user, column):
        cell = self.cell(user, column)
        if cell == "":
            return None
        kind = self.types[column]
        if kind in ("int", "long"):
            return int(cell)
        return single(float(cell)) if kind == "float" else float(cell)


def value_of(token, values):
    """The text that a parameter stands for, or None if the token is no parameter."""
    quoted = re.fullmatch(r'"\$([A-Za-z]\w*)"', token)
    name = quoted.group(1) if quoted else token[1:] if token.startswith("$") else None
    if name is None:
        return None
    if name not in values:
        raise KeyError(name)
    return values[name]


def condition_holds(data, user, condition, values):
    dataset, point, name, *test = condition
    assert point == "."
    if test[0] in SIGNS:
        return compares(data, user, name, test[0], test[1], values)
    negated = test[0].upper() == "NOT"
    listed = test[negated + 2:-1]
    assert test[negated].upper() == "IN" and test[negated + 1] == "(" and test[-1] == ")"
    given = value_of(listed[0], values) if len(listed) == 1 else None
    if given is not None:
        if not re.fullmatch(r'\s*"(?:[^"\\]|\\.)*"(?:\s*,\s*"(?:[^"\\]|\\.)*")*\s*', given, re.DOTALL):
            raise LineError
        listed = tokens(given)
    if dataset.upper() == "INTERACTIONS":
        own = data.events.get(user, [])
        if listed in (["*"], ['"*"']):
            return bool(own) != negated
        own = {event.lower() for event in own} - {""}
        wanted = {unquote(token).lower() for token in listed if token != ","}
    else:
        column = next(column for column in data.types if column.upper() == name.upper())
        own = data.words(user, column)
        wanted = {unquote(token) for token in listed if token != ","}
    return bool(own & wanted) != negated


def compares(data, user, name, sign, right, values):
    column = next(column for column in data.types if column.upper() == name.upper())
    given = value_of(right, values)
    if given is not None:
        match = re.fullmatch(r'\s*("?)(-?\d+(?:\.\d+)?)\1\s*', given)
        if not match:
            raise LineError
        right = match.group(2)
    left, kind = data.number(user, column), data.types[column]
    if left is None:
        return sign == "!="
    if kind in ("int", "long") and "." not in right:
        return SIGNS[sign](left, int(right))
    right = single(float(right)) if kind == "float" else float(right)
    return SIGNS[sign](float(left), right)


def kept(expression, values, users, data):
    """The users of `users` that the filter keeps, as a set; LineError where the line has an error."""
    included, excluded, any_include = set(), set(), False
    for part in split(tokens(expression), "|"):
        action, target, where, *rest = part
        assert (target.upper(), where.upper()) == ("USERID", "WHERE")
        include = action.upper() == "INCLUDE"
        any_include = any_include or include
        alternatives = [split(alternative, "AND") for alternative in split(rest, "OR")]
        # Every parameter is looked up, whether or not its condition decides anything.
        named = [token for token in rest if token.startswith(("$", '"$'))]
        try:
            for token in named:
                value_of(token, values)
        except KeyError:
            if include:
                raise LineError from None
            continue
        for user in users:
            # Lists, so that no condition is skipped and every wrong value is noticed.
            found = [all([condition_holds(data, user, condition, values) for condition in conditions])
                     for conditions in alternatives]
            if any(found):
                (included if include else excluded).add(user)
    return (included if any_include else set(users)) - excluded
