#!/usr/bin/env python3
"""A segment job of millions of lines through a server that is killed again and again, from outside.

The job runs once undisturbed and once while the server gets SIGKILL at random moments and is started
again over the same data directory; nobody repeats a request. Both outputs must be the same bytes. What
the kills cost is the wall time of the second job over the first. Made-up data; needs boto3, numpy.

    bench/kills/run.py [--lines 10e6] [--kills 5] [--users 100e3] [--items 10e3] [--events 2e6] [--work DIR]
"""

import argparse
import hashlib
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "bench"))
from server import ROLE, Server, wait  # noqa: E402

BUCKET = "kills"
NUM_RESULTS = 25
DIMENSION = "64"
SEED = 11
# Kills come after this part of the undisturbed job's time, counted from the last start.
EARLIEST, LATEST = 0.05, 0.35
READ_BYTES = 8 << 20


def made(work, asked):
    """The CSV and the query lines."""
    data = REPOSITORY / "bench/data"
    csv, queries = work / "events.csv", work / "queries.json"
    subprocess.run([sys.executable, data / "generate.py", "--events", asked.events, "--users", asked.users, "--items",
                    asked.items, "--seed", str(SEED), "--out", csv, "--items-out", work / "items.csv"], check=True)
    subprocess.run([sys.executable, data / "queries.py", "--lines", asked.lines, "--items", asked.items, "--seed",
                    str(SEED), "--out", queries], check=True)
    return csv, queries


def trained(server, csv, queries):
    """Uploads everything and trains; the ARN of the solution version."""
    s3, p = server.client("s3"), server.client("personalize")
    s3.create_bucket(Bucket=BUCKET)
    s3.upload_file(str(csv), BUCKET, "data/events.csv")
    s3.upload_file(str(queries), BUCKET, "in/queries.json")
    fields = [{"name": "USER_ID", "type": "string"}, {"name": "ITEM_ID", "type": "string"},
              {"name": "TIMESTAMP", "type": "long"}]
    schema = p.create_schema(name="events", schema=json.dumps(
        {"type": "record", "name": "Interactions", "namespace": "com.amazonaws.personalize.schema", "fields": fields,
         "version": "1.0"}))["schemaArn"]
    group = p.create_dataset_group(name="kills")["datasetGroupArn"]
    dataset = p.create_dataset(name="events", datasetType="Interactions", schemaArn=schema,
                               datasetGroupArn=group)["datasetArn"]
    job = p.create_dataset_import_job(
        jobName="events", datasetArn=dataset, roleArn=ROLE,
        dataSource={"dataLocation": f"s3://{BUCKET}/data/events.csv"})["datasetImportJobArn"]
    wait(lambda: p.describe_dataset_import_job(datasetImportJobArn=job), "datasetImportJob")
    solution = p.create_solution(
        name="kills", datasetGroupArn=group, recipeArn="arn:aws:personalize:::recipe/aws-item-affinity",
        solutionConfig={"algorithmHyperParameters": {"hidden_dimension": DIMENSION}})["solutionArn"]
    version = p.create_solution_version(solutionArn=solution)["solutionVersionArn"]
    wait(lambda: p.describe_solution_version(solutionVersionArn=version), "solutionVersion")
    return version


def create(server, version, name):
    return server.client("personalize").create_batch_segment_job(
        jobName=name, solutionVersionArn=version, numResults=NUM_RESULTS, roleArn=ROLE,
        jobInput={"s3DataSource": {"path": f"s3://{BUCKET}/in/queries.json"}},
        jobOutput={"s3DataDestination": {"path": f"s3://{BUCKET}/{name}/"}})["batchSegmentJobArn"]


def wait_for(server, job):
    p = server.client("personalize")
    wait(lambda: p.describe_batch_segment_job(batchSegmentJobArn=job), "batchSegmentJob")


def is_active(server, job):
    p = server.client("personalize")
    return p.describe_batch_segment_job(batchSegmentJobArn=job)["batchSegmentJob"]["status"] == "ACTIVE"


def digest(server, name):
    """SHA-256 and length of a job's output."""
    body = server.client("s3").get_object(Bucket=BUCKET, Key=f"{name}/queries.json.out")["Body"]
    found, length = hashlib.sha256(), 0
    for part in body.iter_chunks(READ_BYTES):
        found.update(part)
        length += len(part)
    return found.hexdigest(), length


def shown(program, server, job):
    """What `kindred jobs show` says."""
    done = subprocess.run([program, "jobs", "show", job, "--json", "--data-dir", server.data, "--endpoint",
                           server.endpoint], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def measure(program, home, asked):
    start = lambda: Server(program, home, *(["--config", asked.config] if asked.config else []))
    server = start()
    version = trained(server, *made(home, asked))
    began = time.monotonic()
    job = create(server, version, "whole")
    wait_for(server, job)
    whole_seconds = time.monotonic() - began
    expected = digest(server, "whole")
    statistics = shown(program, server, job)

    chance, kills, seen = random.Random(SEED), 0, []
    began = time.monotonic()
    job = create(server, version, "killed")
    while kills < asked.kills:
        time.sleep(whole_seconds * chance.uniform(EARLIEST, LATEST))
        if is_active(server, job):
            break
        seen.append(shown(program, server, job).get("progress"))
        server.kill()
        kills += 1
        server = start()
    wait_for(server, job)
    killed_seconds = time.monotonic() - began
    found = digest(server, "killed")
    server.stop()
    if found != expected:
        raise SystemExit(f"the output is another one after {kills} kills: {found}, {expected}")
    return {"kills": kills, "lines": statistics.get("lines"), "distinct": statistics.get("distinct_queries"),
            "output_bytes": expected[1], "whole_seconds": round(whole_seconds, 2),
            "killed_seconds": round(killed_seconds, 2), "at": seen, "statistics": statistics}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in [("lines", "10e6"), ("users", "100e3"), ("items", "10e3"), ("events", "2e6")]:
        parser.add_argument(f"--{name}", default=default)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--config", help="configuration of the server")
    parser.add_argument("--work", help="folder for everything, not removed")
    parser.add_argument("--kindred", default=os.environ.get("KINDRED_BIN", str(REPOSITORY / "target/release/kindred")))
    asked = parser.parse_args()
    for name in ("lines", "users", "items", "events"):
        setattr(asked, name, str(int(float(getattr(asked, name)))))
    with tempfile.TemporaryDirectory() as passing:
        home = pathlib.Path(asked.work or passing)
        home.mkdir(parents=True, exist_ok=True)
        print(json.dumps(measure(asked.kindred, home, asked), indent=2))


if __name__ == "__main__":
    main()
