"""Access keys with rights of their own, sessions of roles, and the audit log.

The operator's key of the credentials file may do everything. Users' keys may do what their policies
say, on every plane; their change counts from the next request on.
"""

import configparser
import datetime
import json
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from kindred_server import ACCOUNT, REGION, ROLE, run_program
from test_rights import allow, deny, document
from world import World, lines_of

ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"
TRUST = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}
DENIED = ("AccessDenied", "AccessDeniedException")


def connect(server, service, credentials, **config):
    """A client with these keys: (id, secret) or the Credentials of a session."""
    if isinstance(credentials, dict):
        credentials = [credentials[name] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    return boto3.Session(region_name=REGION, **dict(zip(names, credentials))).client(
        service, endpoint_url=server.endpoint, config=Config(retries={"total_max_attempts": 1}, **config))


def code_of(call, *args, **more):
    """The error code of a call that has to fail."""
    with pytest.raises(ClientError) as caught:
        call(*args, **more)
    return caught.value.response["Error"]["Code"]


def make_user(world, name, *policies, attach=()):
    """A user with inline policies and attached ones; returns (key id, secret)."""
    world.iam.create_user(UserName=name)
    for number, statements in enumerate(policies):
        world.iam.put_user_policy(UserName=name, PolicyName=f"p{number}", PolicyDocument=document(*statements))
    for arn in attach:
        world.iam.attach_user_policy(UserName=name, PolicyArn=arn)
    key = world.iam.create_access_key(UserName=name)["AccessKey"]
    assert key["Status"] == "Active" and key["UserName"] == name
    return key["AccessKeyId"], key["SecretAccessKey"]


@pytest.fixture(scope="module")
def world(servers):
    """Two dataset groups of one server that enforces roles; the first has a trained version."""
    world = World(servers(args=("--set", "roles.mode=enforced")), "access", kinds=("Interactions",)).train()
    world.iam = world.server.client("iam")
    world.other = world.p.create_dataset_group(name="other")["datasetGroupArn"]
    world.put("in/q.json", lines_of([{"itemId": "i1"}]))
    return world


def test_a_user_without_rights_may_only_ask_who_it_is(world):
    keys = make_user(world, "nobody")
    found = connect(world.server, "sts", keys).get_caller_identity()
    assert found["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/nobody" and found["UserId"].startswith("AIDA")
    personalize, s3, iam = (connect(world.server, name, keys) for name in ("personalize", "s3", "iam"))
    with pytest.raises(ClientError) as caught:
        personalize.list_schemas()
    answer = caught.value.response
    assert answer["Error"]["Code"] == "AccessDeniedException"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert f"user/nobody is not authorized to perform: personalize:ListSchemas" in answer["Error"]["Message"]
    with pytest.raises(ClientError) as caught:
        s3.list_objects_v2(Bucket=world.bucket)
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == ("AccessDenied", 403)
    for call in (s3.list_buckets, iam.list_roles, iam.list_users, iam.get_user,
                 lambda: iam.create_access_key(UserName="nobody"),
                 lambda: iam.attach_user_policy(UserName="nobody", PolicyArn=ADMINISTRATOR),
                 lambda: s3.get_object(Bucket=world.bucket, Key="in/q.json"),
                 lambda: s3.put_object(Bucket=world.bucket, Key="mine", Body=b""),
                 lambda: s3.delete_object(Bucket=world.bucket, Key="in/q.json"),
                 lambda: s3.delete_objects(Bucket=world.bucket, Delete={"Objects": [{"Key": "in/q.json"}]}),
                 lambda: s3.delete_bucket_policy(Bucket=world.bucket),
                 lambda: s3.create_bucket(Bucket="bucket-mine")):
        assert code_of(call) in DENIED
    assert world.get("in/q.json")


def test_an_administrator_may_do_everything(world):
    keys = make_user(world, "admin", attach=[ADMINISTRATOR])
    personalize, s3, iam = (connect(world.server, name, keys) for name in ("personalize", "s3", "iam"))
    group = personalize.create_dataset_group(name="by-admin")["datasetGroupArn"]
    personalize.delete_dataset_group(datasetGroupArn=group)
    s3.put_object(Bucket=world.bucket, Key="by-admin", Body=b"x")
    iam.create_user(UserName="by-admin")
    iam.delete_user(UserName="by-admin")
    assert iam.get_user()["User"]["UserName"] == "admin"
    # A bucket's policy binds an administrator, as on AWS, and not the operator.
    world.s3.put_bucket_policy(Bucket=world.bucket, Policy=document(
        {**deny(["s3:GetObject"], f"{world.bucket}/*"), "Principal": "*"}))
    try:
        assert code_of(s3.get_object, Bucket=world.bucket, Key="by-admin") == "AccessDenied"
        assert world.get("by-admin") == b"x"
    finally:
        world.s3.delete_bucket_policy(Bucket=world.bucket)
    assert s3.get_object(Bucket=world.bucket, Key="by-admin")["Body"].read() == b"x"


def test_a_reader_reads_and_changes_nothing(world):
    keys = make_user(world, "reader", attach=[READ_ONLY])
    personalize, s3, iam = (connect(world.server, name, keys) for name in ("personalize", "s3", "iam"))
    assert personalize.describe_solution(solutionArn=world.solution)["solution"]["name"]
    assert personalize.list_dataset_groups()["datasetGroups"]
    assert personalize.get_solution_metrics(solutionVersionArn=world.version)["metrics"]
    assert s3.get_object(Bucket=world.bucket, Key="in/q.json")["Body"].read()
    assert s3.list_objects_v2(Bucket=world.bucket)["KeyCount"]
    assert iam.list_roles()["Roles"]
    for call in (lambda: personalize.create_dataset_group(name="by-reader"),
                 lambda: personalize.delete_solution(solutionArn=world.solution),
                 lambda: personalize.tag_resource(resourceArn=world.solution, tags=[{"tagKey": "a", "tagValue": "b"}]),
                 lambda: personalize.create_solution_version(solutionArn=world.solution),
                 lambda: s3.put_object(Bucket=world.bucket, Key="by-reader", Body=b""),
                 lambda: s3.copy_object(Bucket=world.bucket, Key="by-reader",
                                        CopySource={"Bucket": world.bucket, "Key": "in/q.json"}),
                 lambda: s3.create_multipart_upload(Bucket=world.bucket, Key="by-reader"),
                 lambda: iam.create_access_key(UserName="reader"),
                 lambda: iam.create_user(UserName="by-reader")):
        assert code_of(call) in DENIED


def test_one_dataset_group(world):
    may_pass = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": f"arn:aws:iam::{ACCOUNT}:role/of-one"}
    keys = make_user(world, "one", [
        {"Effect": "Allow", "Action": "personalize:*", "Resource": "*",
         "Condition": {"StringEquals": {"kindred:DatasetGroup": "group-access"}}},
        {"Effect": "Allow", "Action": ["personalize:ListRecipes", "personalize:DescribeRecipe",
                                       "personalize:CreateSchema"], "Resource": "*"}, may_pass])
    personalize = connect(world.server, "personalize", keys)
    assert personalize.list_recipes()["recipes"]
    assert personalize.list_solutions(datasetGroupArn=world.group)["solutions"]
    assert personalize.describe_dataset_group(datasetGroupArn=world.group)["datasetGroup"]["name"]
    assert personalize.describe_solution_version(solutionVersionArn=world.version)["solutionVersion"]
    assert personalize.describe_dataset(datasetArn=world.datasets["Interactions"])["dataset"]
    for call in (personalize.list_solutions, personalize.list_dataset_groups, personalize.list_schemas,
                 lambda: personalize.list_solutions(datasetGroupArn=world.other),
                 lambda: personalize.describe_dataset_group(datasetGroupArn=world.other),
                 lambda: personalize.delete_dataset_group(datasetGroupArn=world.other),
                 lambda: personalize.create_dataset_group(name="a-third"),
                 lambda: personalize.describe_solution(solutionArn=world.solution + "-not"),
                 lambda: personalize.create_solution(
                     name="in-other", datasetGroupArn=world.other,
                     recipeArn="arn:aws:personalize:::recipe/aws-item-affinity")):
        assert code_of(call) == "AccessDeniedException"

    def segments(role, name):
        return personalize.create_batch_segment_job(
            jobName=name, solutionVersionArn=world.version, roleArn=role,
            jobInput={"s3DataSource": {"path": world.url("in/q.json")}},
            jobOutput={"s3DataDestination": {"path": world.url(f"out-{name}/")}})["batchSegmentJobArn"]

    # The ready role reaches every bucket: whoever could pass it would, too.
    with pytest.raises(ClientError, match="iam:PassRole"):
        segments(ROLE, "with-all-rights")
    with pytest.raises(ClientError, match="iam:PassRole on resource: \\*"):
        personalize.create_dataset_import_job(
            jobName="without-role", datasetArn=world.datasets["Interactions"],
            dataSource={"dataLocation": world.url("data/interactions.csv")})
    world.iam.create_role(RoleName="of-one", AssumeRolePolicyDocument=document(
        {**TRUST, "Principal": {"Service": "personalize.amazonaws.com"}}))
    world.iam.put_role_policy(RoleName="of-one", PolicyName="p", PolicyDocument=document(
        allow(["s3:*"], world.bucket, f"{world.bucket}/*")))
    arn = segments(f"arn:aws:iam::{ACCOUNT}:role/of-one", "with-few")
    world.await_segments(arn)
    assert personalize.describe_batch_segment_job(batchSegmentJobArn=arn)["batchSegmentJob"]["jobName"] == "with-few"
    assert personalize.list_batch_segment_jobs(solutionVersionArn=world.version)["batchSegmentJobs"]


def test_the_services_own_policy_lets_pass_roles(world):
    keys = make_user(world, "personalizer", attach=["arn:aws:iam::aws:policy/AmazonPersonalizeFullAccess"])
    job = connect(world.server, "personalize", keys).create_batch_segment_job(
        jobName="by-personalizer", solutionVersionArn=world.version, roleArn=ROLE,
        jobInput={"s3DataSource": {"path": world.url("in/q.json")}},
        jobOutput={"s3DataDestination": {"path": world.url("out-personalizer/")}})["batchSegmentJobArn"]
    world.await_segments(job)
    assert code_of(connect(world.server, "s3", keys).list_objects_v2, Bucket=world.bucket) == "AccessDenied"


def test_s3_rights_reach_as_far_as_their_keys(world):
    keys = make_user(world, "uploader", [
        allow(["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"], f"{world.bucket}/up/*"),
        {**allow(["s3:ListBucket"], world.bucket), "Condition": {"StringLike": {"s3:prefix": "up/*"}}}])
    s3 = connect(world.server, "s3", keys)
    s3.put_object(Bucket=world.bucket, Key="up/a", Body=b"a")
    assert s3.get_object(Bucket=world.bucket, Key="up/a")["Body"].read() == b"a"
    assert s3.list_objects_v2(Bucket=world.bucket, Prefix="up/")["KeyCount"] == 1
    s3.copy_object(Bucket=world.bucket, Key="up/b", CopySource={"Bucket": world.bucket, "Key": "up/a"})
    for call in (lambda: s3.put_object(Bucket=world.bucket, Key="up", Body=b""),
                 lambda: s3.put_object(Bucket=world.bucket, Key="upper", Body=b""),
                 lambda: s3.list_objects_v2(Bucket=world.bucket),
                 lambda: s3.list_objects_v2(Bucket=world.bucket, Prefix="in/"),
                 lambda: s3.copy_object(Bucket=world.bucket, Key="up/stolen",
                                        CopySource={"Bucket": world.bucket, "Key": "in/q.json"}),
                 lambda: s3.delete_object(Bucket=world.bucket, Key="up/a"),
                 lambda: s3.delete_objects(Bucket=world.bucket, Delete={"Objects": [{"Key": "up/a"}]})):
        assert code_of(call) == "AccessDenied"
    url = s3.generate_presigned_url("get_object", {"Bucket": world.bucket, "Key": "in/q.json"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(url)
    # A bucket's policy opens what the user's own policies do not.
    world.s3.put_bucket_policy(Bucket=world.bucket, Policy=document(
        {**allow(["s3:GetObject"], f"{world.bucket}/in/*"), "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/uploader"}}))
    try:
        assert s3.get_object(Bucket=world.bucket, Key="in/q.json")["Body"].read()
    finally:
        world.s3.delete_bucket_policy(Bucket=world.bucket)


def test_keys_are_rotated_switched_off_and_deleted_without_a_restart(world):
    old = make_user(world, "rotated", attach=[READ_ONLY])
    new = world.iam.create_access_key(UserName="rotated")["AccessKey"]
    new = new["AccessKeyId"], new["SecretAccessKey"]
    assert code_of(world.iam.create_access_key, UserName="rotated") == "LimitExceeded"
    listed = world.iam.list_access_keys(UserName="rotated")["AccessKeyMetadata"]
    assert sorted(entry["AccessKeyId"] for entry in listed) == sorted([old[0], new[0]])
    assert all("SecretAccessKey" not in entry for entry in listed)
    for keys in (old, new):
        connect(world.server, "personalize", keys).list_schemas()
    world.iam.update_access_key(UserName="rotated", AccessKeyId=old[0], Status="Inactive")
    assert code_of(connect(world.server, "personalize", old).list_schemas) == "UnrecognizedClientException"
    assert code_of(connect(world.server, "s3", old).list_buckets) == "InvalidAccessKeyId"
    assert code_of(connect(world.server, "sts", old).get_caller_identity) == "InvalidClientTokenId"
    world.iam.update_access_key(UserName="rotated", AccessKeyId=old[0], Status="Active")
    connect(world.server, "personalize", old).list_schemas()
    assert code_of(world.iam.delete_access_key, UserName="reader-not", AccessKeyId=old[0]) == "NoSuchEntity"
    world.iam.delete_access_key(UserName="rotated", AccessKeyId=old[0])
    assert code_of(connect(world.server, "personalize", old).list_schemas) == "UnrecognizedClientException"
    personalize = connect(world.server, "personalize", new)
    personalize.list_schemas()
    world.iam.detach_user_policy(UserName="rotated", PolicyArn=READ_ONLY)
    assert code_of(personalize.list_schemas) == "AccessDeniedException"
    assert code_of(world.iam.delete_user, UserName="rotated") == "DeleteConflict"
    world.iam.delete_access_key(UserName="rotated", AccessKeyId=new[0])
    world.iam.delete_user(UserName="rotated")
    assert code_of(world.iam.get_user, UserName="rotated") == "NoSuchEntity"


def test_the_operators_key_is_replaced_in_its_file(fresh):
    server = fresh()
    old = server.keys
    server.credentials_file.write_text(
        "[default]\naws_access_key_id = AKIAREPLACED\naws_secret_access_key = another-secret\n")
    server.client("personalize").list_schemas()
    assert code_of(connect(server, "personalize", old).list_schemas) == "UnrecognizedClientException"


def make_role(world, name, trust, *statements, **more):
    arn = world.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust), **more)["Role"]["Arn"]
    if statements:
        world.iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document(*statements))
    return arn


def test_a_session_has_the_rights_of_its_role(world):
    role = make_role(world, "reader-of-in", TRUST, allow(["s3:GetObject"], f"{world.bucket}/in/*"))
    sts = world.server.client("sts")
    got = sts.assume_role(RoleArn=role, RoleSessionName="me", DurationSeconds=900)
    session = got["Credentials"]
    left = session["Expiration"] - datetime.datetime.now(datetime.timezone.utc)
    assert 800 < left.total_seconds() <= 900 and session["AccessKeyId"].startswith("ASIA")
    assert got["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/reader-of-in/me"
    assert connect(world.server, "sts", session).get_caller_identity()["Arn"] == got["AssumedRoleUser"]["Arn"]
    s3 = connect(world.server, "s3", session, signature_version="s3v4")
    assert s3.get_object(Bucket=world.bucket, Key="in/q.json")["Body"].read()
    url = s3.generate_presigned_url("get_object", {"Bucket": world.bucket, "Key": "in/q.json"})
    assert urllib.request.urlopen(url).read()
    assert code_of(s3.put_object, Bucket=world.bucket, Key="in/new", Body=b"") == "AccessDenied"
    assert code_of(connect(world.server, "personalize", session).list_schemas) == "AccessDeniedException"
    # Without its token, or with another's, a session's key is nothing.
    bare = (session["AccessKeyId"], session["SecretAccessKey"])
    forged = {**session, "SessionToken": session["SessionToken"][:-4] + "AAAA"}
    for keys in (bare, forged):
        assert code_of(connect(world.server, "s3", keys).get_object, Bucket=world.bucket, Key="in/q.json") == "InvalidToken"
        assert code_of(connect(world.server, "personalize", keys).list_schemas) == "UnrecognizedClientException"
        assert code_of(connect(world.server, "sts", keys).get_caller_identity) == "InvalidClientTokenId"
    # What is taken from the role is taken from its sessions.
    world.iam.delete_role_policy(RoleName="reader-of-in", PolicyName="p")
    assert code_of(s3.get_object, Bucket=world.bucket, Key="in/q.json") == "AccessDenied"


def test_who_may_assume_a_role(world):
    nobody = make_user(world, "assumes-nothing")
    somebody = make_user(world, "assumes", [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}])
    of_account = make_role(world, "of-account", TRUST)
    of_user = make_role(world, "of-user", {**TRUST, "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/assumes-nothing"}})
    with_id = make_role(world, "with-id", {**TRUST, "Condition": {"StringEquals": {"sts:ExternalId": "42"}}})

    def assume(keys, role, **more):
        client = connect(world.server, "sts", keys) if keys else world.server.client("sts")
        return client.assume_role(RoleArn=role, RoleSessionName="me", **more)["Credentials"]

    assume(None, of_account)
    assume(somebody, of_account)
    assert code_of(assume, nobody, of_account) == "AccessDenied"
    assume(nobody, of_user)
    assert code_of(assume, somebody, of_user) == "AccessDenied"
    assert code_of(assume, None, with_id) == "AccessDenied"
    assume(None, with_id, ExternalId="42")
    # The ready role trusts the service and nobody else.
    assert code_of(assume, None, ROLE) == "AccessDenied"
    assert code_of(assume, None, f"arn:aws:iam::{ACCOUNT}:role/nobody") == "AccessDenied"
    assert code_of(assume, None, of_account, DurationSeconds=3601) == "ValidationError"
    long = make_role(world, "long", TRUST, {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"},
                     MaxSessionDuration=43200)
    session = assume(None, long, DurationSeconds=43200)
    assert code_of(assume, session, long, DurationSeconds=3601) == "ValidationError"
    assume(session, long, DurationSeconds=3600)
    assert code_of(assume, None, of_account, Policy=document(allow(["s3:*"], "*"))) == "ValidationError"


def test_sessions_outlive_a_restart(fresh):
    server = fresh()
    iam = server.client("iam")
    role = iam.create_role(RoleName="lasting", AssumeRolePolicyDocument=document(TRUST))["Role"]["Arn"]
    iam.attach_role_policy(RoleName="lasting", PolicyArn=READ_ONLY)
    session = server.client("sts").assume_role(RoleArn=role, RoleSessionName="me")["Credentials"]
    server.kill()
    server.start()
    connect(server, "personalize", session).list_schemas()


def test_the_audit_log_says_who_did_what(world):
    keys = make_user(world, "watched", attach=[READ_ONLY])
    personalize = connect(world.server, "personalize", keys)
    secret = "tag-value-to-hide"
    assert code_of(personalize.create_dataset_group, name="by-watched",
                   tags=[{"tagKey": "k", "tagValue": secret}]) == "AccessDeniedException"
    answer = personalize.describe_solution(solutionArn=world.solution)
    connect(world.server, "s3", keys).get_object(Bucket=world.bucket, Key="in/q.json")
    job = world.start_segments(world.url("in/q.json"), world.url("out-watched/"))
    world.await_segments(job)
    directory = world.server.data_dir / "audit"
    text = (directory / "audit.jsonl").read_text()
    assert directory.stat().st_mode & 0o777 == 0o700
    lines = [json.loads(line) for line in text.splitlines()]
    own = [line for line in lines if line.get("access_key") == keys[0]]
    assert all(line["caller"] == f"arn:aws:iam::{ACCOUNT}:user/watched" and line["time"] for line in own)
    denied, read, fetched = own
    assert denied["action"] == "personalize:CreateDatasetGroup" and denied["outcome"] == "AccessDeniedException"
    assert denied["resource"].endswith(":dataset-group/by-watched")
    assert denied["parameters"] == {"name": "by-watched", "tags": "****"}
    assert read["action"] == "personalize:DescribeSolution" and read["outcome"] == "Success"
    assert read["resource"] == world.solution
    assert read["request_id"] == answer["ResponseMetadata"]["RequestId"]
    assert (fetched["action"], fetched["resource"]) == ("s3:GetObject", f"arn:aws:s3:::{world.bucket}/in/q.json")
    made = [line for line in lines if line["action"] == "iam:CreateAccessKey"]
    assert any(line["resource"].endswith(":user/watched") for line in made)
    of_job = {(line["action"], line["resource"].split(":::")[1], line["outcome"])
              for line in lines if line.get("job") == job}
    assert ("s3:GetObject", f"{world.bucket}/in/q.json", "Success") in of_job
    assert ("s3:PutObject", f"{world.bucket}/out-watched/q.json.out", "Success") in of_job
    assert {line["caller"] for line in lines if line.get("job") == job} == {ROLE}
    assert secret not in text and keys[1] not in text


def profiles(text):
    """The profiles of a text in the credentials format: name -> (key id, secret)."""
    parser = configparser.ConfigParser()
    parser.read_string(text)
    return {name: (parser[name]["aws_access_key_id"], parser[name]["aws_secret_access_key"])
            for name in parser.sections()}


def test_the_program_makes_lists_rotates_and_deletes_keys(world):
    def access(*args, code=0):
        done = run_program("access", *args, "--data-dir", world.server.data_dir)
        assert done.returncode == code, done.stderr
        return done.stderr if code else done.stdout

    made = profiles(access("create", "shop-team", "--rights", "dataset-group:group-access",
                           "--rights", f"bucket:{world.bucket}"))
    old = made["shop-team"]
    personalize = connect(world.server, "personalize", old)
    assert personalize.list_solutions(datasetGroupArn=world.group)["solutions"]
    assert code_of(personalize.list_dataset_groups) == "AccessDeniedException"
    assert connect(world.server, "s3", old).list_objects_v2(Bucket=world.bucket)["KeyCount"]
    assert code_of(connect(world.server, "s3", old).list_buckets) == "AccessDenied"
    reader = profiles(access("create", "looks", "--rights", "read-only"))["looks"]
    connect(world.server, "personalize", reader).list_dataset_groups()
    listed = access("list")
    assert f"shop-team: bucket:{world.bucket}, dataset-group:group-access\n    {old[0]}  Active" in listed
    assert f"looks: read-only\n    {reader[0]}  Active" in listed and old[1] not in listed

    new = profiles(access("rotate", "shop-team"))["shop-team"]
    assert new != old and code_of(personalize.list_recipes) == "UnrecognizedClientException"
    both = profiles(access("rotate", "shop-team", "--keep-old"))["shop-team"]
    for keys in (new, both):
        connect(world.server, "personalize", keys).list_recipes()
    access("disable", "shop-team")
    for keys in (new, both):
        assert code_of(connect(world.server, "personalize", keys).list_recipes) == "UnrecognizedClientException"
    access("enable", "shop-team")
    connect(world.server, "personalize", both).list_recipes()
    access("delete", "shop-team")
    assert code_of(connect(world.server, "personalize", both).list_recipes) == "UnrecognizedClientException"
    assert "shop-team" not in access("list")

    assert "NoSuchEntity" in access("rotate", "shop-team", code=1)
    assert "EntityAlreadyExists" in access("create", "looks", "--rights", "administrator", code=1)
    assert "dataset-group:NAME" in access("create", "x", "--rights", "everything", code=2)
    access("delete", "looks")


def test_keys_of_users_need_rights_on_customer_keys(world):
    s3, key, other = (world.server.client("s3"), *(
        world.server.client("kms").create_key()["KeyMetadata"]["Arn"] for _ in range(2)))
    s3.create_bucket(Bucket="sealed")
    sealed = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
    s3.put_object(Bucket="sealed", Key="a", Body=b"secret", **sealed)
    buckets = allow(["s3:*"], "*")
    without = make_user(world, "without-keys", [buckets])
    writer = make_user(world, "key-writer", [buckets, {**buckets, "Action": ["kms:GenerateDataKey"], "Resource": key}])
    reader = make_user(world, "key-reader",
                       [buckets, {**buckets, "Action": ["kms:Decrypt", "kms:DescribeKey"], "Resource": key}])

    client = connect(world.server, "s3", without)
    assert code_of(client.get_object, Bucket="sealed", Key="a") in DENIED
    assert code_of(client.put_object, Bucket="sealed", Key="b", Body=b"x", **sealed) in DENIED
    assert code_of(client.copy_object, Bucket="sealed", Key="c", CopySource="sealed/a") in DENIED
    client.put_object(Bucket="sealed", Key="plain", Body=b"x")
    client = connect(world.server, "s3", writer)
    client.put_object(Bucket="sealed", Key="b", Body=b"x", **sealed)
    assert code_of(client.get_object, Bucket="sealed", Key="b") in DENIED
    assert code_of(client.put_object, Bucket="sealed", Key="b", Body=b"x", ServerSideEncryption="aws:kms",
                   SSEKMSKeyId=other) in DENIED
    client = connect(world.server, "s3", reader)
    assert client.get_object(Bucket="sealed", Key="a")["Body"].read() == b"secret"
    assert code_of(client.put_object, Bucket="sealed", Key="a", Body=b"x", **sealed) in DENIED
    assert {entry["Key"] for entry in s3.list_objects_v2(Bucket="sealed")["Contents"]} == {"a", "b", "plain"}

    kms = connect(world.server, "kms", reader)
    assert kms.describe_key(KeyId=key.rpartition("/")[2])["KeyMetadata"]["Arn"] == key
    for call, arguments in ((kms.create_key, {}), (kms.disable_key, {"KeyId": key}), (kms.list_keys, {}),
                            (kms.describe_key, {"KeyId": other}),
                            (kms.generate_data_key, {"KeyId": key, "KeySpec": "AES_256"})):
        assert code_of(call, **arguments) == "AccessDeniedException"
    wrapped = world.server.client("kms").encrypt(KeyId=other, Plaintext=b"x")["CiphertextBlob"]
    assert code_of(kms.decrypt, CiphertextBlob=wrapped) == "AccessDeniedException"
