"""Exact top-k: the program beside the libraries, on the same factors, k and queries.

The program is measured from outside: CPU seconds of a run with many queries minus those of a run with
few, divided by the queries between, so opening the model counts for nobody (peers time their search
alone). That leaves parsing, rendering and writing the answers in the program's figure. Every list
of the first queries is compared with the brute force.
"""

import json
import sys

import numpy as np
import pyarrow.parquet

import measure
import prepare
import program

from .context import goal, share_of_core, tile_share

FEW_QUERIES = 6
# With k this large the text of the answers outweighs the search, which is then taken from the statistics of the
# two runs. (Texts are made beside the search, so a part of them stays in it.)
K_BY_PHASE = 10_000
K = 25
# Lists of a large k are long; fewer of them are compared.
VERIFIED_LARGE = 16
CHECKS = program.REPOSITORY / "bench/checks.py"


class Case:
    """A model directory, k and how many queries the program and every peer get. Peers read plain factors, of
    which `prefix` is the prefix."""

    def __init__(self, context, model, k, queries, verified, prefix=None, peers=None):
        self.context, self.model, self.k, self.prefix, self.peers = context, model, k, prefix, peers or {}
        card = json.loads((model / "card.json").read_text())
        self.users, self.dimension = card["users"], card["dimension"]
        ids = pyarrow.parquet.read_table(model / "items.parquet").column(0)
        order = np.random.default_rng(5).permutation(len(ids))
        self.count = min(queries, len(ids))
        self.files = {}
        for name, count in {"kindred": self.count, "few": FEW_QUERIES, **self.peers}.items():
            self.files[name] = self._queries(name, order[:count], ids)
        self.verified = min(verified, self.count, *self.peers.values()) if self.peers else min(verified, self.count)
        self.truth = context.work / "truth.npz"
        self._check("truth", self.model, self.files["kindred"], self.verified, k, self.truth)

    def _queries(self, name, numbers, ids):
        """Row numbers for peers, and lines for the program."""
        path = self.context.work / f"scored-{name}.npy"
        np.save(path, numbers)
        path.with_suffix(".json").write_text(
            "".join(json.dumps({"itemId": text}) + "\n" for text in ids.take(numbers).to_pylist()))
        return path

    def _check(self, *arguments):
        return json.loads(measure.run([sys.executable, CHECKS, *arguments]).output)

    def kindred(self):
        """One round of the program."""
        answers = self.context.work / "scored.out"
        segment = lambda name, keep: self.context.kindred.segment(
            "--model-in", self.model, "--input", self.files[name].with_suffix(".json"),
            "--num-results", self.k, keep=keep)
        few, few_stats = segment("few", None)
        many, stats = segment("kindred", answers)
        checked = self._check("program", self.truth, answers)
        answers.unlink()
        if checked["wrong"]:
            raise SystemExit(f"the program's lists are wrong: {checked}, {self.model}, k = {self.k}")
        scored = lambda stats, done: stats["score_seconds"] * share_of_core(done)
        phase = (scored(stats, many) - scored(few_stats, few)) / (self.count - FEW_QUERIES)
        outside = (many.cpu_seconds - few.cpu_seconds) / (self.count - FEW_QUERIES)
        return {"seconds": phase if self.k >= K_BY_PHASE else outside, "outside_seconds": outside,
                "phase_seconds": phase, "peak_memory_bytes": many.peak_memory_bytes, "checked": checked["compared"],
                "tiles": tile_share(stats)}

    def peer(self, name):
        found_file = self.context.work / "scored-found.npy"
        arguments = [f"{self.prefix}-users.npy", f"{self.prefix}-items.npy", self.files[name], self.k, found_file]
        found = self.context.peer("spark_topk", *arguments) if name == "spark" else \
            self.context.peer("topk", name, *arguments)
        checked = self._check("peer", self.model, self.files[name], self.truth, found_file)
        found_file.unlink()
        return {"seconds": found["search_cpu_seconds"] / self.peers[name], "wrong": checked["wrong"],
                "peak_memory_bytes": found["peak_memory_bytes"], "checked": checked["compared"]}

    def rounds(self):
        """All engines in turns; those that take minutes once, beside the first round."""
        engines = {"peak": lambda: {"gflops": self.context.fma_gflops()}, "kindred": self.kindred}
        engines |= {name: (lambda name=name: self.peer(name)) for name in self.peers if name != "spark"}
        rounds = measure.in_turns(self.context.rounds, engines)
        if "spark" in self.peers:
            spark = self.peer("spark")
            for one in rounds:
                one["spark"] = spark
        return rounds

    def rows(self, rounds):
        """Lines of the table: engine, queries, rates, ratio to the program."""
        work = 2.0 * self.users * self.dimension / 1e9
        found = []
        for name in ["kindred", *self.peers]:
            seconds = measure.median_of(rounds, lambda one: one[name]["seconds"])
            peak = measure.median_of(rounds, lambda one: work / one[name]["seconds"] / one["peak"]["gflops"])
            wrong = sum(one[name].get("wrong", 0) for one in rounds)
            memory = max(one[name]["peak_memory_bytes"] for one in rounds)
            times = None if name == "kindred" else measure.ratio(rounds, "kindred", name, "seconds")
            queries = self.peers.get(name, self.count)
            found.append([name, queries, 1 / seconds, work / seconds, peak, times, memory / 2**30,
                          f"{wrong} of {rounds[0][name]['checked'] * self.k}"])
        return found


COLUMNS = ["engine", "queries", "queries/s", "GFLOP/s (2·U·d)", "of the FMA peak", "times what Kindred takes",
           "peak memory GiB", "ids wrong against float64"]


def cases(context):
    """(title, Case, goals by engine) of what is measured, made one after another."""
    size, work = context.size, context.work
    csv = prepare.interactions(work, size.users, size.items, size.events)
    peers = {name: count for name, count in size.peer_queries.items() if name != "spark" or context.spark}
    label = lambda dimension: f"{size.users:,} users, d = {dimension}"
    first, *others = size.dimensions

    def plain(prefix, k, queries, names, verified, counts=peers):
        chosen = {name: counts[name] for name in names if name in counts}
        return Case(context, prepare.model(work, prefix), k, queries, verified, prefix, chosen)

    towards = {"faiss": 8, "implicit": 12, "numpy": 30, "spark": 200}
    own = prepare.own_factors(context.kindred, csv, first)
    yield (f"Top {K}, plain iALS factors of the program, {label(first)}",
           plain(own, K, size.queries, peers, size.verified_queries), towards)
    factors = prepare.factors(work, csv, first)
    yield (f"Top {K}, plain ALS factors of implicit, {label(first)}",
           plain(factors, K, size.queries, peers, size.verified_queries), towards)
    for k, queries, few in size.large_ks:
        counts = {"implicit": few, "numpy": few}
        yield (f"Top {k:,}, plain ALS factors of implicit, {label(first)}",
               plain(factors, k, queries, counts, VERIFIED_LARGE, counts), {"implicit": 4})
    for dimension in others:
        yield (f"Top {K}, plain ALS factors of implicit, {label(dimension)}",
               plain(prepare.factors(work, csv, dimension), K, size.queries, ("faiss", "implicit"),
                     size.verified_queries), {})
    gaussian = prepare.gaussian(work, size.users, size.gaussian_queries, first)
    yield (f"Top {K}, Gaussian factors (nothing can be left out), {label(first)}",
           plain(gaussian, K, size.gaussian_queries, ("faiss", "implicit"), size.verified_queries), {"peak": 0.85})
    shipped = prepare.trained(context.kindred, csv, first)
    for k, queries in [(K, size.queries), *((k, queries) for k, queries, _ in size.large_ks)]:
        yield (f"Top {k:,}, the program's own iALS model with offsets and history, {label(first)}",
               Case(context, shipped, k, queries, VERIFIED_LARGE), {})


def run(context):
    tables, goals, all_rounds = [], [], {}
    for title, case, wanted in cases(context):
        rounds = case.rounds()
        all_rounds[title] = rounds
        rows = case.rows(rounds)
        tables.append({"title": title, "columns": COLUMNS, "rows": rows})
        for against, at_least in wanted.items():
            if against == "peak":
                goals.append(goal(title, "FMA peak of the core", at_least, rows[0][4], "of it"))
            elif against in case.peers:
                goals.append(goal(title, against, at_least, measure.ratio(rounds, "kindred", against, "seconds")))
    text = ("The program's figure is CPU time from outside, with reading, rendering and writing the answers in it "
            f"(from k = {K_BY_PHASE:,} on the scoring phase, which has the making of the text in it); the peers' is their search alone. "
            f"Medians of {context.rounds} rounds in turns, one core; Spark once, its second run in a warm JVM.")
    return {"title": "Exact top-k", "text": text, "tables": tables, "goals": goals, "rounds": all_rounds}
