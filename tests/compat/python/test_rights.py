"""Roles as jobs meet them: one right changed at a time against a job that works.

The server enforces roles. Every refusal ends in the sentence about privileges, and in no object at
the output, `_CHECK` included.
"""

import json

import pytest

from kindred_server import ACCOUNT, ROLE, run_program
from world import World, lines_of

TRUST = {"Effect": "Allow", "Principal": {"Service": "personalize.amazonaws.com"},
         "Action": "sts:AssumeRole"}
GET, LIST, PUT = "s3:GetObject", "s3:ListBucket", "s3:PutObject"
SOURCE, TARGET = "bucket-rights", "bucket-rights-out"
QUERY = lines_of([{"itemId": "i1"}, {"itemId": "i2"}])


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(actions, *resources):
    return {"Effect": "Allow", "Action": actions, "Resource": [f"arn:aws:s3:::{name}" for name in resources]}


def deny(actions, *resources):
    return {**allow(actions, *resources), "Effect": "Deny"}


WHOLE = [allow([GET], f"{SOURCE}/in/*"), allow([LIST], SOURCE), allow([PUT], f"{TARGET}/*")]


@pytest.fixture(scope="module")
def enforced(servers):
    """A trained world on a server that enforces roles, and a second bucket for outputs."""
    world = World(servers(args=("--set", "roles.mode=enforced")), "rights").train()
    world.s3.create_bucket(Bucket=TARGET)
    world.put("in/q.json", QUERY)
    world.iam = world.server.client("iam")
    world.roles = 0
    return world


def make_role(world, statements, trust=TRUST):
    """A role with these rights; returns its ARN."""
    world.roles += 1
    name = f"role-{world.roles}"
    arn = world.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    if statements:
        world.iam.put_role_policy(RoleName=name, PolicyName="rights", PolicyDocument=document(*statements))
    return arn


def run(world, role, source=f"s3://{SOURCE}/in/q.json", until=("ACTIVE", "CREATE FAILED"), key=None):
    """Runs a job under the role; returns its record and the keys it left at its output."""
    world.jobs += 1
    folder = f"out-{world.jobs}/"
    arn = world.p.create_batch_segment_job(
        jobName=f"rights-{world.jobs}", solutionVersionArn=world.version, roleArn=role, numResults=5,
        jobInput={"s3DataSource": {"path": source}},
        jobOutput={"s3DataDestination": {"path": f"s3://{TARGET}/{folder}",
                                         **({"kmsKeyArn": key} if key else {})}})["batchSegmentJobArn"]
    job = world.await_segments(arn, until)
    listed = world.s3.list_objects_v2(Bucket=TARGET, Prefix=folder).get("Contents", [])
    return job, [entry["Key"].removeprefix(folder) for entry in listed]


def assert_works(world, role, **more):
    job, keys = run(world, role, **more)
    assert job["status"] == "ACTIVE", job.get("failureReason")
    assert keys == ["_CHECK", "q.json.out"]


def assert_denied(world, role, operation, **more):
    job, keys = run(world, role, **more)
    assert job["status"] == "CREATE FAILED"
    reason = job["failureReason"]
    assert reason.startswith("Insufficient privileges for accessing data in Amazon S3. "), reason
    assert f" {operation} on s3://" in reason and reason.endswith(" was denied."), reason
    assert keys == []


def test_a_role_with_all_rights_and_the_ready_role_work(enforced):
    assert_works(enforced, make_role(enforced, WHOLE))
    assert_works(enforced, ROLE)


@pytest.mark.parametrize("name, statements, operation", [
    ("no rights at all", [], LIST),
    ("no GetObject", [WHOLE[1], WHOLE[2]], GET),
    ("no ListBucket", [WHOLE[0], WHOLE[2]], LIST),
    ("no PutObject", [WHOLE[0], WHOLE[1]], PUT),
    ("GetObject on other keys", [allow([GET], f"{SOURCE}/other/*"), *WHOLE[1:]], GET),
    ("GetObject on another bucket", [allow([GET], f"{TARGET}/*"), *WHOLE[1:]], GET),
    ("PutObject on another bucket", [*WHOLE[:2], allow([PUT], f"{SOURCE}/*")], PUT),
    ("PutObject on the bucket, not its objects", [*WHOLE[:2], allow([PUT], TARGET)], PUT),
    ("an explicit deny of reading", [*WHOLE, deny(["s3:Get*"], f"{SOURCE}/in/q.json")], GET),
    ("an explicit deny of writing", [*WHOLE, deny(["s3:*"], f"{TARGET}/*")], PUT),
    ("a deny of the output only, not of the test", [*WHOLE, deny([PUT], f"{TARGET}/*.out")], PUT),
    ("a condition that does not hold", [*WHOLE[:2], {
        **WHOLE[2], "Condition": {"StringEquals": {"aws:SourceAccount": "111111111111"}}}], PUT),
])
def test_a_missing_right_ends_the_job_before_it_writes(enforced, name, statements, operation):
    assert_denied(enforced, make_role(enforced, statements), operation)


@pytest.mark.parametrize("statements", [
    [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
    [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
    [{"Effect": "Allow", "NotAction": "s3:Delete*", "Resource": "*"}],
    [{**statement, "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}, "ArnLike": {
        "aws:SourceArn": f"arn:aws:personalize:*:{ACCOUNT}:batch-segment-job/*"}}} for statement in WHOLE],
])
def test_wider_rights_work_too(enforced, statements):
    assert_works(enforced, make_role(enforced, statements))


def test_unknown_and_untrusted_roles(enforced):
    assert_denied(enforced, f"arn:aws:iam::{ACCOUNT}:role/nobody", LIST)
    assert_denied(enforced, f"arn:aws:iam::{ACCOUNT}:role/other/path/kindred", LIST)
    assert_denied(enforced, "arn:aws:iam::111111111111:role/kindred", LIST)
    for principal in ({"Service": "glue.amazonaws.com"}, {"AWS": ACCOUNT}):
        assert_denied(enforced, make_role(enforced, WHOLE, {**TRUST, "Principal": principal}), LIST)
    refusing = {**TRUST, "Condition": {"StringEquals": {"aws:SourceAccount": "111111111111"}}}
    assert_denied(enforced, make_role(enforced, WHOLE, refusing), LIST)


def test_a_key_needs_rights_of_its_own(enforced):
    key, other = (enforced.server.client("kms").create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    on_key = {"Effect": "Allow", "Action": ["kms:GenerateDataKey", "kms:Decrypt"], "Resource": key}
    for rights, asked in (([], key), ([on_key], other), ([{**on_key, "Action": "kms:Decrypt"}], key),
                          ([on_key, {**on_key, "Effect": "Deny"}], key)):
        job, keys = run(enforced, make_role(enforced, [*WHOLE, *rights]), key=asked)
        assert job["status"] == "CREATE FAILED" and keys == []
        assert job["failureReason"].startswith(
            "Insufficient privileges for accessing data in Amazon S3. "
            f"kms:GenerateDataKey on {asked} was denied"), job["failureReason"]
    assert_works(enforced, make_role(enforced, [*WHOLE, on_key]), key=key)
    assert_works(enforced, ROLE, key=key)


def test_managed_policies_count(enforced):
    role = make_role(enforced, [])
    enforced.iam.attach_role_policy(RoleName=role.rsplit("/")[-1],
                                    PolicyArn="arn:aws:iam::aws:policy/AmazonPersonalizeFullAccess")
    # On AWS, too, that policy reaches only buckets with Personalize in their names.
    assert_denied(enforced, role, LIST)
    enforced.iam.attach_role_policy(RoleName=role.rsplit("/")[-1],
                                    PolicyArn="arn:aws:iam::aws:policy/AmazonS3FullAccess")
    assert_works(enforced, role)


def test_rights_are_read_when_the_job_runs(enforced):
    role = make_role(enforced, WHOLE)
    name = role.rsplit("/")[-1]
    assert_works(enforced, role)
    enforced.iam.put_role_policy(RoleName=name, PolicyName="rights", PolicyDocument=document(*WHOLE[1:]))
    assert_denied(enforced, role, GET)
    enforced.iam.put_role_policy(RoleName=name, PolicyName="rights", PolicyDocument=document(*WHOLE))
    assert_works(enforced, role)
    untrusting = document({**TRUST, "Principal": {"Service": "glue.amazonaws.com"}})
    enforced.iam.update_assume_role_policy(RoleName=name, PolicyDocument=untrusting)
    assert_denied(enforced, role, LIST)


@pytest.mark.parametrize("bucket, statement, role_statements, operation", [
    (SOURCE, {**deny([GET], f"{SOURCE}/in/*"), "Principal": "*"}, WHOLE, GET),
    (SOURCE, {**deny([LIST], SOURCE), "Principal": {"Service": "personalize.amazonaws.com"}}, WHOLE, LIST),
    (TARGET, {**deny([PUT], f"{TARGET}/*"), "Principal": {"AWS": ACCOUNT}}, WHOLE, PUT),
    (TARGET, {**deny(["s3:*"], f"{TARGET}/*"), "NotPrincipal": {"AWS": ROLE}}, WHOLE, PUT),
    (SOURCE, {**allow([GET], f"{SOURCE}/in/*"), "Principal": "*"}, WHOLE[1:], None),
    (SOURCE, {**allow([GET], f"{SOURCE}/in/*"), "Principal": {"Service": "personalize.amazonaws.com"}}, WHOLE[1:], None),
    (TARGET, {**allow([PUT], f"{TARGET}/*"), "Principal": {"AWS": "*"}}, WHOLE[:2], None),
    # An account's name leaves it to the account's own policies.
    (TARGET, {**allow([PUT], f"{TARGET}/*"), "Principal": {"AWS": ACCOUNT}}, WHOLE[:2], PUT),
])
def test_bucket_policies_grant_and_deny(enforced, bucket, statement, role_statements, operation):
    role = make_role(enforced, role_statements)
    enforced.s3.put_bucket_policy(Bucket=bucket, Policy=document(statement))
    try:
        if operation is None:
            assert_works(enforced, role)
        else:
            assert_denied(enforced, role, operation)
    finally:
        enforced.s3.delete_bucket_policy(Bucket=bucket)


def test_a_bucket_policy_names_one_role(enforced):
    one, other = make_role(enforced, WHOLE[1:]), make_role(enforced, WHOLE[1:])
    enforced.s3.put_bucket_policy(Bucket=SOURCE, Policy=document(
        {**allow([GET], f"{SOURCE}/in/*"), "Principal": {"AWS": one}}))
    try:
        assert_works(enforced, one)
        assert_denied(enforced, other, GET)
    finally:
        enforced.s3.delete_bucket_policy(Bucket=SOURCE)


def test_imports_act_as_their_role(enforced):
    def run_import(role):
        enforced.jobs += 1
        arn = enforced.p.create_dataset_import_job(
            jobName=f"rights-{enforced.jobs}", datasetArn=enforced.datasets["Users"],
            dataSource={"dataLocation": f"s3://{SOURCE}/data/users.csv"},
            **({"roleArn": role} if role else {}))["datasetImportJobArn"]
        return enforced.await_import(arn, ("ACTIVE", "CREATE FAILED"))

    read = [allow([GET], f"{SOURCE}/data/*"), allow([LIST], SOURCE)]
    assert run_import(make_role(enforced, read))["status"] == "ACTIVE"
    for role, operation in ((make_role(enforced, read[:1]), LIST), (make_role(enforced, read[1:]), GET),
                            (f"arn:aws:iam::{ACCOUNT}:role/nobody", LIST)):
        job = run_import(role)
        assert job["status"] == "CREATE FAILED"
        assert "Insufficient privileges for accessing data in Amazon S3." in job["failureReason"]
        assert f"{operation} on s3://{SOURCE}/" in job["failureReason"]


def test_buckets_that_are_not_there(enforced):
    everything = make_role(enforced, [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}])
    job, keys = run(enforced, everything, "s3://no-such-bucket/in/q.json")
    assert (job["status"], keys) == ("CREATE FAILED", [])
    assert job["failureReason"] == "Invalid S3 input path: s3://no-such-bucket/in/q.json. No object found."
    # Whoever has no rights there does not learn whether it is there.
    assert_denied(enforced, make_role(enforced, WHOLE), LIST, source="s3://no-such-bucket/in/q.json")
    assert_denied(enforced, make_role(enforced, WHOLE), LIST, source=f"s3://{TARGET}/q.json")


def test_open_roles_do_not_start_beyond_loopback(tmp_path):
    done = run_program("serve", "--data-dir", tmp_path / "data", "--listen", "0.0.0.0:0",
                       "--set", "roles.mode=open", timeout=30)
    assert done.returncode == 1 and "roles.mode = open" in done.stderr
    done = run_program("serve", "--data-dir", tmp_path / "data", "--set", "roles.mode=perhaps", timeout=30)
    assert done.returncode == 2 and "roles.mode: expected open, enforced" in done.stderr


def test_documents_that_cannot_be_evaluated_are_refused(enforced):
    unknown = {**WHOLE[0], "Condition": {"DateLessThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}}}
    with pytest.raises(enforced.iam.exceptions.MalformedPolicyDocumentException, match="DateLessThan"):
        make_role(enforced, [unknown])
    with pytest.raises(enforced.s3.exceptions.ClientError, match="MalformedPolicy.*DateLessThan"):
        enforced.s3.put_bucket_policy(Bucket=SOURCE, Policy=document({**unknown, "Principal": "*"}))


def test_an_open_server_acts_with_its_own_rights(servers):
    world = World(servers(), "open").train()
    world.s3.create_bucket(Bucket=TARGET)
    world.s3.create_bucket(Bucket=SOURCE)
    world.s3.put_object(Bucket=SOURCE, Key="in/q.json", Body=QUERY)
    assert_works(world, f"arn:aws:iam::{ACCOUNT}:role/nobody")
    assert_works(world, ROLE)
