"""A formula for operators: what jobs and trainings need of time, memory and disk, fitted to runs.

Each quantity is a sum of coefficients times counts that an operator knows before: users, items,
dimension, k, distinct queries, lines, events, and pairs of a user and an item in the history.
Coefficients are not negative, and runs count by their relative error, so that small runs weigh as
much as large ones.
"""

import numpy as np

# Rankings go to disk where they outgrow `segment.block_mib`; what a query needs beside its k results while
# it is ranked is counted as so many more.
RESULTS_MAX = 8 << 20
QUERY_RESULTS = 100

# For each quantity: the counts its coefficients stand for, with the unit of one and its factor.
JOB_FORMS = {
    "cpu_seconds": [
        ("start", lambda r: 1.0, "s", 1.0),
        ("user and dimension (open the model, pack it)", lambda r: r["users"] * r["dimension"], "ns", 1e9),
        # Nobody knows the share before; it is at most 1, and smaller the smaller k is beside the users.
        ("distinct query, user and dimension, by the share of tiles computed (score)",
         lambda r: r["distinct"] * r["users"] * r["dimension"] * r["tiles"], "ps", 1e12),
        ("distinct query and result (rank)", lambda r: r["distinct"] * r["k"], "ns", 1e9),
        ("pair of the history", lambda r: r["history"], "ns", 1e9),
        ("line (read, write)", lambda r: r["lines"], "ns", 1e9),
        ("byte written", lambda r: r["output_bytes"], "ns", 1e9)],
    "peak_memory_bytes": [
        ("start", lambda r: 1.0, "MiB", 2.0**-20),
        ("number of a vector", lambda r: (r["users"] + r["items"]) * r["dimension"], "bytes", 1.0),
        ("user", lambda r: r["users"], "bytes", 1.0),
        ("pair of the history", lambda r: r["history"], "bytes", 1.0),
        ("distinct query", lambda r: r["distinct"], "bytes", 1.0),
        (f"result in memory: distinct queries × (k + {QUERY_RESULTS}), at most {RESULTS_MAX:,}",
         lambda r: min(r["distinct"] * (r["k"] + QUERY_RESULTS), RESULTS_MAX), "bytes", 1.0)],
    "output_bytes": [
        ("line", lambda r: r["lines"], "bytes", 1.0),
        ("line and result", lambda r: r["lines"] * r["k"], "bytes", 1.0)],
    "model_bytes": [
        ("number of a vector", lambda r: (r["users"] + r["items"]) * r["dimension"], "bytes", 1.0),
        ("user and item", lambda r: r["users"] + r["items"], "bytes", 1.0),
        ("pair of the history", lambda r: r["history"], "bytes", 1.0)],
}
TRAINING_FORMS = {
    "cpu_seconds": [
        ("start", lambda r: 1.0, "s", 1.0),
        ("event", lambda r: r["events"], "µs", 1e6),
        ("event and dimension", lambda r: r["events"] * r["dimension"], "ns", 1e9)],
    "peak_memory_bytes": [
        ("start", lambda r: 1.0, "MiB", 2.0**-20),
        ("event", lambda r: r["events"], "bytes", 1.0),
        ("number of a vector", lambda r: (r["users"] + r["items"]) * r["dimension"], "bytes", 1.0)],
}


def counts(form, run):
    """What the coefficients of a quantity are multiplied with, for one run."""
    return np.array([count(run) for _, count, _, _ in form], float)


def fit(forms, runs):
    """Coefficients by quantity, by least squares of relative errors, none negative."""
    found = {}
    for what, form in forms.items():
        values = np.array([run[what] for run in runs], float)
        left = np.stack([counts(form, run) for run in runs]) / values[:, None]
        found[what] = not_negative(left, np.ones(len(runs))).tolist()
    return found


def not_negative(left, right):
    """Least squares with the most negative coefficient left out (zero) until none is negative."""
    # Columns of one size, so that none of them is rounding beside the largest.
    size = np.linalg.norm(left, axis=0)
    size[size == 0] = 1.0
    kept, solved = list(range(left.shape[1])), np.zeros(left.shape[1])
    while kept:
        part = np.linalg.lstsq(left[:, kept] / size[kept], right, rcond=None)[0]
        if part.min() >= 0:
            solved[kept] = part
            break
        kept.pop(int(part.argmin()))
    return solved / size


def predicted(forms, formula, run, what):
    """What the formula says of one run."""
    return float(counts(forms[what], run) @ np.array(formula[what]))


def errors(forms, formula, runs, what):
    """(runs, median and largest relative error) of a quantity."""
    found = [abs(predicted(forms, formula, run, what) / run[what] - 1) for run in runs]
    return len(found), float(np.median(found)), float(np.max(found))


def described(forms, formula):
    """(quantity, what a coefficient is for, value, unit) line by line."""
    for what, form in forms.items():
        for (name, _, unit, factor), value in zip(form, formula[what]):
            yield what, name, value * factor, unit
