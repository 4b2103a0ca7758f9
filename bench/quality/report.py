"""Comparing two sets of figures, and printing them as Markdown."""

COUNTS = ("population", "k", "queries")
FIGURES = ("hits_at_1_percent", "recall_at_1_percent", "coverage", "first_time_recall")
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
            found |= {f"{prefix}{entry['name']} {name}": (entry[name], MEAN_TOLERANCE)
                      for name in FIGURES if name in entry}
    return found


def compare(mine, theirs):
    """{"equal": how many figures agree, "differing": [(figure, mine, theirs)], "absent": the figures that
    only one of the two has}."""
    ours, others = flat(mine), flat(theirs)
    found = {"equal": 0, "differing": [], "absent": []}
    for name in sorted(set(ours) | set(others)):
        value, tolerance = ours.get(name, (None, 0))
        other, _ = others.get(name, (None, 0))
        if value is None or other is None:
            found["absent"].append(name)
        elif abs(value - other) <= tolerance:
            found["equal"] += 1
        else:
            found["differing"].append((name, value, other))
    return found


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
    text = f"`kindred evaluate` agrees in {comparison['equal']} figures"
    if comparison["absent"]:
        text += f"; only one of the two has {', '.join(comparison['absent'])}"
    if not comparison["differing"]:
        return text + "."
    return (f"{text}. **They differ in {len(comparison['differing'])} figures:**\n\n"
            + table(["figure", "score.py", "kindred evaluate"], comparison["differing"]))


def summary(results):
    """One line per case, the means over its splits."""
    cases = {}
    for entry in results:
        cases.setdefault(entry["case"], []).append(entry)
    lines = []
    for case, entries in cases.items():
        notes = ", ".join(dict.fromkeys(entry["note"] for entry in entries if entry["note"]))
        found = [entry["figures"] for entry in entries if entry["figures"]]
        if not found:
            lines.append((case, 0, "", "", "", "", "", "", notes))
            continue

        def mean(figure, digits):
            return f"{sum(map(figure, found)) / len(found):.{digits}f}"

        def simple(name):
            return mean(lambda one: next(entry for entry in one["baselines"] if entry["name"] == name)
                        ["recall_at_1_percent"], 4)

        lines.append((case, len(found), mean(lambda one: one["model"]["hits_at_1_percent"], 3),
                      mean(lambda one: one["model"]["recall_at_1_percent"], 4),
                      mean(lambda one: one["model"]["coverage"], 3), mean(lambda one: one["first_time_recall"], 4),
                      simple("most_active"), simple("own_history"), notes))
    return table(["case", "splits", "hit", "recall", "coverage", "first-time recall", "recall of the most active",
                  "of the own history", ""], lines)
