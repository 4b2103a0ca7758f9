"""Every error that CreateBatchSegmentJob declares, caught by its modeled class, and the limits."""

import pytest
from botocore.exceptions import ClientError

from kindred_server import ACCOUNT, ROLE
from world import World, csv, rows, schema_text

ARN = f"arn:aws:personalize:us-east-1:{ACCOUNT}:"
# Settings by their environment variables (see `kindred config --defaults`).
RATE = "KINDRED_REQUESTS_PER_SECOND"
BURST = "KINDRED_REQUESTS_BURST"
QUOTA_SCHEMAS = "KINDRED_QUOTAS_SCHEMAS"
QUOTA_SEGMENT_JOBS = "KINDRED_QUOTAS_PENDING_SEGMENT_JOBS"


def request(world, **changes):
    """A good request with the given members replaced; None removes one."""
    good = {"jobName": "never-made", "solutionVersionArn": world.version, "numResults": 5,
            "roleArn": ROLE, "jobInput": {"s3DataSource": {"path": world.url("in/x.json")}},
            "jobOutput": {"s3DataDestination": {"path": world.url("out-x/")}}}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def source(path, **more):
    return {"s3DataSource": {"path": path, **more}}


def target(path, **more):
    return {"s3DataDestination": {"path": path, **more}}


@pytest.mark.parametrize("changes, words", [
    ({"numResults": 0}, "numResults"),
    ({"numResults": -1}, "numResults"),
    ({"numResults": 5_000_001}, "numResults"),
    ({"jobName": "x" * 64}, "Member must have length less than or equal to 63"),
    ({"jobName": "-x"}, "Member must satisfy regular expression pattern"),
    ({"roleArn": "arn:aws:iam::1:role/x"}, "'roleArn'"),
    ({"solutionVersionArn": "arn:aws:s3:::x"}, "'solutionVersionArn'"),
    ({"jobInput": source("ftp://bucket/key")}, "'jobInput.s3DataSource.path'"),
    ({"jobInput": source("http://bucket/key")}, "http://bucket/key"),
    ({"jobInput": source("s3://b/" + "k" * 300)}, "Member must have length less than or equal to 256"),
    ({"jobOutput": target("https://bucket/out/")}, "https://bucket/out/"),
    ({"jobInput": source("s3://b/in/"), "jobOutput": target("s3://b/in/")}, "s3://b/in/"),
    ({"jobInput": source("s3://b/in/"), "jobOutput": target("s3://b/in/deeper/")}, "s3://b/in/"),
    ({"filterArn": "arn:aws:s3:::x"}, "'filterArn'"),
    ({"jobInput": source("s3://b/in.json", kmsKeyArn="key/one")}, "kmsKeyArn"),
    ({"jobOutput": target("s3://b/out/", kmsKeyArn="key/one")}, "kmsKeyArn"),
    ({"tags": [{"tagKey": "aws:mine", "tagValue": "x"}]}, "aws:"),
    ({"tags": [{"tagKey": "a", "tagValue": "x"}, {"tagKey": "a", "tagValue": "y"}]}, "tag"),
])
def test_invalid_input(world, changes, words):
    with pytest.raises(world.p.exceptions.InvalidInputException) as caught:
        world.p.create_batch_segment_job(**request(world, **changes))
    message = caught.value.response["Error"]["Message"]
    assert words.lower() in message.lower()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert caught.value.response["ResponseMetadata"]["RequestId"]
    missing = ARN + "batch-segment-job/never-made"
    with pytest.raises(world.p.exceptions.ResourceNotFoundException):
        world.p.describe_batch_segment_job(batchSegmentJobArn=missing)


def test_a_failed_version_is_invalid_input(world):
    solution = world.make_solution("no-such-events", eventType="no-such-event")
    version = world.start_training(solution)
    failed = world.await_version(version, until=("CREATE FAILED",))
    assert failed["failureReason"] == (
        "Dataset has fewer than 1000 interactions after filtering by event type: no-such-event")
    with pytest.raises(world.p.exceptions.InvalidInputException):
        world.p.create_batch_segment_job(**request(world, solutionVersionArn=version))
    with pytest.raises(world.p.exceptions.InvalidInputException):
        world.p.get_solution_metrics(solutionVersionArn=version)


@pytest.mark.parametrize("arn", [
    ARN + "solution/none/0123abcd", "arn:aws:personalize:us-east-1:999999999999:solution/solution-shared/0123abcd",
    "arn:aws:personalize:eu-west-1:000000000000:solution/solution-shared/0123abcd", "SOLUTION"])
def test_resource_not_found(world, arn):
    arn = world.solution if arn == "SOLUTION" else arn
    with pytest.raises(world.p.exceptions.ResourceNotFoundException):
        world.p.create_batch_segment_job(**request(world, solutionVersionArn=arn))


def test_resource_already_exists(world):
    world.await_segments(world.start_segments(
        world.put("in/taken.json", b'{"itemId": "i0"}'), world.url("out-taken/"), name="taken"))
    with pytest.raises(world.p.exceptions.ResourceAlreadyExistsException) as caught:
        world.p.create_batch_segment_job(**request(world, jobName="taken"))
    assert caught.value.response["Error"]["Message"].startswith(
        f"Another resource with Arn {ARN}batch-segment-job/taken already exists.")


def test_resource_in_use(world):
    """The last of several versions is still waiting or training when the job is asked for."""
    solution = world.make_solution("in-use")
    versions = [world.start_training(solution) for _ in range(3)]
    with pytest.raises(world.p.exceptions.ResourceInUseException):
        world.p.create_batch_segment_job(**request(world, solutionVersionArn=versions[-1]))
    with pytest.raises(world.p.exceptions.ResourceInUseException):
        world.p.get_solution_metrics(solutionVersionArn=versions[-1])
    with pytest.raises(world.p.exceptions.ResourceInUseException):
        world.p.delete_solution(solutionArn=solution)
    for version in versions:
        world.await_version(version)


def test_too_many_tags(world):
    tags = [{"tagKey": f"key-{i}", "tagValue": "x"} for i in range(51)]
    with pytest.raises(world.p.exceptions.TooManyTagsException):
        world.p.create_batch_segment_job(**request(world, tags=tags))


def test_limit_exceeded_by_the_request_rate(fresh):
    """The rate's own error where the operation declares it, throttling elsewhere."""
    p = fresh({RATE: "1", BURST: "3"}).client("personalize")
    seen = []
    for _ in range(8):
        try:
            p.create_batch_segment_job(
                jobName="x", solutionVersionArn=ARN + "solution/none/0123abcd", roleArn=ROLE,
                jobInput=source("s3://b/in.json"), jobOutput=target("s3://b/out/"))
        except p.exceptions.LimitExceededException:
            seen.append("limit")
        except p.exceptions.ResourceNotFoundException:
            seen.append("not found")
    assert seen[0] == "not found" and seen.count("limit") >= 3
    with pytest.raises(ClientError) as caught:
        for _ in range(8):
            p.list_recipes()
    assert caught.value.response["Error"]["Code"] == "ThrottlingException"


def test_limit_exceeded_by_a_configured_quota(fresh):
    p = fresh({QUOTA_SCHEMAS: "2"}).client("personalize")
    for number in range(2):
        p.create_schema(name=f"s{number}", schema=schema_text("Users"))
    with pytest.raises(p.exceptions.LimitExceededException):
        p.create_schema(name="s2", schema=schema_text("Users"))
    assert len(p.list_schemas()["schemas"]) == 2
    p.delete_schema(schemaArn=ARN + "schema/s0")
    p.create_schema(name="s2", schema=schema_text("Users"))


def test_limit_exceeded_by_pending_segment_jobs(fresh):
    world = World(fresh({QUOTA_SEGMENT_JOBS: "1"}), "quota", kinds=("Interactions",)).train()
    location = world.put("in/long.json", b'{"itemId": "i0"}\n' * 300_000)
    first = world.start_segments(location, world.url("out/"))
    with pytest.raises(world.p.exceptions.LimitExceededException):
        world.start_segments(location, world.url("out-2/"))
    world.await_segments(first)
    world.await_segments(world.start_segments(location, world.url("out-3/")))


def test_too_little_data_is_a_failure_with_its_reason(fresh):
    world = World(fresh(), "little", kinds=("Interactions",)).make_datasets()
    header, *events = rows()["Interactions"]
    cases = [
        (events[:999], "Dataset has fewer than 1000 interactions"),
        ([f"u{n % 24},i{n % 40},click,{1_700_000_000 + n}" for n in range(1200)],
         "Dataset has fewer than 25 users with at least 2 interactions each."),
        # 25 users with two interactions, as there must be, but among 2,501 users.
        ([f"u{n % 2501},i{n % 40},click,{1_700_000_000 + n}" for n in range(2526)],
         "Dataset has fewer than 1 percent of its users with at least 2 interactions each."),
        # The same rows again are the same interactions.
        (events[:600] * 2, "Dataset has fewer than 1000 interactions"),
    ]
    solution = world.make_solution()
    for number, (part, reason) in enumerate(cases):
        location = world.put(f"data/{number}.csv", csv([header, *part]))
        world.await_import(world.start_import("Interactions", location))
        failed = world.await_version(world.start_training(solution), until=("CREATE FAILED",))
        assert failed["failureReason"].startswith(reason)
    enough = [f"u{n % 30},i{n % 40},click,{1_700_000_000 + n}" for n in range(1200)]
    location = world.put("data/enough.csv", csv([header, *enough]))
    world.await_import(world.start_import("Interactions", location))
    world.await_version(world.start_training(solution))
