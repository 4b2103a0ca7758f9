#!/usr/bin/env python3
"""The whole job as a user meets it, timed from outside through boto3 on a fresh server.

Two cases over the grocery data (crates/cli/sample/README.md says where it comes from):
  whole       all 1,469,307 purchases, trained at hidden_dimension 149, 500 item queries;
  published   34,853 purchases and one query, the size for which AWS published 33 minutes of
              training and 7 minutes for the segment.
Every phase is the wall time between the request that starts it and the answer that says ACTIVE,
so polling, HTTP and the object store are in it. Needs boto3; the program is --kindred, else
$KINDRED_BIN, else target/release/kindred.

    bench/grocery/run.py GROCERY_FOLDER [--json FILE] [--case whole|published]
"""

import argparse
import csv
import gzip
import json
import os
import pathlib
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "bench"))
from server import ROLE, Server, wait  # noqa: E402

BUCKET = "bench"
DIMENSION = "149"
PUBLISHED_EVENTS = 34_853
QUERIES = 500
NUM_RESULTS = 25
# What AWS published: minutes of training and of the segment job.
PUBLISHED_MINUTES = {"train": 33.0, "segment": 7.0}
FIELDS = {
    "Interactions": [("USER_ID", "string"), ("ITEM_ID", "string"), ("TIMESTAMP", "long"),
                     ("EVENT_TYPE", "string"), ("EVENT_VALUE", "float")],
    "Items": [("ITEM_ID", "string"), ("DEPARTMENT", None), ("BRAND", None), ("CATEGORY", None),
              ("PRODUCT_TYPE", None), ("PACKAGE_SIZE", None)],
    "Users": [("USER_ID", "string"), ("AGE", None), ("INCOME", None), ("HOME_OWNERSHIP", None),
              ("MARITAL_STATUS", None), ("HOUSEHOLD_SIZE", None), ("KIDS", None)],
}


class Phases:
    """Wall and server CPU seconds by phase."""

    def __init__(self, server):
        self.server, self.found = server, {}

    def time(self, name, work):
        cpu, start = self.server.cpu_seconds(), time.monotonic()
        result = work()
        self.found[name] = {"wall_seconds": round(time.monotonic() - start, 3),
                            "cpu_seconds": round(self.server.cpu_seconds() - cpu, 3)}
        return result


def schema(kind):
    fields = [{"name": name, "type": known} if known else
              {"name": name, "type": ["null", "string"], "categorical": True} for name, known in FIELDS[kind]]
    return json.dumps({"type": "record", "name": kind, "namespace": "com.amazonaws.personalize.schema",
                       "fields": fields, "version": "1.0"})


def load(folder, case):
    """The three CSV bodies and the query lines of a case."""
    bodies = {kind: gzip.decompress((folder / f"{kind.lower()}.csv.gz").read_bytes()) for kind in FIELDS}
    header, *events = bodies["Interactions"].decode().splitlines()
    if case == "published":
        # The first purchases in the order of the file, which is by time: what a small shop would have.
        events = events[:PUBLISHED_EVENTS]
        bodies["Interactions"] = "\n".join([header, *events, ""]).encode()
    item = header.split(",").index("ITEM_ID")
    counts = {}
    for row in csv.reader(events):
        counts[row[item]] = counts.get(row[item], 0) + 1
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    queries = ranked[:1] if case == "published" else ranked[:QUERIES]
    lines = "".join(json.dumps({"itemId": name}) + "\n" for name in queries).encode()
    return bodies, lines, len(events), len(queries)


def run(program, folder, case):
    bodies, lines, events, queries = load(folder, case)
    with tempfile.TemporaryDirectory() as home:
        server = Server(program, home)
        try:
            return {"case": case, "interactions": events, "queries": queries,
                    **measure(server, bodies, lines)}
        finally:
            server.stop()


def measure(server, bodies, lines):
    s3, p = server.client("s3"), server.client("personalize")
    phases = Phases(server)
    s3.create_bucket(Bucket=BUCKET)

    def upload():
        for kind, body in bodies.items():
            s3.put_object(Bucket=BUCKET, Key=f"data/{kind.lower()}.csv", Body=body)
        s3.put_object(Bucket=BUCKET, Key="in/q.json", Body=lines)

    phases.time("upload", upload)
    group = p.create_dataset_group(name="grocery")["datasetGroupArn"]
    for kind in bodies:
        made = p.create_schema(name=kind.lower(), schema=schema(kind))["schemaArn"]
        dataset = p.create_dataset(name=kind.lower(), datasetType=kind, schemaArn=made,
                                   datasetGroupArn=group)["datasetArn"]

        def load_one():
            arn = p.create_dataset_import_job(
                jobName=kind.lower(), datasetArn=dataset, roleArn=ROLE,
                dataSource={"dataLocation": f"s3://{BUCKET}/data/{kind.lower()}.csv"})["datasetImportJobArn"]
            wait(lambda: p.describe_dataset_import_job(datasetImportJobArn=arn), "datasetImportJob")

        phases.time(f"import {kind.lower()}", load_one)
    solution = p.create_solution(
        name="grocery", datasetGroupArn=group, recipeArn="arn:aws:personalize:::recipe/aws-item-affinity",
        solutionConfig={"algorithmHyperParameters": {"hidden_dimension": DIMENSION}})["solutionArn"]

    def train():
        arn = p.create_solution_version(solutionArn=solution)["solutionVersionArn"]
        wait(lambda: p.describe_solution_version(solutionVersionArn=arn), "solutionVersion")
        return arn

    version = phases.time("train", train)
    metrics = p.get_solution_metrics(solutionVersionArn=version)["metrics"]

    def segment():
        arn = p.create_batch_segment_job(
            jobName="grocery", solutionVersionArn=version, numResults=NUM_RESULTS, roleArn=ROLE,
            jobInput={"s3DataSource": {"path": f"s3://{BUCKET}/in/q.json"}},
            jobOutput={"s3DataDestination": {"path": f"s3://{BUCKET}/out/"}})["batchSegmentJobArn"]
        wait(lambda: p.describe_batch_segment_job(batchSegmentJobArn=arn), "batchSegmentJob")
        return s3.get_object(Bucket=BUCKET, Key="out/q.json.out")["Body"].read()

    output = phases.time("segment", segment)
    answered = [json.loads(text) for text in output.splitlines()]
    full = sum(row["error"] is None and len(row["output"]["usersList"]) == NUM_RESULTS for row in answered)
    if full != lines.count(b"\n"):
        raise SystemExit(f"only {full} queries were answered in full")
    return {"start_seconds": round(server.start_seconds, 3), "phases": phases.found,
            "total_wall_seconds": round(sum(phase["wall_seconds"] for phase in phases.found.values()), 3),
            "peak_memory_bytes": server.peak_memory_bytes(), "metrics": metrics}


def show(result):
    print(f"\n{result['case']}: {result['interactions']:,} interactions, {result['queries']} queries, "
          f"hidden_dimension {DIMENSION}, {os.cpu_count()} cores")
    print(f"{'phase':<22}{'wall s':>10}{'CPU s':>10}")
    for name, phase in result["phases"].items():
        print(f"{name:<22}{phase['wall_seconds']:>10.2f}{phase['cpu_seconds']:>10.2f}")
    print(f"{'all':<22}{result['total_wall_seconds']:>10.2f}")
    print(f"peak memory of the server {result['peak_memory_bytes'] / 2**20:,.0f} MiB; metrics {result['metrics']}")
    if result["case"] == "published":
        for name, minutes in PUBLISHED_MINUTES.items():
            wall = result["phases"][name]["wall_seconds"]
            print(f"{name}: {minutes:g} min published by AWS for this size, {minutes * 60 / wall:,.0f} times the wall time here")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("grocery", type=pathlib.Path, help="folder with the grocery data")
    parser.add_argument("--kindred", default=os.environ.get("KINDRED_BIN", str(REPOSITORY / "target/release/kindred")))
    parser.add_argument("--case", choices=["whole", "published"], action="append")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures here, too")
    args = parser.parse_args()
    results = []
    for case in args.case or ["published", "whole"]:
        results.append(run(args.kindred, args.grocery, case))
        show(results[-1])
    text = json.dumps(results, indent=2)
    print("\n" + text)
    if args.json:
        args.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
