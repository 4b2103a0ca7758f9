"""Generated data with a known meaning, and the way from it to a trained solution version.

Users with an even number like items with an even number, and odd ones odd ones: nine of ten
events keep to that. Whoever gets segments can therefore be checked for sense.
"""

import json
import random

from kindred_server import ROLE, wait

USERS = 60
ITEMS = 40
EVENTS_PER_USER = 40
NAMESPACE = "com.amazonaws.personalize.schema"


def field(name, kind, **attributes):
    return {"name": name, "type": kind, **attributes}


TEXT_OR_NULL = ["null", "string"]
FIELDS = {
    "Interactions": [field("USER_ID", "string"), field("ITEM_ID", "string"),
                     field("EVENT_TYPE", "string"), field("TIMESTAMP", "long")],
    "Items": [field("ITEM_ID", "string"), field("GENRES", TEXT_OR_NULL, categorical=True),
              field("PRICE", ["null", "float"])],
    "Users": [field("USER_ID", "string"), field("COUNTRY", TEXT_OR_NULL, categorical=True),
              field("AGE", ["null", "int"])],
}


def schema_text(kind, fields=None):
    """The Avro text of a schema."""
    return json.dumps({"type": "record", "name": kind, "namespace": NAMESPACE,
                       "fields": fields or FIELDS[kind], "version": "1.0"})


def rows(events_per_user=EVENTS_PER_USER, users=USERS, items=ITEMS, seed=1):
    """The three CSV files as lists of lines."""
    chance = random.Random(seed)
    inter = ["USER_ID,ITEM_ID,EVENT_TYPE,TIMESTAMP"]
    goods = ["ITEM_ID,GENRES,PRICE"]
    people = ["USER_ID,COUNTRY,AGE"]
    for i in range(items):
        goods.append(f"i{i},{'Comedy' if i % 2 == 0 else 'Horror|Action'},{5 + i}")
    for u in range(users):
        people.append(f"u{u},{'Japan' if u < users // 3 else 'Chile'},{18 + u % 80}")
        for t in range(events_per_user):
            side = u % 2 if chance.random() < 0.9 else 1 - u % 2
            i = chance.randrange(0, items, 2) + side
            kind = chance.choice(["click", "purchase"])
            inter.append(f"u{u},i{i},{kind},{1_700_000_000 + 3600 * t + u}")
    return {"Interactions": inter, "Items": goods, "Users": people}


def csv(lines):
    return ("\n".join(lines) + "\n").encode()


def lines_of(queries):
    """JSON Lines of the given queries."""
    return "".join(json.dumps(query) + "\n" for query in queries).encode()


class World:
    """A bucket and a dataset group on one server, filled step by step."""

    def __init__(self, server, name, data=None, kinds=("Interactions", "Items", "Users"),
                 dimension=32, fields=None):
        self.server = server
        self.name = name
        self.bucket = f"bucket-{name}"
        self.s3 = server.client("s3")
        self.p = server.client("personalize")
        self.data = data or rows()
        self.kinds = kinds
        self.dimension = dimension
        self.fields = {**FIELDS, **(fields or {})}
        self.schemas, self.datasets, self.jobs = {}, {}, 0

    def reconnect(self):
        """New clients after the server was started again on another port."""
        self.s3 = self.server.client("s3")
        self.p = self.server.client("personalize")

    def url(self, key):
        return f"s3://{self.bucket}/{key}"

    def put(self, key, body):
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        return self.url(key)

    def get(self, key):
        return self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def keys(self, prefix=""):
        found = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [entry["Key"] for page in found for entry in page.get("Contents", [])]

    def make_datasets(self):
        """Bucket, schemas, group and datasets, without data."""
        self.s3.create_bucket(Bucket=self.bucket)
        self.group = self.p.create_dataset_group(name=f"group-{self.name}")["datasetGroupArn"]
        wait(lambda: self.p.describe_dataset_group(datasetGroupArn=self.group), "datasetGroup")
        for kind in self.kinds:
            self.schemas[kind] = self.p.create_schema(
                name=f"{kind.lower()}-{self.name}", schema=schema_text(kind, self.fields[kind]))["schemaArn"]
            self.datasets[kind] = self.p.create_dataset(
                name=f"{kind.lower()}-{self.name}", datasetType=kind.upper(),
                schemaArn=self.schemas[kind], datasetGroupArn=self.group)["datasetArn"]
            wait(lambda: self.p.describe_dataset(datasetArn=self.datasets[kind]), "dataset")
        return self

    def start_import(self, kind, location, mode=None):
        """Creates an import job and returns its ARN."""
        self.jobs += 1
        more = {"importMode": mode} if mode else {}
        return self.p.create_dataset_import_job(
            jobName=f"import-{self.name}-{self.jobs}", datasetArn=self.datasets[kind], roleArn=ROLE,
            dataSource={"dataLocation": location}, **more)["datasetImportJobArn"]

    def await_import(self, arn, until=("ACTIVE",)):
        return wait(lambda: self.p.describe_dataset_import_job(datasetImportJobArn=arn),
                    "datasetImportJob", until)

    def import_data(self):
        """Uploads and imports all datasets."""
        for kind in self.kinds:
            location = self.put(f"data/{kind.lower()}.csv", csv(self.data[kind]))
            self.await_import(self.start_import(kind, location))
        return self

    def make_solution(self, name=None, **more):
        """Creates a solution and returns its ARN."""
        config = {"algorithmHyperParameters": {"hidden_dimension": str(self.dimension)}}
        arn = self.p.create_solution(
            name=name or f"solution-{self.name}", datasetGroupArn=self.group,
            **{"recipeArn": "arn:aws:personalize:::recipe/aws-item-affinity",
               "solutionConfig": config, **more})["solutionArn"]
        wait(lambda: self.p.describe_solution(solutionArn=arn), "solution")
        return arn

    def start_training(self, solution, **more):
        return self.p.create_solution_version(solutionArn=solution, **more)["solutionVersionArn"]

    def await_version(self, arn, until=("ACTIVE",)):
        return wait(lambda: self.p.describe_solution_version(solutionVersionArn=arn),
                    "solutionVersion", until)

    def train(self):
        """Datasets, imports, solution and one trained version."""
        self.make_datasets().import_data()
        self.solution = self.make_solution()
        self.version = self.start_training(self.solution)
        self.await_version(self.version)
        return self

    def start_segments(self, source, target, num_results=10, version=None, name=None, **more):
        """Creates a batch segment job and returns its ARN."""
        self.jobs += 1
        limit = {} if num_results is None else {"numResults": num_results}
        return self.p.create_batch_segment_job(
            jobName=name or f"job-{self.name}-{self.jobs}",
            solutionVersionArn=version or self.version, roleArn=ROLE,
            jobInput={"s3DataSource": {"path": source}},
            jobOutput={"s3DataDestination": {"path": target}}, **limit, **more)["batchSegmentJobArn"]

    def await_segments(self, arn, until=("ACTIVE",)):
        return wait(lambda: self.p.describe_batch_segment_job(batchSegmentJobArn=arn),
                    "batchSegmentJob", until)

    def segments(self, name, body, num_results=10, **more):
        """Runs one job over the given input bytes and returns the output bytes."""
        source = self.put(f"in/{name}.json", body)
        arn = self.start_segments(source, self.url(f"out-{name}/"), num_results, **more)
        self.await_segments(arn)
        return self.get(f"out-{name}/{name}.json.out")


def line(echo, users, error=None):
    """One output line to the byte, from the echoed input and the ids."""
    ids = ",".join(json.dumps(user, ensure_ascii=False) for user in users)
    text = "null" if error is None else json.dumps(error, ensure_ascii=False)
    return f'{{"input": {echo}, "output": {{"usersList": [{ids}]}}, "error": {text}}}\n'


def assert_sensible(output, items=ITEMS, length=10):
    """Segments of all items: nearly everybody in them is on the item's side."""
    found = [json.loads(text) for text in output.decode().splitlines()]
    assert [row["input"]["itemId"] for row in found] == [f"i{i}" for i in range(items)]
    right = total = 0
    for i, row in enumerate(found):
        users = row["output"]["usersList"]
        assert len(users) == length and len(set(users)) == length
        own = sum(int(user[1:]) % 2 == i % 2 for user in users)
        assert own >= 0.8 * length, f"item i{i} has {users}"
        right, total = right + own, total + length
    assert right >= 0.95 * total, f"{right} of {total} are on their item's side"
