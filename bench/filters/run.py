#!/usr/bin/env python3
"""What a filter costs or saves: seconds of scoring with filters of several shares against none.

Made-up shoppers (each has a share number from 0 to 99 in Users), one model, then the same queries
again and again through `kindred segment --model-in`: without a filter, with a job-wide filter that
keeps 1 %, 10 % and 50 % of the users, and with values per line, where every query chooses the users
of one of so many shares. Runs take turns, the figures are medians of score_seconds, and each ratio
is to the runs without a filter of the same invocation. The program is --kindred, else $KINDRED_BIN,
else target/release/kindred.

    bench/filters/run.py [--users 60000] [--items 2000] [--rounds 3] [--json FILE]
"""

import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import tempfile

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
EVENTS_PER_USER = 5
NUM_RESULTS = 25
SHARES = 100
TIME = 1_700_000_000
DAY = 86_400


def make_files(folder, users, items, seed):
    """Shoppers with a taste for one tenth of the items; queries for every item."""
    chance = random.Random(seed)
    tenth = max(items // 10, 1)
    with open(folder / "interactions.csv", "w") as out:
        out.write("USER_ID,ITEM_ID,TIMESTAMP\n")
        for user in range(users):
            for _ in range(EVENTS_PER_USER):
                taste = user % 10 if chance.random() < 0.8 else chance.randrange(10)
                item = (taste * tenth + int(tenth * chance.random() ** 2)) % items
                out.write(f"u{user},i{item},{TIME + chance.randrange(100 * DAY)}\n")
    with open(folder / "users.csv", "w") as out:
        out.write("USER_ID,SHARE\n")
        for user in range(users):
            out.write(f"u{user},{chance.randrange(SHARES)}\n")
    with open(folder / "plain.json", "w") as out:
        out.writelines(json.dumps({"itemId": f"i{item}"}) + "\n" for item in range(items))
    for name, values in [("one", 1), ("ten", 10), ("hundred", 100)]:
        with open(folder / f"{name}.json", "w") as out:
            out.writelines(json.dumps({"itemId": f"i{item}", "filterValues": {"S": str(item % values)}}) + "\n"
                           for item in range(items))
    (folder / "kindred.toml").write_text('training.model = "ials"\ntraining.final_fit = true\n')


def run(program, folder, *more):
    """One run; its statistics."""
    stats = folder / "stats.json"
    done = subprocess.run([program, "segment", "--config", folder / "kindred.toml",
                           "--output", folder / "answer.out", "--num-results", str(NUM_RESULTS),
                           "--stats", stats, *map(str, more)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(stats.read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=60_000)
    parser.add_argument("--items", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--kindred", default=os.environ.get("KINDRED_BIN", REPOSITORY / "target/release/kindred"))
    asked = parser.parse_args()
    per_line = "INCLUDE UserID WHERE Users.SHARE = $S"
    cases = [("no filter", "plain", None)]
    cases += [(f"job-wide, keeps {share} %", "plain", f"INCLUDE UserID WHERE Users.SHARE < {share}")
              for share in (1, 10, 50)]
    cases += [(f"per line, {name} of 1 %", name, per_line) for name in ("one", "ten", "hundred")]
    cases += [("per line, ten of 99 %", "ten", "INCLUDE UserID WHERE Users.SHARE != $S")]
    with tempfile.TemporaryDirectory() as home:
        folder = pathlib.Path(home)
        make_files(folder, asked.users, asked.items, seed=1)
        run(asked.kindred, folder, "--interactions", folder / "interactions.csv",
            "--input", folder / "one.json", "--model-out", folder / "model")
        seconds = {label: [] for label, _, _ in cases}
        walls = {label: [] for label, _, _ in cases}
        for _ in range(asked.rounds):
            for label, queries, text in cases:
                more = ["--filter", text] if text else []
                found = run(asked.kindred, folder, "--model-in", folder / "model", "--users", folder / "users.csv",
                            "--input", folder / f"{queries}.json", *more)
                seconds[label].append(found["score_seconds"])
                walls[label].append(found["wall_seconds"])
    base = statistics.median(seconds["no filter"])
    rows = [{"case": label, "score_seconds": statistics.median(seconds[label]),
             "ratio": statistics.median(seconds[label]) / base if base else None,
             "wall_seconds": statistics.median(walls[label])} for label, _, _ in cases]
    print(f"{asked.users} users, {asked.items} queries, k = {NUM_RESULTS}, median of {asked.rounds}")
    for row in rows:
        print(f"{row['case']:26} {row['score_seconds']:8.3f} s  {row['ratio']:6.2f} of no filter"
              f"   (whole run {row['wall_seconds']:.2f} s)")
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
