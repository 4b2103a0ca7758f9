#!/usr/bin/env python3
"""Seeded made-up interactions that look like a shop's: a CSV of events and one of described items.

    bench/data/generate.py --events 50e6 --users 1e6 --items 750e3 --out big.csv [--items-out items.csv]

Activity of users is log-normal, and every user has an event. An item belongs to a topic; topics are
of uneven size and popularity, and inside a topic popularity is a power law. A user has up to four
topics. Events come in baskets: one time, mostly one topic, several items. A share of the events
repeats an item that the user had before. Times run over a year. Every item occurs (where there are
at least as many events that are no repeats).

Rows are made and written in blocks of users, each from a random source of its own (seed and number
of the block), so memory is bounded by BLOCK_EVENTS and the tables of items; inside a block rows are
in order of time. Query lines over the same items are made by `queries.py`.
"""

import argparse
import dataclasses
import sys
import time

import numpy as np

from names import id_table, id_text, timestamp_digits

# Events of a block: what is in memory at once, some 200 bytes each.
BLOCK_EVENTS = 2_000_000
FIRST_TIME = 1_700_000_000
SPAN_SECONDS = 365 * 86_400
# Log-normal spread of activity: the most active of a million users has some 200 times the median.
ACTIVITY_SIGMA = 1.1
USER_TOPICS = 4
# Chance that a basket is of the user's first, second, ... topic.
TOPIC_SHARES = (0.55, 0.25, 0.13, 0.07)
# Share of events that follow the crowd instead of the user's topics.
CROWD_SHARE = 0.15
# Share of events that repeat an earlier item of the user.
REPEAT_SHARE = 0.25
BASKET_MEAN = 2.5
ITEM_POWER = 0.9
TOPIC_POWER = 0.7
EVENT_TYPES = ("view", "cart", "sale")
EVENT_TYPE_SHARES = (0.7, 0.2, 0.1)
BRANDS_PER_TOPIC = 12
COLOURS = ("black", "white", "red", "blue", "green", "grey", "brown", "yellow")


@dataclasses.dataclass(frozen=True)
class Items:
    """Which item is how popular in which topic. Items of topic t are by_rank[start[t]:start[t + 1]],
    the most popular first; popularity of topics is cumulative."""

    by_rank: np.ndarray
    start: np.ndarray
    topic_cumulative: np.ndarray

    @staticmethod
    def draw(count, seed):
        """Topics for `count` items: about the square root of them, none of them empty."""
        rng = np.random.default_rng([seed, 1])
        topics = min(max(20, int(count**0.5)), count)
        share = rng.dirichlet(np.full(topics, 2.0))
        sizes = 1 + rng.multinomial(count - topics, share)
        start = np.concatenate([[0], np.cumsum(sizes)])
        popularity = rng.permutation((1.0 + np.arange(topics)) ** -TOPIC_POWER)
        cumulative = np.cumsum(popularity / popularity.sum())
        return Items(rng.permutation(count).astype(np.int32), start, cumulative)

    def draw_topics(self, rng, shape):
        return np.minimum(np.searchsorted(self.topic_cumulative, rng.random(shape, dtype=np.float32)),
                          len(self.topic_cumulative) - 1).astype(np.int32)

    def draw_items(self, rng, topics):
        """An item of each topic, rank r with a chance near r^-ITEM_POWER."""
        size = (self.start[1:] - self.start[:-1])[topics].astype(np.float32)
        rest = np.float32(1 - ITEM_POWER)
        chance = rng.random(len(topics), dtype=np.float32)
        rank = (chance * ((size + 1) ** rest - 1) + 1) ** (1 / rest) - 1
        rank = np.minimum(rank.astype(np.int64), size.astype(np.int64) - 1)
        return self.by_rank[self.start[topics] + rank]


def event_counts(events, users, seed):
    """Events of every user, at least one, `events` together: int64 (users)."""
    if events < users:
        raise SystemExit(f"{events} events are too few for {users} users")
    rng = np.random.default_rng([seed, 2])
    activity = rng.lognormal(0, ACTIVITY_SIGMA, users)
    return 1 + rng.multinomial(events - users, activity / activity.sum())


def blocks(counts):
    """Ranges of users with about BLOCK_EVENTS events each."""
    ends = np.cumsum(counts)
    first = 0
    while first < len(counts):
        done = ends[first - 1] if first else 0
        last = max(int(np.searchsorted(ends, done + BLOCK_EVENTS, side="right")), first + 1)
        yield first, last
        first = last


def basket_starts(rng, counts):
    """Which events open a basket: bool (events). The first of a user always does."""
    opens = rng.random(int(counts.sum()), dtype=np.float32) < 1 / BASKET_MEAN
    opens[np.concatenate([[0], np.cumsum(counts)[:-1]])] = True
    return opens


def basket_times(rng, user_of_basket, users):
    """Times of baskets that are in order of users, rising within a user: int64 (baskets).

    Gaps are exponential and scaled so that all of a user's, and one more behind the last, fill the
    span from the user's first day to the end of the year.
    """
    gaps = rng.standard_exponential(len(user_of_basket), dtype=np.float32).astype(np.float64)
    behind = rng.standard_exponential(users)
    total = np.bincount(user_of_basket, gaps, users) + behind
    so_far = np.cumsum(gaps)
    per_user = np.bincount(user_of_basket, minlength=users)
    before = np.concatenate([[0.0], so_far])[np.concatenate([[0], np.cumsum(per_user)[:-1]])]
    part = (so_far - before[user_of_basket]) / total[user_of_basket]
    joined = rng.random(users) ** 2 * 0.8
    from_first = joined[user_of_basket] + (1 - joined[user_of_basket]) * np.minimum(part, 1.0)
    return FIRST_TIME + (from_first * (SPAN_SECONDS - 1)).astype(np.int64)


def repeat_items(rng, item, counts, fresh):
    """Makes events repeat the item of a random earlier event of the user, where not `fresh`."""
    events = len(item)
    place = np.arange(events, dtype=np.int32)
    first = np.repeat(np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int32), counts)
    repeats = np.flatnonzero((rng.random(events, dtype=np.float32) < REPEAT_SHARE) & ~fresh & (place > first))
    source = place
    back = rng.random(len(repeats), dtype=np.float32) * (place[repeats] - first[repeats])
    source[repeats] -= np.maximum(back.astype(np.int32), 1)
    # A source may be a repeat itself: jump on until all point at events that are none.
    while True:
        further = source[source[repeats]]
        if np.array_equal(further, source[repeats]):
            return item[source]
        source[repeats] = further


def draw_block(items, counts, covered, block, seed):
    """Users (of the block), items and times of a block's events. `covered` are items that must occur."""
    rng = np.random.default_rng([seed, 3, block])
    user = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    events = len(user)
    opens = basket_starts(rng, counts)
    basket = np.cumsum(opens, dtype=np.int32) - 1
    user_of_basket = user[opens]
    when = basket_times(rng, user_of_basket, len(counts))[basket]

    topics = items.draw_topics(rng, (len(counts), USER_TOPICS))
    which = np.searchsorted(np.cumsum(TOPIC_SHARES)[:-1].astype(np.float32),
                            rng.random(len(user_of_basket), dtype=np.float32))
    topic = topics[user_of_basket, which][basket]
    crowd = np.flatnonzero(rng.random(events, dtype=np.float32) < CROWD_SHARE)
    topic[crowd] = items.draw_topics(rng, len(crowd))
    item = items.draw_items(rng, topic)

    fresh = np.zeros(events, dtype=bool)
    places = rng.choice(events, size=min(len(covered), events), replace=False, shuffle=False)
    item[places] = covered[: len(places)]
    fresh[places] = True
    return user, repeat_items(rng, item, counts, fresh), when, rng


def draw(asked):
    """Yields (users, items, times, random source) of block after block, in order of time within one."""
    items = Items.draw(asked.items, asked.seed)
    counts = event_counts(asked.events, asked.users, asked.seed)
    ends = np.cumsum(counts)
    for block, (first, last) in enumerate(blocks(counts)):
        # Every item is handed to one block, in proportion to its events.
        before = int(ends[first - 1]) if first else 0
        covered = items.by_rank[before * asked.items // asked.events: int(ends[last - 1]) * asked.items // asked.events]
        user, item, when, rng = draw_block(items, counts[first:last], covered, block, asked.seed)
        order = np.argsort(when)
        yield user[order] + np.int32(first), item[order], when[order], rng


def write_events(asked, out):
    """Writes the CSV; returns its rows."""
    columns = "USER_ID,ITEM_ID,TIMESTAMP" + (",EVENT_TYPE" if asked.event_types else "")
    out.write(columns.encode() + b"\n")
    user_ids, item_ids = id_table("u", asked.users), id_table("i", asked.items)
    types = np.array([list(name.encode()) for name in EVENT_TYPES], dtype=np.uint8)
    rows = 0
    for user, item, when, rng in draw(asked):
        parts = [user_ids[user], item_ids[item], timestamp_digits(when)]
        if asked.event_types:
            parts.append(types[rng.choice(len(EVENT_TYPES), size=len(user), p=EVENT_TYPE_SHARES)])
        out.write(join(parts, len(user)))
        rows += len(user)
    return rows


def join(parts, rows):
    """Columns of fixed-width bytes as the lines of a CSV."""
    lines = np.full((rows, sum(part.shape[1] + 1 for part in parts)), ord(","), dtype=np.uint8)
    place = 0
    for part in parts:
        lines[:, place:place + part.shape[1]] = part
        place += part.shape[1] + 1
    lines[:, -1] = ord("\n")
    return lines.data


def write_items(asked, path):
    """Describes the items: a category that is the topic, a brand of few topics, colour and price."""
    items = Items.draw(asked.items, asked.seed)
    rng = np.random.default_rng([asked.seed, 4])
    topics = len(items.start) - 1
    topic = np.empty(asked.items, dtype=np.int64)
    topic[items.by_rank] = np.repeat(np.arange(topics), np.diff(items.start))
    # Brands of a topic by a steep power law, the strongest shared with a neighbour topic.
    brand = (rng.random(asked.items) ** 3 * BRANDS_PER_TOPIC).astype(np.int64)
    brand = np.where(brand == 0, topic // 2 * 2 * BRANDS_PER_TOPIC, topic * BRANDS_PER_TOPIC + brand)
    colour = rng.integers(len(COLOURS), size=asked.items)
    price = np.round(rng.lognormal(3, 1, asked.items), 2)
    with open(path, "w", encoding="ascii") as out:
        out.write("ITEM_ID,CATEGORY,BRAND,COLOUR,PRICE\n")
        out.writelines(
            f"{id_text('i', row, asked.items)},category-{topic[row]:04d},brand-{brand[row]:05d},"
            f"{COLOURS[colour[row]]},{price[row]:.2f}\n" for row in range(asked.items))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    number = lambda text: int(float(text))
    parser.add_argument("--events", type=number, required=True)
    parser.add_argument("--users", type=number, required=True)
    parser.add_argument("--items", type=number, required=True)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--event-types", action="store_true", help="a column EVENT_TYPE as well")
    parser.add_argument("--out", required=True, help="the CSV of events")
    parser.add_argument("--items-out", help="the CSV of described items")
    asked = parser.parse_args()
    start, cpu = time.monotonic(), time.process_time()
    with open(asked.out, "wb") as out:
        rows = write_events(asked, out)
        size = out.tell()
    if asked.items_out:
        write_items(asked, asked.items_out)
    print(f"{rows} rows, {size} bytes, {time.process_time() - cpu:.1f} s of CPU, "
          f"{time.monotonic() - start:.1f} s of wall", file=sys.stderr)


if __name__ == "__main__":
    main()
