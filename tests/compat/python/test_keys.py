"""Customer keys: the key service, encrypted objects, and jobs and dataset groups with a key."""

import json
import os
import pathlib
import sqlite3

import pyarrow
import pyarrow.parquet
import pytest
import safetensors
from botocore.exceptions import ClientError

from kindred_server import ACCOUNT, REGION, ROLE, run_program, wait
from world import ITEMS, World, assert_sensible, lines_of

PRIVILEGES = "Insufficient privileges for accessing data in Amazon S3. "
QUERIES = lines_of({"itemId": f"i{i}"} for i in range(ITEMS))


def arn(key_id):
    return f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{key_id}"


NOBODYS = arn("00000000-0000-4000-8000-000000000000")


def new_key(server, description=""):
    return server.client("kms").create_key(Description=description)["KeyMetadata"]["Arn"]


def code(caught):
    return caught.value.response["Error"]["Code"]


def files_below(folder):
    return [path for path in pathlib.Path(folder).rglob("*") if path.is_file()]


def files_with(folder, text):
    """The files that have the text in them, as their paths below the folder."""
    return sorted(str(path.relative_to(folder)) for path in files_below(folder)
                  if text in path.read_bytes())


# The key service.

def test_keys_from_their_making_on(server):
    kms = server.client("kms")
    made = kms.create_key(Description="for segments")["KeyMetadata"]
    assert made["Arn"] == arn(made["KeyId"]) and made["AWSAccountId"] == ACCOUNT
    assert made["Enabled"] and made["KeyState"] == "Enabled" and made["Description"] == "for segments"
    for name in (made["KeyId"], made["Arn"]):
        assert kms.describe_key(KeyId=name)["KeyMetadata"] == made
    assert {"KeyId": made["KeyId"], "KeyArn": made["Arn"]} in kms.list_keys()["Keys"]
    kms.disable_key(KeyId=made["KeyId"])
    assert kms.describe_key(KeyId=made["KeyId"])["KeyMetadata"]["KeyState"] == "Disabled"
    kms.enable_key(KeyId=made["Arn"])
    assert kms.describe_key(KeyId=made["KeyId"])["KeyMetadata"] == made


def test_pages_of_keys(fresh):
    server = fresh()
    kms = server.client("kms")
    made = [new_key(server) for _ in range(5)]
    pages = [page["Keys"] for page in kms.get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 2})]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [key["KeyArn"] for page in pages for key in page] == made
    with pytest.raises(kms.exceptions.InvalidMarkerException):
        kms.list_keys(Marker="nobody")


def test_encrypt_and_decrypt(server):
    kms = server.client("kms")
    one, two = new_key(server), new_key(server)
    context = {"department": "marketing"}
    sealed = kms.encrypt(KeyId=one, Plaintext=b"secret", EncryptionContext=context)
    assert sealed["KeyId"] == one and b"secret" not in sealed["CiphertextBlob"]
    blob = sealed["CiphertextBlob"]
    opened = kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)
    assert opened["Plaintext"] == b"secret" and opened["KeyId"] == one
    assert kms.decrypt(KeyId=one, CiphertextBlob=blob, EncryptionContext=context)["Plaintext"] == b"secret"
    flipped = blob[:-1] + bytes([blob[-1] ^ 1])
    for wrong in ({"CiphertextBlob": blob}, {"CiphertextBlob": blob, "EncryptionContext": {"department": "x"}},
                  {"CiphertextBlob": flipped, "EncryptionContext": context},
                  {"CiphertextBlob": b"nonsense", "EncryptionContext": context},
                  {"CiphertextBlob": blob, "EncryptionContext": context, "KeyId": two}):
        with pytest.raises(kms.exceptions.InvalidCiphertextException):
            kms.decrypt(**wrong)
    # A rotation makes nothing unreadable, and a disabled key opens nothing.
    kms.rotate_key_on_demand(KeyId=one)
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)["Plaintext"] == b"secret"
    again = kms.encrypt(KeyId=one, Plaintext=b"secret", EncryptionContext=context)["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=again, EncryptionContext=context)["Plaintext"] == b"secret"
    kms.disable_key(KeyId=one)
    for call in (lambda: kms.decrypt(CiphertextBlob=blob, EncryptionContext=context),
                 lambda: kms.encrypt(KeyId=one, Plaintext=b"x"),
                 lambda: kms.generate_data_key(KeyId=one, KeySpec="AES_256"),
                 lambda: kms.rotate_key_on_demand(KeyId=one)):
        with pytest.raises(kms.exceptions.DisabledException):
            call()


def test_data_keys(server):
    kms = server.client("kms")
    key = new_key(server)
    for asked, length in (({"KeySpec": "AES_256"}, 32), ({"KeySpec": "AES_128"}, 16), ({"NumberOfBytes": 64}, 64)):
        made = kms.generate_data_key(KeyId=key, EncryptionContext={"a": "b"}, **asked)
        assert len(made["Plaintext"]) == length and made["KeyId"] == key
        opened = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext={"a": "b"})
        assert opened["Plaintext"] == made["Plaintext"]
    hidden = kms.generate_data_key_without_plaintext(KeyId=key, KeySpec="AES_256")
    assert "Plaintext" not in hidden
    assert len(kms.decrypt(CiphertextBlob=hidden["CiphertextBlob"])["Plaintext"]) == 32


def test_what_the_key_service_refuses(server):
    kms = server.client("kms")
    key = new_key(server)
    with pytest.raises(kms.exceptions.NotFoundException):
        kms.describe_key(KeyId=NOBODYS)
    with pytest.raises(kms.exceptions.NotFoundException):
        kms.encrypt(KeyId="alias/nobody", Plaintext=b"x")
    for call, expected in (
            (lambda: kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048"), "UnsupportedOperationException"),
            (lambda: kms.create_key(Policy="{}"), "UnsupportedOperationException"),
            (lambda: kms.create_key(Tags=[{"TagKey": "a", "TagValue": "b"}]), "UnsupportedOperationException"),
            (lambda: kms.encrypt(KeyId=key, Plaintext=b"x", DryRun=True), "UnsupportedOperationException"),
            (lambda: kms.encrypt(KeyId=key, Plaintext=b"x" * 4097), "ValidationException"),
            (lambda: kms.generate_data_key(KeyId=key), "ValidationException"),
            (lambda: kms.schedule_key_deletion(KeyId=key), "UnknownOperationException")):
        with pytest.raises(ClientError) as caught:
            call()
        assert code(caught) == expected, caught.value
    with pytest.raises(ClientError) as caught:
        server.client("kms", keys=(server.keys[0], "wrong")).list_keys()
    assert code(caught) == "InvalidSignatureException"


def test_keys_at_the_command_line(fresh):
    server = fresh()

    def keys(*args):
        return run_program("keys", *args, "--data-dir", server.data_dir)

    made = keys("create", "--description", "for segments")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    listed = keys("list").stdout.splitlines()
    assert [line.split(None, 2) for line in listed] == [[key, "Enabled", "for segments"]]
    assert keys("disable", key).returncode == 0
    assert keys("list").stdout.split()[1] == "Disabled"
    refused = keys("rotate", key)
    assert refused.returncode == 1 and "DisabledException" in refused.stderr
    for done in (keys("enable", key.rsplit("/", 1)[1]), keys("rotate", key)):
        assert done.returncode == 0, done.stderr
    unknown = keys("disable", NOBODYS)
    assert unknown.returncode == 1 and "NotFoundException" in unknown.stderr
    # Acknowledged means kept, through a kill.
    server.kill()
    server.start()
    assert keys("list").stdout.splitlines() == listed


# The master key.

def test_a_master_key_from_elsewhere(fresh, tmp_path):
    text = "5a" * 32
    given = tmp_path / "master.txt"
    given.write_text(text + "\n")
    given.chmod(0o600)
    server = fresh(args=["--set", f"kms.master_key_file={given}"])
    key = new_key(server)
    assert not (server.data_dir / "master.key").exists()
    assert (server.data_dir / "keys.ring").stat().st_mode & 0o777 == 0o600
    server.stop()
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "kindred-master-key").write_text(text)
    (credentials / "kindred-master-key").chmod(0o400)
    for args, env in (([], {"KINDRED_MASTER_KEY": text}), ([], {"CREDENTIALS_DIRECTORY": str(credentials)})):
        server.args, server.env = args, env
        server.start()
        assert server.client("kms").describe_key(KeyId=key)["KeyMetadata"]["Enabled"]
        server.stop()

    def refused(args=(), env=None):
        before = len(server.log_tail(1 << 20))
        server.args, server.env = list(args), env or {}
        with pytest.raises(RuntimeError):
            server.start()
        return server.log_tail(1 << 20)[before:]

    assert "there is none" in refused()
    assert "cannot be opened" in refused(env={"KINDRED_MASTER_KEY": "00" * 32})
    assert "KINDRED_MASTER_KEY: expected a master key" in refused(env={"KINDRED_MASTER_KEY": "short"})
    assert "does not exist" in refused(["--set", f"kms.master_key_file={tmp_path}/nothing"])
    given.chmod(0o644)
    assert "can be read by others" in refused(["--set", f"kms.master_key_file={given}"])


def test_the_master_key_of_its_own_is_private(fresh):
    server = fresh()
    assert not (server.data_dir / "master.key").exists()
    new_key(server)
    own = server.data_dir / "master.key"
    assert own.stat().st_mode & 0o777 == 0o600
    server.stop()
    own.chmod(0o640)
    with pytest.raises(RuntimeError, match="can be read by others"):
        server.start()


# A key service elsewhere.

def test_a_key_service_elsewhere(fresh):
    keeper = fresh()
    key = new_key(keeper)
    server = fresh(args=["--set", f"kms.endpoint={keeper.endpoint}",
                         "--set", f"kms.credentials_file={keeper.credentials_file}"])
    s3, kms = server.client("s3"), keeper.client("kms")
    s3.create_bucket(Bucket="demo")
    put = s3.put_object(Bucket="demo", Key="a", Body=SECRET, ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    assert put["SSEKMSKeyId"] == key
    assert files_with(server.data_dir, b"user-4711") == []
    assert not (server.data_dir / "keys.ring").exists() and not (server.data_dir / "master.key").exists()
    assert s3.get_object(Bucket="demo", Key="a")["Body"].read() == SECRET
    p = server.client("personalize")
    p.create_dataset_group(name="elsewhere", kmsKeyArn=key, roleArn=ROLE)
    with pytest.raises(p.exceptions.InvalidInputException, match="the key does not exist"):
        p.create_dataset_group(name="nobodys", kmsKeyArn=NOBODYS, roleArn=ROLE)
    kms.disable_key(KeyId=key)
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket="demo", Key="a")
    assert code(caught) == "KMS.DisabledException"
    kms.enable_key(KeyId=key)
    with pytest.raises(ClientError) as caught:
        server.client("kms").create_key()
    assert code(caught) == "UnsupportedOperationException"
    keeper.stop()
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket="demo", Key="a")
    assert code(caught) == "ServiceUnavailable"
    server.stop()
    for wrong in (["--set", "kms.endpoint=https://127.0.0.1:1"], ["--set", "kms.endpoint=127.0.0.1:1"],
                  ["--set", "kms.endpoint=http://127.0.0.1:1", "--set", "kms.credentials_file=/nothing"]):
        server.args = wrong
        with pytest.raises(RuntimeError, match="kms\\."):
            server.start()


# Objects.

SECRET = b"user-4711," * 1000


def test_an_encrypted_object(fresh):
    server = fresh()
    s3, kms = server.client("s3"), server.client("kms")
    key = new_key(server)
    s3.create_bucket(Bucket="demo")
    asked = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
    put = s3.put_object(Bucket="demo", Key="a", Body=SECRET, **asked)
    plain = s3.put_object(Bucket="demo", Key="plain", Body=b"nothing to hide", Metadata={"kept": "yes"})
    assert put["ServerSideEncryption"] == "aws:kms" and put["SSEKMSKeyId"] == key
    assert "ServerSideEncryption" not in plain
    assert files_with(server.data_dir, b"user-4711") == []
    assert len(files_with(server.data_dir, b"nothing to hide")) == 1
    for answer in (s3.get_object(Bucket="demo", Key="a"), s3.head_object(Bucket="demo", Key="a")):
        assert answer["ServerSideEncryption"] == "aws:kms" and answer["SSEKMSKeyId"] == key
        assert answer["ContentLength"] == len(SECRET) and answer["ETag"] == put["ETag"]
    assert s3.get_object(Bucket="demo", Key="a")["Body"].read() == SECRET
    part = s3.get_object(Bucket="demo", Key="a", Range="bytes=5000-5009")["Body"].read()
    assert part == SECRET[5000:5010]
    # A copy is encrypted if it says so, and only then.
    copied = s3.copy_object(Bucket="demo", Key="b", CopySource="demo/a",
                            ServerSideEncryption="aws:kms", SSEKMSKeyId=key.rsplit("/", 1)[1])
    assert copied["SSEKMSKeyId"] == key
    assert s3.get_object(Bucket="demo", Key="b")["Body"].read() == SECRET
    assert files_with(server.data_dir, b"user-4711") == []
    s3.copy_object(Bucket="demo", Key="c", CopySource="demo/b")
    assert "ServerSideEncryption" not in s3.head_object(Bucket="demo", Key="c")
    assert len(files_with(server.data_dir, b"user-4711")) == 1

    kms.disable_key(KeyId=key)
    for call in (lambda: s3.get_object(Bucket="demo", Key="a"),
                 lambda: s3.copy_object(Bucket="demo", Key="d", CopySource="demo/a"),
                 lambda: s3.put_object(Bucket="demo", Key="d", Body=b"x", **asked)):
        with pytest.raises(ClientError) as caught:
            call()
        assert code(caught) == "KMS.DisabledException", caught.value
    assert s3.get_object(Bucket="demo", Key="plain")["Body"].read() == b"nothing to hide"
    assert "d" not in [entry["Key"] for entry in s3.list_objects_v2(Bucket="demo")["Contents"]]
    kms.enable_key(KeyId=key)
    assert s3.get_object(Bucket="demo", Key="a")["Body"].read() == SECRET


def test_an_encrypted_upload_in_parts(fresh):
    server = fresh()
    s3 = server.client("s3")
    key = new_key(server)
    s3.create_bucket(Bucket="demo")
    parts = [SECRET * 600, SECRET]
    begun = s3.create_multipart_upload(Bucket="demo", Key="a", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    assert begun["SSEKMSKeyId"] == key
    upload = {"Bucket": "demo", "Key": "a", "UploadId": begun["UploadId"]}
    tags = []
    for number, body in enumerate(parts, 1):
        part = s3.upload_part(**upload, PartNumber=number, Body=body)
        assert part["SSEKMSKeyId"] == key
        tags.append({"PartNumber": number, "ETag": part["ETag"]})
    done = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": tags})
    assert done["SSEKMSKeyId"] == key
    assert files_with(server.data_dir, b"user-4711") == []
    assert s3.get_object(Bucket="demo", Key="a")["Body"].read() == b"".join(parts)
    assert s3.get_object(Bucket="demo", Key="a", PartNumber=2)["Body"].read() == parts[1]


def test_what_encryption_refuses(server):
    # A PUT that is refused before its body is read ends the connection; clients try again.
    s3 = server.client("s3", retries={"total_max_attempts": 5})
    s3.create_bucket(Bucket="refusals")
    key = new_key(server)
    for asked, expected in (
            ({"ServerSideEncryption": "AES256"}, "NotImplemented"),
            ({"ServerSideEncryption": "aws:kms:dsse", "SSEKMSKeyId": key}, "NotImplemented"),
            ({"ServerSideEncryption": "aws:kms"}, "InvalidArgument"),
            ({"SSEKMSKeyId": key}, "InvalidArgument"),
            ({"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key, "BucketKeyEnabled": True}, "NotImplemented"),
            ({"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key, "SSEKMSEncryptionContext": "e30="},
             "NotImplemented"),
            ({"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": NOBODYS}, "KMS.NotFoundException")):
        with pytest.raises(ClientError) as caught:
            s3.put_object(Bucket="refusals", Key="a", Body=b"x", **asked)
        assert code(caught) == expected, (asked, caught.value)
    assert "Contents" not in s3.list_objects_v2(Bucket="refusals")


# Jobs.

def job_with(world, name, source_key=None, target_key=None):
    """Starts a segment job over a small input; keys where they are given."""
    source = {"path": world.url("in/keys.json")}
    target = {"path": world.url(f"{name}/")}
    if source_key:
        source["kmsKeyArn"] = source_key
    if target_key:
        target["kmsKeyArn"] = target_key
    return world.p.create_batch_segment_job(
        jobName=f"{world.name}-{name}", solutionVersionArn=world.version, roleArn=ROLE, numResults=10,
        jobInput={"s3DataSource": source}, jobOutput={"s3DataDestination": target})["batchSegmentJobArn"]


def assert_fails(world, job, reason, folder):
    failed = world.await_segments(job, until=("CREATE FAILED",))
    assert failed["failureReason"] == PRIVILEGES + reason
    assert world.keys(folder) == []


def test_a_segment_job_with_keys(fresh):
    # A server of its own: the blobs of others would have the same lines.
    world = World(fresh(), "sealed").train()
    kms = world.server.client("kms")
    key, other = new_key(world.server), new_key(world.server)
    world.s3.put_object(Bucket=world.bucket, Key="in/keys.json", Body=QUERIES,
                        ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    plain = job_with(world, "no-key")
    world.await_segments(plain)
    expected = world.get("no-key/keys.json.out")
    assert_sensible(expected)
    job = job_with(world, "with-key", source_key=key, target_key=other)
    described = world.await_segments(job)
    assert described["jobInput"]["s3DataSource"]["kmsKeyArn"] == key
    assert described["jobOutput"]["s3DataDestination"]["kmsKeyArn"] == other
    for name in ("keys.json.out", "_CHECK"):
        head = world.s3.head_object(Bucket=world.bucket, Key=f"with-key/{name}")
        assert head["SSEKMSKeyId"] == other
    assert world.get("with-key/keys.json.out") == expected
    # In the clear the lines are on disk; of the encrypted output nothing is.
    line = expected.splitlines()[3]
    assert len(files_with(world.server.data_dir / "buckets", line)) == 1
    world.s3.delete_object(Bucket=world.bucket, Key="no-key/keys.json.out")
    assert files_with(world.server.data_dir / "buckets", line) == []

    kms.disable_key(KeyId=other)
    with pytest.raises(ClientError) as caught:
        world.get("with-key/keys.json.out")
    assert code(caught) == "KMS.DisabledException"
    assert_fails(world, job_with(world, "disabled-output", target_key=other),
                 f"kms:GenerateDataKey on {other} was denied: the key is disabled.", "disabled-output/")
    assert_fails(world, job_with(world, "disabled-input", source_key=other),
                 f"kms:DescribeKey on {other} was denied: the key is disabled.", "disabled-input/")
    assert_fails(world, job_with(world, "nobodys-output", target_key=NOBODYS),
                 f"kms:GenerateDataKey on {NOBODYS} was denied: the key does not exist.", "nobodys-output/")
    assert_fails(world, job_with(world, "nobodys-input", source_key=NOBODYS),
                 f"kms:DescribeKey on {NOBODYS} was denied: the key does not exist.", "nobodys-input/")
    # The object's own key decides, whatever the request names.
    kms.disable_key(KeyId=key)
    failed = world.await_segments(job_with(world, "locked-input"), until=("CREATE FAILED",))
    assert failed["failureReason"] == PRIVILEGES + f"kms:Decrypt on {key} was denied: the key is disabled."
    kms.enable_key(KeyId=key)
    kms.enable_key(KeyId=other)
    world.await_segments(job_with(world, "again", source_key=key, target_key=other))
    assert world.get("again/keys.json.out") == expected


def test_an_import_from_encrypted_objects(server):
    world = World(server, "sealed-import", kinds=("Interactions",)).make_datasets()
    key = new_key(server)
    body = ("\n".join(world.data["Interactions"]) + "\n").encode()
    world.s3.put_object(Bucket=world.bucket, Key="data/a.csv", Body=body,
                        ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    kms = server.client("kms")
    kms.disable_key(KeyId=key)
    failed = world.await_import(world.start_import("Interactions", world.url("data/a.csv")), ("CREATE FAILED",))
    assert PRIVILEGES + f"kms:Decrypt on {key} was denied: the key is disabled." in failed["failureReason"]
    kms.enable_key(KeyId=key)
    world.await_import(world.start_import("Interactions", world.url("data/a.csv")))


# Dataset groups.

class SealedWorld(World):
    """A world whose dataset group has a key."""

    def __init__(self, server, name, key, **more):
        super().__init__(server, name, **more)
        self.key = key
        made = self.p.create_dataset_group
        self.p.create_dataset_group = lambda **asked: made(**asked, kmsKeyArn=key, roleArn=ROLE)


def opens_as_parquet(path):
    try:
        pyarrow.parquet.read_table(path)
        return True
    except (pyarrow.ArrowException, OSError):
        return False


def opens_as_safetensors(path):
    try:
        with safetensors.safe_open(path, "numpy"):
            return True
    except (safetensors.SafetensorError, OSError):
        return False


def opens_as_sqlite(path):
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return True
        finally:
            connection.close()
    except sqlite3.DatabaseError:
        return False


def opened_files(folder):
    """The files that pyarrow, safetensors or sqlite open."""
    opens = (opens_as_parquet, opens_as_safetensors, opens_as_sqlite)
    return [str(path.relative_to(folder)) for path in files_below(folder) if any(ways(path) for ways in opens)]


@pytest.mark.parametrize("recipe, query", [
    ("aws-item-affinity", {"itemId": "i0"}),
    ("aws-item-attribute-affinity", {"itemAttributes": 'ITEMS.GENRES = "Comedy"'})])
def test_a_dataset_group_with_a_key(fresh, recipe, query):
    server = fresh()
    key = new_key(server)
    kms = server.client("kms")
    recipe_arn = f"arn:aws:personalize:::recipe/{recipe}"
    queries = lines_of([query])
    output = {}
    worlds = {}
    for name in ("plain", "sealed"):
        world = SealedWorld(server, name, key) if name == "sealed" else World(server, name)
        worlds[name] = world.make_datasets().import_data()
        world.solution = world.make_solution(recipeArn=recipe_arn)
        world.version = world.start_training(world.solution)
        world.await_version(world.version)
        output[name] = world.segments("q", queries)
        # What is in the clear in the buckets is the user's own doing.
        for entry in world.keys():
            world.s3.delete_object(Bucket=world.bucket, Key=entry)
        if name == "plain":
            opened = opened_files(server.data_dir)
            assert any(path.startswith("datasets/") for path in opened)
            assert any(path.endswith("model.safetensors") for path in opened)
            # Only the sealed group is looked at from here on.
            plain_files = set(files_below(server.data_dir / "datasets") + files_below(server.data_dir / "models"))
    assert output["sealed"] == output["plain"]
    sealed = worlds["sealed"]
    group = sealed.p.describe_dataset_group(datasetGroupArn=sealed.group)["datasetGroup"]
    assert group["kmsKeyArn"] == key and group["roleArn"] == ROLE
    own = [path for kind in ("datasets", "models") for path in files_below(server.data_dir / kind)
           if path not in plain_files]
    assert len(own) >= 3 * 2 + 5, own
    for path in own:
        assert path.read_bytes().startswith(b"KINDSEA"), path
    for kind in ("datasets", "models"):
        opened = [server.data_dir / kind / path for path in opened_files(server.data_dir / kind)]
        assert set(opened) <= plain_files

    # A disabled key stops the group's jobs and nothing else; enabled again, new jobs run.
    kms.disable_key(KeyId=key)
    reason = PRIVILEGES + f"kms:DescribeKey on {key} was denied: the key is disabled."
    source = sealed.put("in/q.json", queries)
    job = sealed.start_segments(source, sealed.url("out-2/"))
    assert sealed.await_segments(job, ("CREATE FAILED",))["failureReason"] == reason
    assert sealed.keys("out-2/") == []
    version = sealed.start_training(sealed.solution)
    assert sealed.await_version(version, ("CREATE FAILED",))["failureReason"] == reason
    data = sealed.put("data/a.csv", ("\n".join(sealed.data["Interactions"]) + "\n").encode())
    failed = sealed.await_import(sealed.start_import("Interactions", data), ("CREATE FAILED",))
    assert reason in failed["failureReason"]
    assert worlds["plain"].segments("q2", queries) == output["plain"]
    kms.enable_key(KeyId=key)
    assert sealed.segments("q3", queries) == output["sealed"]

    # With the key ring taken away nothing of the group opens, and the server still serves the rest.
    server.stop()
    for name in ("keys.ring", "master.key"):
        os.remove(server.data_dir / name)
    server.start()
    for world in worlds.values():
        world.reconnect()
    job = sealed.start_segments(sealed.put("in/q.json", queries), sealed.url("out-4/"))
    failed = sealed.await_segments(job, ("CREATE FAILED",))
    assert failed["failureReason"] == PRIVILEGES + f"kms:DescribeKey on {key} was denied: the key does not exist."
    assert worlds["plain"].segments("q4", queries) == output["plain"]
    for kind in ("datasets", "models"):
        opened = [server.data_dir / kind / path for path in opened_files(server.data_dir / kind)]
        assert set(opened) <= plain_files


def test_user_ids_of_a_sealed_group_are_nowhere_in_the_clear(fresh):
    """All files of the data directory, while a group with a key is all there is."""
    server = fresh()
    key = new_key(server)
    world = SealedWorld(server, "names", key, kinds=("Interactions",))
    # Ids that no other bytes look like.
    rows = [line.replace("u", "person-of-interest-", 1) if at else line
            for at, line in enumerate(world.data["Interactions"])]
    world.data = {"Interactions": rows}
    original = world.s3.put_object
    world.s3.put_object = lambda **asked: original(
        **asked, ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    world.train()
    source = world.put("in/q.json", QUERIES)
    job = world.p.create_batch_segment_job(
        jobName="names", solutionVersionArn=world.version, roleArn=ROLE, numResults=10,
        jobInput={"s3DataSource": {"path": source}},
        jobOutput={"s3DataDestination": {"path": world.url("out/"), "kmsKeyArn": key}})["batchSegmentJobArn"]
    world.await_segments(job)
    assert b"person-of-interest-" in world.get("out/q.json.out")
    assert files_with(server.data_dir, b"person-of-interest-") == []


def test_a_dataset_group_needs_a_usable_key(server):
    p, kms = server.client("personalize"), server.client("kms")
    key = new_key(server)
    kms.disable_key(KeyId=key)
    for asked, message in (
            ({"kmsKeyArn": key}, "kmsKeyArn requires roleArn"),
            ({"roleArn": ROLE}, "roleArn is only allowed together with kmsKeyArn"),
            ({"kmsKeyArn": key, "roleArn": ROLE}, "the key is disabled"),
            ({"kmsKeyArn": NOBODYS, "roleArn": ROLE}, "the key does not exist")):
        with pytest.raises(p.exceptions.InvalidInputException, match=message):
            p.create_dataset_group(name="needs-a-key", **asked)
    kms.enable_key(KeyId=key)
    made = p.create_dataset_group(name="needs-a-key", kmsKeyArn=key, roleArn=ROLE)["datasetGroupArn"]
    wait(lambda: p.describe_dataset_group(datasetGroupArn=made), "datasetGroup")
