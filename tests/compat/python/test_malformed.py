"""Malformed requests, CSV files and input files: each refused in its own words, none half-done."""

import json

import pytest

import wire
from kindred_server import ACCOUNT, ROLE
from world import ITEMS, World, csv, line, lines_of, schema_text

ARN = f"arn:aws:personalize:us-east-1:{ACCOUNT}:"
GROUP = ARN + "dataset-group/group-broken"
SOLUTION = ARN + "solution/solution-broken"
VERSION = SOLUTION + "/0123abcd"
JOB = {"jobName": "bad", "solutionVersionArn": VERSION, "roleArn": ROLE,
       "jobInput": {"s3DataSource": {"path": "s3://b/in.json"}},
       "jobOutput": {"s3DataDestination": {"path": "s3://b/out/"}}}
QUERIES = lines_of([{"itemId": f"i{i}"} for i in range(ITEMS)])
ONE = "1 validation error detected: Value "
LONG = "Member must have length less than or equal to "
SHORT = "Member must have length greater than or equal to "
NULL = "Member must not be null"
PATTERN = "Member must satisfy regular expression pattern: "


@pytest.fixture(scope="module")
def broken(servers):
    """A trained world of this file's own; nothing below may change it."""
    world = World(servers(), "broken").train()
    world.before = world.segments("before", QUERIES)
    return world


def inventory(p):
    """Everything that can be listed, to see that a refusal changed nothing."""
    return [[sorted(str(value) for value in entry.items()) for entry in answer[member]] for answer, member in (
        (p.list_schemas(), "schemas"), (p.list_dataset_groups(), "datasetGroups"),
        (p.list_datasets(), "datasets"), (p.list_dataset_import_jobs(), "datasetImportJobs"),
        (p.list_solutions(), "solutions"), (p.list_solution_versions(), "solutionVersions"),
        (p.list_batch_segment_jobs(), "batchSegmentJobs"))]


# operation, body, error, and parts that the message holds in this order
REQUESTS = [
    ("CreateSchema", {}, "InvalidInputException", ["2 validation errors detected: ", "'name'", NULL, "; ", "'schema'", NULL]),
    ("CreateSchema", {"name": "", "schema": "{}"}, "InvalidInputException", ["Value '' at 'name'", SHORT + "1"]),
    ("CreateSchema", {"name": "x" * 64, "schema": "{}"}, "InvalidInputException", [ONE, "'name'", LONG + "63"]),
    ("CreateSchema", {"name": "_x", "schema": "{}"}, "InvalidInputException", [ONE + "'_x' at 'name'", PATTERN]),
    ("CreateSchema", {"name": "x y", "schema": "{}"}, "InvalidInputException", [ONE + "'x y' at 'name'", PATTERN]),
    ("CreateSchema", {"name": "x\n", "schema": "{}"}, "InvalidInputException", ["at 'name'", PATTERN]),
    ("CreateSchema", {"name": "x", "schema": "x" * 20_001}, "InvalidInputException", ["at 'schema'", LONG + "20000"]),
    ("CreateSchema", {"name": "x", "schema": "{}", "domain": "BANKING"}, "InvalidInputException",
     [ONE + "'BANKING' at 'domain'", "Member must satisfy enum value set: [ECOMMERCE, VIDEO_ON_DEMAND]"]),
    ("CreateSchema", {"name": "x", "schema": "{"}, "InvalidInputException", []),
    ("CreateSchema", {"name": "x", "schema": schema_text("Movies", [{"name": "A", "type": "string"}])},
     "InvalidInputException", ["Movies"]),
    ("CreateSchema", {"name": "x", "schema": schema_text("Users", [{"name": "USER_ID", "type": "string"}])},
     "InvalidInputException", []),
    ("CreateSchema", {"name": "x", "schema": schema_text("Interactions", [
        {"name": "USER_ID", "type": "string"}, {"name": "TIMESTAMP", "type": "long"}])},
     "InvalidInputException", ["ITEM_ID"]),
    ("CreateSchema", {"name": "x", "schema": schema_text("Interactions", [
        {"name": "USER_ID", "type": "string"}, {"name": "ITEM_ID", "type": "string"},
        {"name": "TIMESTAMP", "type": "string"}])}, "InvalidInputException", ["TIMESTAMP"]),
    ("CreateSchema", {"name": "x", "schema": schema_text("Users", [
        {"name": "USER_ID", "type": "string"}, {"name": "A_B", "type": "int"}, {"name": "AB", "type": "int"}])},
     "InvalidInputException", ["AB"]),
    ("DescribeSchema", {"schemaArn": "nonsense"}, "InvalidInputException", [ONE + "'nonsense' at 'schemaArn'", PATTERN]),
    ("DescribeSchema", {"schemaArn": ARN + "schema/" + "x" * 256}, "InvalidInputException", ["'schemaArn'", LONG + "256"]),
    ("DescribeSchema", {"schemaArn": ARN + "schema/none"}, "ResourceNotFoundException",
     [f"Resource {ARN}schema/none does not exist."]),
    ("DescribeSchema", {"schemaArn": GROUP}, "ResourceNotFoundException", []),
    ("CreateDatasetGroup", {"name": "x", "roleArn": ROLE}, "InvalidInputException", []),
    ("CreateDatasetGroup", {"name": "x", "tags": [{"tagKey": "", "tagValue": "v"}]}, "InvalidInputException",
     ["'****'", SHORT + "1"]),
    ("CreateDatasetGroup", {"name": "x", "tags": [{"tagKey": "k"}]}, "InvalidInputException", ["tagValue", NULL]),
    ("CreateDataset", {"name": "x", "schemaArn": ARN + "schema/users-broken", "datasetGroupArn": GROUP,
                       "datasetType": "Actions"}, "InvalidInputException", []),
    ("CreateDataset", {"name": "x", "schemaArn": ARN + "schema/users-broken", "datasetGroupArn": GROUP,
                       "datasetType": "Items"}, "InvalidInputException", []),
    ("CreateDataset", {"name": "x", "schemaArn": ARN + "schema/none", "datasetGroupArn": GROUP,
                       "datasetType": "Users"}, "ResourceNotFoundException", ["schema/none"]),
    ("CreateDatasetImportJob", {"jobName": "x", "datasetArn": ARN + "dataset/group-broken/USERS", "roleArn": ROLE,
                                "dataSource": {}}, "InvalidInputException", ["Invalid Data location."]),
    ("CreateDatasetImportJob", {"jobName": "x", "datasetArn": ARN + "dataset/group-broken/USERS", "roleArn": ROLE,
                                "dataSource": {"dataLocation": "https://x/y"}}, "InvalidInputException",
     ["Invalid Data location."]),
    ("CreateDatasetImportJob", {"jobName": "x", "datasetArn": ARN + "dataset/group-broken/USERS", "roleArn": ROLE,
                                "dataSource": {"dataLocation": "s3://b/k"}, "importMode": "SOME"},
     "InvalidInputException", ["'importMode'", "[FULL, INCREMENTAL]"]),
    ("CreateDatasetImportJob", {"jobName": "x", "datasetArn": ARN + "dataset/group-broken/USERS", "roleArn": ROLE,
                                "dataSource": {"dataLocation": "s3://b/k"}, "publishAttributionMetricsToS3": True},
     "InvalidInputException", []),
    ("CreateSolution", {"name": "x", "datasetGroupArn": GROUP}, "InvalidInputException", ["recipeArn"]),
    ("CreateSolution", {"name": "x", "datasetGroupArn": ARN + "dataset-group/none",
                        "recipeArn": "arn:aws:personalize:::recipe/aws-item-affinity"},
     "ResourceNotFoundException", ["dataset-group/none"]),
    ("CreateSolutionVersion", {"solutionArn": SOLUTION, "trainingMode": "UPDATE"}, "InvalidInputException", []),
    ("CreateSolutionVersion", {"solutionArn": SOLUTION, "trainingMode": "HALF"}, "InvalidInputException", ["[FULL, UPDATE, AUTOTRAIN]"]),
    ("ListDatasets", {"maxResults": 0}, "InvalidInputException", [ONE + "'0' at 'maxResults'",
                                                                "Member must have value greater than or equal to 1"]),
    ("ListDatasets", {"maxResults": 101}, "InvalidInputException", ["Member must have value less than or equal to 100"]),
    ("ListDatasets", {"nextToken": "x"}, "InvalidNextTokenException", []),
    ("CreateBatchSegmentJob", {**JOB, "jobInput": {}}, "InvalidInputException", ["'jobInput.s3DataSource'", NULL]),
    ("CreateBatchSegmentJob", {**JOB, "jobOutput": {"s3DataDestination": {"path": "s3"}}}, "InvalidInputException",
     ["'s3' at 'jobOutput.s3DataDestination.path'", PATTERN]),
    ("CreateBatchSegmentJob", {**JOB, "roleArn": "arn:aws:iam::000000000000:user/x"}, "InvalidInputException",
     ["at 'roleArn'", PATTERN]),
    ("CreateBatchSegmentJob", JOB, "ResourceNotFoundException", [VERSION]),
]


def test_there_are_thirty_malformed_requests():
    assert len(REQUESTS) >= 30


@pytest.mark.parametrize("case", range(len(REQUESTS)))
def test_malformed_requests(broken, case):
    operation, body, kind, parts = REQUESTS[case]
    before = inventory(broken.p)
    answer = wire.call(broken.server, operation, body)
    assert (answer.status, answer.kind) == (400, kind), answer.body
    message = answer.json["message"]
    assert message, "a refusal says why"
    at = 0
    for part in parts:
        assert part in message[at:], message
        at = message.index(part, at) + len(part)
    assert inventory(broken.p) == before


HEADER = b"USER_ID,ITEM_ID,EVENT_TYPE,TIMESTAMP\n"
GOOD = b"u1,i1,click,1700000000\n"
ITEM_HEADER = b"ITEM_ID,GENRES,PRICE\n"
USER_HEADER = b"USER_ID,COUNTRY,AGE\n"


TIME = "long in Unix epoch seconds"
ID = "string of 1 to 256 characters in UTF-8"
MISSING = ", the value is missing"


def invalid(column, number, kind):
    return f"Invalid value for column {column} in {{file}} line {number}: expected {kind}"


# dataset, file content, and the failure's detail; {file} stands for the file's location
CSVS = [
    ("Interactions", b"", "Input CSV is missing the following columns: [USER_ID, ITEM_ID, EVENT_TYPE, TIMESTAMP]"),
    ("Interactions", GOOD, "Input CSV is missing the following columns: [USER_ID, ITEM_ID, EVENT_TYPE, TIMESTAMP]"),
    ("Interactions", b"USER_ID,ITEM_ID,TIMESTAMP\nu1,i1,1700000000\n",
     "Input CSV is missing the following columns: [EVENT_TYPE]"),
    ("Interactions", b"USER_ID;ITEM_ID;EVENT_TYPE;TIMESTAMP\nu1;i1;click;1700000000\n",
     "Input CSV is missing the following columns: [USER_ID, ITEM_ID, EVENT_TYPE, TIMESTAMP]"),
    ("Interactions", HEADER + b"u1,i1,click,yesterday\n", invalid("TIMESTAMP", 2, TIME)),
    ("Interactions", HEADER + GOOD + b"u1,i1,click,1700000000.5\n", invalid("TIMESTAMP", 3, TIME)),
    ("Interactions", HEADER + GOOD + GOOD + b"u1,i1,click,\n", invalid("TIMESTAMP", 4, TIME + MISSING)),
    ("Interactions", HEADER + b"u1,i1,click,99999999999999999999\n", invalid("TIMESTAMP", 2, TIME)),
    ("Interactions", HEADER + b",i1,click,1700000000\n", invalid("USER_ID", 2, ID + MISSING)),
    ("Interactions", HEADER + b"u1,,click,1700000000\n", invalid("ITEM_ID", 2, ID + MISSING)),
    ("Interactions", HEADER + b"u1,i1,,1700000000\n", invalid("EVENT_TYPE", 2, "string in UTF-8" + MISSING)),
    ("Interactions", HEADER + b"u" * 257 + b",i1,click,1700000000\n", invalid("USER_ID", 2, ID)),
    ("Interactions", HEADER + b"u1,i1,click\n",
     "Invalid row in {file} line 2: expected 4 columns, found 3"),
    ("Interactions", HEADER + b"u1,i1,click,1700000000,more\n",
     "Invalid row in {file} line 2: expected 4 columns, found 5"),
    ("Interactions", HEADER + b'"u1,i1,click,1700000000\n',
     "Invalid row in {file} line 2: a quoted value is not closed"),
    ("Interactions", HEADER + b"u1,\xff\xfe,click,1700000000\n", invalid("ITEM_ID", 2, ID)),
    ("Interactions", HEADER + GOOD * 3 + b"u1,i1,click,x\n" * 7,
     "; ".join(invalid("TIMESTAMP", number, TIME) for number in range(5, 10)) + "; 7 invalid rows in total"),
    ("Items", ITEM_HEADER + b"i1,Comedy,cheap\n", invalid("PRICE", 2, "float")),
    ("Items", ITEM_HEADER + b"i1,Comedy,inf\n", invalid("PRICE", 2, "float")),
    ("Items", ITEM_HEADER + b"i1," + b"g" * 1001 + b",5\n", "Length cannot be more than 1000 characters for GENRES in {file} line 2"),
    ("Users", USER_HEADER + b"u1,Japan,30\nu2,Chile,3x\n", invalid("AGE", 3, "int")),
    ("Users", USER_HEADER + b"u1,Japan,9999999999\n", invalid("AGE", 2, "int")),
]


def test_there_are_twenty_malformed_files():
    assert len(CSVS) >= 20


@pytest.mark.parametrize("case", range(len(CSVS)))
def test_malformed_csv_files(broken, case):
    kind, body, detail = CSVS[case]
    location = broken.put(f"bad/{case}.csv", body)
    failed = broken.await_import(broken.start_import(kind, location), until=("CREATE FAILED",))
    reason = failed["failureReason"]
    start = f"Failed to create a data import job for {kind} dataset {kind.lower()}-broken. "
    assert reason == start + detail.format(file=location)


@pytest.mark.parametrize("location", ["none.csv", "none/", "bad-folder"])
def test_a_location_without_data(broken, location):
    url = broken.url(location)
    failed = broken.await_import(broken.start_import("Users", url), until=("CREATE FAILED",))
    assert failed["failureReason"] == (
        f"Failed to create a data import job for Users dataset users-broken. No data found at {url}")


def test_failed_imports_left_the_data_as_they_were(broken):
    version = broken.start_training(broken.solution)
    broken.await_version(version)
    assert broken.segments("after", QUERIES, version=version) == broken.before


NOT_AN_OBJECT = "User error: Input line is not a valid JSON object"
REQUIRED = "User error: Required fields for the provided recipe are itemId"
# one input line and its error
LINES = [
    (b"not json", NOT_AN_OBJECT),
    (b"{", NOT_AN_OBJECT),
    (b'{"itemId": "i0"', NOT_AN_OBJECT),
    (b'{"itemId": "i0"} {"itemId": "i1"}', NOT_AN_OBJECT),
    (b'{"itemId": "i0",}', NOT_AN_OBJECT),
    (b"{'itemId': 'i0'}", NOT_AN_OBJECT),
    (b'{"itemId": i0}', NOT_AN_OBJECT),
    (b'"i0"', NOT_AN_OBJECT),
    (b"105", NOT_AN_OBJECT),
    (b"null", NOT_AN_OBJECT),
    (b'["i0"]', NOT_AN_OBJECT),
    (b'{"itemId": "tab\there"}', NOT_AN_OBJECT),
    (b"{}", REQUIRED),
    (b'{"itemID": "i0"}', REQUIRED),
    (b'{"itemId": null}', REQUIRED),
    (b'{"itemId": 1.5}', REQUIRED),
    (b'{"itemId": true}', REQUIRED),
    (b'{"itemId": ["i0"]}', REQUIRED),
    (b'{"itemId": {"id": "i0"}}', REQUIRED),
    (b'{"itemAttributes": "ITEMS.GENRES = \\"Comedy\\""}', REQUIRED),
    (b'{"itemId": "nope"}', "User error: Item nope was not present when the solution version was created"),
    (b'{"itemId": 105}', "User error: Item 105 was not present when the solution version was created"),
    (b'{"itemId": "I0"}', "User error: Item I0 was not present when the solution version was created"),
    (b'{"itemId": "\\u00fc\\""}', 'User error: Item ü" was not present when the solution version was created'),
]


def echo(text):
    """The line as it is echoed: itself when it is a JSON object, else as a JSON string."""
    try:
        if isinstance(json.loads(text), dict):
            return text
    except ValueError:
        pass
    return json.dumps(text, ensure_ascii=False)


def test_malformed_lines_stand_among_good_ones(broken):
    good = b'{"itemId": "i0"}'
    body = good + b"\n" + b"".join(text + b"\n" + good + b"\n" for text, _ in LINES)
    output = broken.segments("lines", body, num_results=2).decode()
    users = json.loads(output.splitlines()[0])["output"]["usersList"]
    assert len(users) == 2
    expected = line(good.decode(), users)
    for text, error in LINES:
        expected += line(echo(text.decode()), [], error) + line(good.decode(), users)
    assert output == expected


def test_a_line_that_is_too_long_and_one_that_is_not_utf_8(broken):
    long = b'{"itemId": "' + b"x" * 70_000 + b'"}'
    output = broken.segments("long", b'{"itemId": "i0"}\n' + long + b'\n{"itemId": "\xff"}\n{"itemId": "i1"}\n', 2)
    found = [json.loads(text) for text in output.decode().splitlines()]
    assert [row["error"] for row in found] == [None, NOT_AN_OBJECT, NOT_AN_OBJECT, None]


NOT_LINES = "Input {path} is not JSON Lines: expected one JSON object per line."
# input object, and the failure of the whole job; {path} stands for the input's location
INPUTS = [
    (b'[{"itemId": "i0"}]', NOT_LINES),
    (b'\n  [\n{"itemId": "i0"}]', NOT_LINES),
    (b'{\n  "itemId": "i0"\n}\n', NOT_LINES),
    (b"itemId\ni0\ni1\n", NOT_LINES),
    (b"\x1f\x8b\x08\x00garbage", NOT_LINES),
    (b'"i0"\n"i1"\n', NOT_LINES),
]


@pytest.mark.parametrize("case", range(len(INPUTS)))
def test_malformed_input_files(broken, case):
    body, reason = INPUTS[case]
    path = broken.put(f"bad-in/{case}.json", body)
    arn = broken.start_segments(path, broken.url(f"bad-out-{case}/"))
    failed = broken.await_segments(arn, until=("CREATE FAILED",))
    assert failed["failureReason"] == reason.format(path=path)
    assert [key for key in broken.keys(f"bad-out-{case}/") if not key.endswith("_CHECK")] == []


@pytest.mark.parametrize("source, target, reason", [
    ("in/none.json", "out/", "Invalid S3 input path: {source}. No object found."),
    ("none/", "out/", "Invalid S3 input path: {source}. No object found."),
    ("in/before.json", "s3://no-such-bucket/out/", "Invalid S3 output path: {target}."),
])
def test_places_that_do_not_exist(broken, source, target, reason):
    source = broken.url(source)
    target = target if target.startswith("s3:") else broken.url("never-" + target)
    arn = broken.start_segments(source, target)
    failed = broken.await_segments(arn, until=("CREATE FAILED",))
    assert failed["failureReason"] == reason.format(source=source, target=target)


def test_everything_still_works_afterwards(broken):
    """The last test of this file: the world that met all of the above answers as before."""
    assert broken.segments("at-last", QUERIES) == broken.before
    location = broken.put("data/again.csv", csv(broken.data["Users"]))
    broken.await_import(broken.start_import("Users", location))
    assert [key for key in broken.keys("never-out/") if not key.endswith("_CHECK")] == []
