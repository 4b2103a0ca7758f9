"""What is measured: a population, its training events, and who came in the horizon after.

Users are numbered in the byte order of their ids, so that ties broken by number are broken by id.
`split` is T, `horizon` H in seconds. The population are the users with an event before T; events of
others do not exist here. Definitions: README.md.
"""

import collections

import numpy as np

import tables

OWN_DECAY_SECONDS = 120 * 86_400


def byte_order(ids):
    return sorted(ids, key=lambda text: text.encode())


class Protocol:
    """The data of one split.

    users, items    ids in byte order; items are those with an event of the population before T + H
    k               ceil(1 % of the population)
    seen, came      per item number the ascending user numbers with an event before T, in [T, T + H)
    """

    def __init__(self, path, split, horizon):
        _, rows, (user, item, time) = tables.read_interactions(path)
        self.split, self.horizon = split, horizon
        events = [(row[user], row[item], int(row[time])) for row in rows]
        known = {who for who, _, when in events if when < split}
        if not known:
            raise tables.DataError(f"{path}: no event before {split}")
        events = [event for event in events if event[0] in known and event[2] < split + horizon]
        self.users = byte_order(known)
        self.items = byte_order({event[1] for event in events})
        self.user_number = {name: number for number, name in enumerate(self.users)}
        self.item_number = {name: number for number, name in enumerate(self.items)}
        self.k = -(-len(self.users) // 100)
        # One order for every sum: by user, then time, then item.
        table = np.array(sorted((self.user_number[who], when, self.item_number[what])
                                for who, what, when in events), dtype=np.int64).reshape(-1, 3)
        before = table[:, 1] < split
        self.training = table[before]
        self.seen = self.users_of_items(self.training)
        self.came = self.users_of_items(table[~before])
        self.events = np.bincount(self.training[:, 0], minlength=len(self.users))
        self.events_of_item = np.bincount(self.training[:, 2], minlength=len(self.items))
        self.last = np.zeros(len(self.users), dtype=np.int64)
        np.maximum.at(self.last, self.training[:, 0], self.training[:, 1])

    def users_of_items(self, table):
        pairs = np.unique(table[:, 2] * len(self.users) + table[:, 0])
        items, users = pairs // len(self.users), pairs % len(self.users)
        return np.split(users, np.searchsorted(items, np.arange(1, len(self.items))))

    def numbers(self, items):
        """The numbers of the items that occur in events, ascending."""
        return sorted(self.item_number[item] for item in items if item in self.item_number)

    def union(self, users_of, items):
        parts = [users_of[item] for item in items]
        return np.unique(np.concatenate(parts)) if parts else np.zeros(0, dtype=np.int64)

    def trained(self, items):
        """Events before T on any of the items (their numbers)."""
        return int(self.events_of_item[items].sum()) if items else 0

    def ranked(self, *keys):
        """All users by descending keys, ties by number."""
        return np.lexsort((np.arange(len(self.users)), *(-key for key in reversed(keys))))


class Baselines:
    """Rankings of the whole population that need no model.

    most_active     training events; most_recent: last training event; ties by id
    own_history     who had the item before, by share times activity: the share is the decayed count
                    exp(-age / 120 days) of the item among the user's events, ages counted from the
                    user's last event; the activity is 1 + the events in [T - H, T). Over a set of
                    items the values add up. The rest of the list are the most active users.
    """

    NAMES = ("most_active", "most_recent", "own_history")

    def __init__(self, protocol):
        self.protocol = protocol
        self.most_active = protocol.ranked(protocol.events)
        self.most_recent = protocol.ranked(protocol.last)
        self.worth = self.own_history_values()

    def own_history_values(self):
        """Per item {user: value}."""
        protocol = self.protocol
        user, time, item = protocol.training.T
        weight = np.exp(-(protocol.last[user] - time) / OWN_DECAY_SECONDS)
        total = np.bincount(user, weights=weight, minlength=len(protocol.users))
        recent = np.bincount(user[time >= protocol.split - protocol.horizon], minlength=len(protocol.users))
        pairs, place = np.unique(item * len(protocol.users) + user, return_inverse=True)
        sums = np.bincount(place, weights=weight)
        found = collections.defaultdict(dict)
        for pair, value in zip(pairs.tolist(), sums.tolist()):
            what, who = divmod(pair, len(protocol.users))
            found[what][who] = value / total[who] * (1 + int(recent[who]))
        return found

    def own_history(self, items):
        worth = collections.defaultdict(float)
        for item in items:
            for user, value in self.worth.get(item, {}).items():
                worth[user] += value
        # As 32-bit numbers: the last digits of an exponential are not the same in every library.
        near = {user: float(np.float32(value)) for user, value in worth.items()}
        listed = np.array(sorted(near, key=lambda user: (-near[user], user)), dtype=np.int64)
        fill = np.ones(len(self.protocol.users), dtype=bool)
        fill[listed] = False
        return np.concatenate([listed, self.most_active[fill[self.most_active]]])

    def ranking(self, name, items):
        return self.own_history(items) if name == "own_history" else getattr(self, name)
