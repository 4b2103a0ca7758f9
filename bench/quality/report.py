"""Comparing two sets of figures, and printing them as Markdown."""

COUNTS = ("population", "k", "queries")
FIGURES = ("hits_at_1_percent", "recall_at_1_percent", "coverage")
MEANS = ("first_time_recall", "overlap", "overlap_most_active")
MEAN_TOLERANCE = 1e-9
# Scores are written with the digits of an f32, and equal probabilities may fall on either side of a
# bin's edge.
CALIBRATION_TOLERANCE = 1e-4


def flat(result):
    """{figure: (value, tolerance)} of everything that two scorers must agree on. Random lists are left
    out: their draws differ."""
    found = {name: (result.get(name), 0) for name in COUNTS}
    found |= {name: (result.get(name), MEAN_TOLERANCE) for name in MEANS}
    found |= of_rankings("", result)
    for point in result.get("lift") or []:
        name = f"lift {point['percent']:g} %"
        found[f"{name} users"] = (point["users"], 0)
        found[f"{name} recall"] = (point["recall"], MEAN_TOLERANCE)
        found[f"{name} lift"] = (point["lift"], MEAN_TOLERANCE * 1000)
    calibration = result.get("calibration")
    if calibration:
        found["happened_total"] = (calibration["happened_total"], 0)
        total = calibration["predicted_total"]
        found["predicted_total"] = (total, CALIBRATION_TOLERANCE * max(total, 1.0))
        for number, part in enumerate(calibration["bins"], 1):
            for name in ("predicted", "happened"):
                found[f"bin {number} {name}"] = (part[name], CALIBRATION_TOLERANCE)
    cold = result.get("cold_items")
    if cold:
        found["cold queries"] = (cold["queries"], 0)
        found |= of_rankings("cold ", cold)
    return found


def of_rankings(prefix, result):
    found = {}
    for entry in [{"name": "model", **result["model"]}, *result.get("baselines", [])]:
        if entry["name"] != "random":
            found |= {f"{prefix}{entry['name']} {name}": (entry.get(name), MEAN_TOLERANCE) for name in FIGURES}
    return found


def compare(mine, theirs):
    """(number of figures compared, [(figure, mine, theirs)] of those that differ or are absent)."""
    ours, others = flat(mine), flat(theirs)
    differing = []
    for name in sorted(set(ours) | set(others)):
        value, tolerance = ours.get(name, (None, 0))
        other, _ = others.get(name, (None, 0))
        if value is None or other is None or abs(value - other) > tolerance:
            if value is not other:
                differing.append((name, value, other))
    return len(set(ours) | set(others)), differing


def rows(result, prefix):
    for entry in [{"name": prefix, **result["model"]}, *result["baselines"]]:
        first = entry.get("first_time_recall")
        yield (entry["name"], f"{entry['hits_at_1_percent']:.3f}", f"{entry['recall_at_1_percent']:.4f}",
               f"{entry['coverage']:.3f}", "" if first is None else f"{first:.4f}")


def table(header, lines):
    lines = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def show(case, result):
    """The Markdown of one result."""
    parts = [f"### {case}", "",
             f"{result['population']:,} users, lists of {result['k']}, {result['queries']:,} queries"
             f"{', first times only' if result.get('first_time_only') else ''}.", "",
             table(["ranking", "hit", "recall", "coverage", "first-time recall"], rows(result, "**model**")), "",
             f"Overlap of two lists {result['overlap']:.3f}, with the most active users "
             f"{result['overlap_most_active']:.3f}."]
    if result.get("lift"):
        parts += ["", table(["share of users"] + [f"{point['percent']:g} %" for point in result["lift"]],
                            [["recall"] + [f"{point['recall']:.3f}" for point in result["lift"]],
                             ["lift"] + [f"{point['lift']:.1f}" for point in result["lift"]]])]
    if result.get("calibration"):
        bins = result["calibration"]["bins"]
        parts += ["", table(["predicted"] + [f"{part['predicted']:.4f}" for part in bins],
                            [["happened"] + [f"{part['happened']:.4f}" for part in bins]])]
    if result.get("cold_items"):
        cold = result["cold_items"]
        parts += ["", f"Items without a past: {cold['queries']} queries.", "",
                  table(["ranking", "hit", "recall", "coverage", ""], rows(cold, "**model**"))]
    return "\n".join(parts)


def show_comparison(comparison):
    if comparison is None:
        return "Not compared with `kindred evaluate`: this program lacks the command or the flags for it."
    if not comparison["differing"]:
        return f"`kindred evaluate` agrees in all {comparison['figures']} figures."
    lines = [(name, mine, theirs) for name, mine, theirs in comparison["differing"]]
    return (f"`kindred evaluate` differs in {len(lines)} of {comparison['figures']} figures:\n\n"
            + table(["figure", "score.py", "kindred evaluate"], lines))


def summary(results):
    """One line per result."""
    lines = []
    for entry in results:
        found = entry["figures"]
        if found is None:
            lines.append((entry["case"], "", "", "", "", entry["note"]))
            continue
        simple = {one["name"]: one for one in found["baselines"]}
        lines.append((entry["case"], f"{found['model']['hits_at_1_percent']:.3f}",
                      f"{found['model']['recall_at_1_percent']:.4f}", f"{found['first_time_recall']:.4f}",
                      f"{simple['most_active']['recall_at_1_percent']:.4f}", entry["note"]))
    return table(["case", "hit", "recall", "first-time recall", "recall of the most active", ""], lines)
