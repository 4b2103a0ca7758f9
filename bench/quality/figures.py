"""Sums over queries and the figures made of them. Lists are arrays of user numbers, best first."""

import numpy as np

RESAMPLES = 1000
LIFT_THOUSANDTHS = (5, 10, 20, 50, 100, 200)
BINS = 10


def ceil_share(count, thousandths):
    return -(-count * thousandths // 1000)


def without(ranking, users, population):
    """`ranking` less `users`."""
    keep = np.ones(population, dtype=bool)
    keep[users] = False
    return ranking[keep[ranking]]


class Tally:
    """hit, recall and coverage of lists of `k` users, and what the lists have in common."""

    def __init__(self, population, k):
        self.population, self.k = population, k
        self.hits, self.recalls = [], []
        self.named = np.zeros(population, dtype=np.int64)

    def add(self, ranking, actual):
        """`actual` must not be empty."""
        listed = ranking[:self.k]
        self.named[listed] += 1
        hits = int(np.isin(listed, actual).sum())
        self.hits.append(hits)
        self.recalls.append(hits / len(actual))

    def figures(self):
        return {
            "hits_at_1_percent": mean(self.hits),
            "recall_at_1_percent": mean(self.recalls),
            "coverage": float((self.named > 0).mean()),
        }

    def overlap(self):
        """Mean over ordered pairs of different queries of the common users / k: a user in c lists is
        common to c (c - 1) of the pairs."""
        count = len(self.hits)
        if count < 2:
            return 0.0
        return float((self.named * (self.named - 1)).sum()) / (self.k * count * (count - 1))

    def overlap_with(self, listed):
        return float(self.named[listed].sum()) / (self.k * max(len(self.hits), 1))


class Chance:
    """What random lists of `k` users reach on average, without drawing any."""

    def __init__(self, population, k):
        self.population, self.k = population, k
        self.hits, self.recalls = [], []
        self.missed = 1.0

    def add(self, eligible, actual):
        """`eligible` users may be listed; `actual` of them count."""
        share = min(1.0, self.k / eligible)
        self.hits.append(share * actual)
        self.recalls.append(share)
        # The eligible users differ from query to query only where seen ones are left out.
        self.missed *= 1.0 - share * eligible / self.population

    def figures(self):
        return {"hits_at_1_percent": mean(self.hits), "recall_at_1_percent": mean(self.recalls),
                "coverage": 1.0 - self.missed}


class Lift:
    """Recall of longer and shorter lists beside what chance would give."""

    def __init__(self, population):
        self.population = population
        self.sizes = [ceil_share(population, thousandths) for thousandths in LIFT_THOUSANDTHS]
        self.recalls = [[] for _ in self.sizes]
        self.cut_short = False

    def add(self, ranking, actual, listable):
        """`listable` users could have been listed."""
        self.cut_short |= len(ranking) < min(self.sizes[-1], listable)
        found = np.concatenate([[0], np.cumsum(np.isin(ranking[:self.sizes[-1]], actual))])
        for recalls, size in zip(self.recalls, self.sizes):
            recalls.append(found[min(size, len(found) - 1)] / len(actual))

    def figures(self):
        """None where the lists of the file are too short to tell."""
        if self.cut_short:
            return None
        return [{"percent": thousandths / 10, "users": size, "recall": mean(recalls),
                 "lift": mean(recalls) * self.population / size}
                for thousandths, size, recalls in zip(LIFT_THOUSANDTHS, self.sizes, self.recalls)]


class Calibration:
    """Predicted probabilities against what happened, in bins of equal size by probability."""

    def __init__(self):
        self.predicted, self.happened = [], []

    def add(self, ranking, probabilities, actual):
        self.predicted.append(np.asarray(probabilities, dtype=float))
        self.happened.append(np.isin(ranking, actual))

    def figures(self, scale=1.0):
        """`scale`: the horizon measured over the horizon predicted; expected numbers of events grow
        with it. None without probabilities."""
        if not self.predicted:
            return None
        predicted = np.concatenate(self.predicted)
        if scale != 1.0:
            # A probability that was rounded to 1 stays 1.
            with np.errstate(divide="ignore"):
                predicted = -np.expm1(scale * np.log1p(-predicted))
        happened = np.concatenate(self.happened)
        order = np.argsort(predicted, kind="stable")
        edges = [len(order) * edge // BINS for edge in range(BINS + 1)]
        bins = [order[low:high] for low, high in zip(edges, edges[1:]) if high > low]
        return {
            "bins": [{"predicted": float(predicted[part].mean()), "happened": float(happened[part].mean()),
                      "pairs": len(part)} for part in bins],
            "predicted_total": float(predicted.sum()), "happened_total": int(happened.sum()),
        }


def mean(values):
    return float(np.mean(values)) if len(values) else 0.0


def interval(values, seed=0):
    """The middle 95 % of the means of 1,000 bootstrap samples of the queries."""
    if not len(values):
        return None
    values, random = np.asarray(values, dtype=float), np.random.default_rng(seed)
    means = [values[random.integers(len(values), size=len(values))].mean() for _ in range(RESAMPLES)]
    return [float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))]
