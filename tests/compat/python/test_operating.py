"""Rates, the strict mode and private files, on running servers."""

import os

import pytest
from botocore.exceptions import ClientError

from kindred_server import ROLE, wait
from world import World, lines_of


def code_of(call):
    """The error code of a call that is refused, with its message."""
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def until_refused(call, most=50):
    """Calls until it is refused; the error code and message."""
    for _ in range(most):
        try:
            call()
        except ClientError as error:
            found = error.response["Error"]
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            return found["Code"], found["Message"], status
    raise AssertionError(f"{most} calls went through")


def test_every_plane_has_a_rate(fresh):
    server = fresh(args=["--set", "requests.per_second=0.001", "--set", "requests.burst=3",
                         "--set", "requests.s3_per_second=0.001", "--set", "requests.s3_burst=3"])
    text = "The limit on the number of requests per second has been exceeded."
    personalize = server.client("personalize")
    assert until_refused(personalize.list_schemas) == ("ThrottlingException", text, 400)
    assert code_of(lambda: personalize.create_dataset_group(name="g")) == ("LimitExceededException", text)
    # The other planes have their own.
    found = until_refused(server.client("sts").get_caller_identity)
    assert found == ("Throttling", "Rate exceeded", 400)
    found = until_refused(server.client("iam").list_roles, most=1)
    assert found == ("Throttling", "Rate exceeded", 400)
    found = until_refused(server.client("s3").list_buckets)
    assert found == ("SlowDown", "Please reduce your request rate.", 503)


def test_the_strict_mode_is_the_original_with_every_key_still_free(fresh):
    server = fresh(args=["--set", "quotas.mode=aws", "--set", "quotas.segment_lines_item_affinity=3"])
    world = World(server, "strict").train()
    personalize = server.client("personalize")
    for number in range(4):
        personalize.create_dataset_group(name=f"g{number}")
    assert code_of(lambda: personalize.create_dataset_group(name="more")) == (
        "LimitExceededException", "More than 5 dataset groups.")
    world.segments("few", lines_of([{"itemId": "i1"}] * 3))
    server.client("s3").put_object(Bucket=world.bucket, Key="in/many.json",
                                   Body=lines_of([{"itemId": "i1"}] * 4))
    job = personalize.create_batch_segment_job(
        jobName="many", solutionVersionArn=world.version, roleArn=ROLE,
        jobInput={"s3DataSource": {"path": f"s3://{world.bucket}/in/many.json"}},
        jobOutput={"s3DataDestination": {"path": f"s3://{world.bucket}/out/"}})["batchSegmentJobArn"]
    found = wait(lambda: personalize.describe_batch_segment_job(batchSegmentJobArn=job),
                 "batchSegmentJob", until=("CREATE FAILED",))
    assert found["failureReason"] == (
        f"Input file s3://{world.bucket}/in/many.json has more than 3 lines.")


def test_everything_in_a_used_data_directory_is_private(fresh):
    before = os.umask(0)
    try:
        server = fresh()
    finally:
        os.umask(before)
    world = World(server, "private").train()
    world.segments("q", lines_of([{"itemId": "i1"}]))
    seen = 0
    for folder, folders, files in os.walk(server.data_dir):
        for name in [".", *folders, *files]:
            path = os.path.join(folder, name)
            try:
                mode = os.lstat(path).st_mode & 0o777
            except FileNotFoundError:
                continue  # A job's scratch file that went meanwhile.
            assert mode & 0o077 == 0, f"{path} has mode {mode:o}"
            seen += 1
    assert seen > 20
