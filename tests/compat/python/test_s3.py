"""The embedded object store through its S3 endpoint."""

import base64
import datetime
import hashlib
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
import zlib

import pytest
from botocore.exceptions import ClientError

import wire

ODD_KEYS = [
    "a", "a/b", "a/b/c", "a//b", "plus+sign", "per%cent", "per%2Fcent", "../up", "x/../../etc/passwd", "..", ".",
    "blank here", " lead", "trail ", "ü/日本/😀", "quote'\"", "amp&lt<gt>", "back\\slash", "colon:semi;", "a=b?c#d",
    "UPPER", "upper", "~tilde", "%", "+", "\u00e9", "e\u0301", "/slash", "ends/", "x" * 1024,
]


@pytest.fixture
def s3(server):
    return server.client("s3")


@pytest.fixture
def bucket(s3):
    name = f"b-{uuid.uuid4().hex[:20]}"
    s3.create_bucket(Bucket=name)
    return name


def status_of(caught):
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"]


def code_of(caught):
    return caught.value.response["Error"]["Code"]


def test_buckets(s3, server):
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    assert s3.create_bucket(Bucket=name)["ResponseMetadata"]["HTTPStatusCode"] == 200
    s3.head_bucket(Bucket=name)
    assert name in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]
    assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] in (None, "us-east-1")
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    with pytest.raises(ClientError) as caught:
        s3.delete_bucket(Bucket=name)
    assert code_of(caught) == "BucketNotEmpty" and status_of(caught) == 409
    s3.delete_object(Bucket=name, Key="k")
    s3.delete_bucket(Bucket=name)
    with pytest.raises(ClientError) as caught:
        s3.head_bucket(Bucket=name)
    assert status_of(caught) == 404
    with pytest.raises(s3.exceptions.NoSuchBucket):
        s3.put_object(Bucket=name, Key="k", Body=b"x")
    other = server.client("s3")
    other.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.delete_bucket(Bucket=name)


@pytest.mark.parametrize("name", ["Upper", "ab", "x" * 64, "under_score", "-lead", "dot..dot", "192.168.0.1"])
def test_bucket_names_that_are_not_allowed(server, name):
    answer = wire.s3(server, "PUT", f"/{name}")
    assert answer.status == 400 and b"<Code>InvalidBucketName</Code>" in answer.body


def test_an_object_and_its_metadata(s3, bucket):
    body = b"hello, segments"
    put = s3.put_object(Bucket=bucket, Key="k", Body=body, ContentType="text/x-test", CacheControl="no-cache",
                        ContentDisposition="inline", ContentLanguage="de", Metadata={"owner": "me", "n": "1"})
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == body and got["ContentLength"] == len(body)
    for answer in (got, s3.head_object(Bucket=bucket, Key="k")):
        assert answer["ETag"] == put["ETag"] and answer["Metadata"] == {"owner": "me", "n": "1"}
        assert answer["ContentType"] == "text/x-test" and answer["CacheControl"] == "no-cache"
        assert answer["ContentDisposition"] == "inline" and answer["ContentLanguage"] == "de"
        age = datetime.datetime.now(datetime.timezone.utc) - answer["LastModified"]
        assert abs(age) < datetime.timedelta(minutes=2)
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b""
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_object(Bucket=bucket, Key="k")
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=bucket, Key="k")
    with pytest.raises(ClientError) as caught:
        s3.head_object(Bucket=bucket, Key="k")
    assert status_of(caught) == 404


def test_ranges(s3, bucket):
    body = os.urandom(1_000_003)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    for given, expected in [("bytes=0-0", body[:1]), ("bytes=5-9", body[5:10]), ("bytes=-7", body[-7:]),
                            ("bytes=1000000-", body[1000000:]), ("bytes=262143-262145", body[262143:262146]),
                            ("bytes=999999-9999999", body[999999:]), ("bytes=-9999999", body)]:
        got = s3.get_object(Bucket=bucket, Key="k", Range=given)
        assert got["Body"].read() == expected, given
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert got["ContentRange"].endswith("/1000003")
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=bucket, Key="k", Range="bytes=1000003-")
    assert code_of(caught) == "InvalidRange" and status_of(caught) == 416


def test_conditional_requests(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"one")["ETag"]
    assert s3.get_object(Bucket=bucket, Key="k", IfMatch=etag)["Body"].read() == b"one"
    for arguments, status in [({"IfMatch": '"0"'}, 412), ({"IfNoneMatch": etag}, 304),
                              ({"IfUnmodifiedSince": datetime.datetime(2020, 1, 1)}, 412)]:
        with pytest.raises(ClientError) as caught:
            s3.get_object(Bucket=bucket, Key="k", **arguments)
        assert status_of(caught) == status, arguments
    assert s3.get_object(Bucket=bucket, Key="k", IfModifiedSince=datetime.datetime(2020, 1, 1))["Body"].read() == b"one"
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=bucket, Key="k", Body=b"two", IfNoneMatch="*")
    assert status_of(caught) == 412 and s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"one"
    s3.put_object(Bucket=bucket, Key="new", Body=b"two", IfNoneMatch="*")


def test_odd_keys_stay_apart_and_in_their_bucket(s3, bucket, server):
    for key in ODD_KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in ODD_KEYS:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode(), key
        assert s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == len(key.encode())
    expected = sorted(ODD_KEYS, key=lambda key: key.encode())
    found = [entry["Key"] for page in s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, PaginationConfig={"PageSize": 7}) for entry in page["Contents"]]
    assert found == expected
    found = [entry["Key"] for page in s3.get_paginator("list_objects").paginate(
        Bucket=bucket, PaginationConfig={"PageSize": 7}) for entry in page["Contents"]]
    assert found == expected
    names = {path.name for path in server.data_dir.rglob("*")}
    assert not names & {"passwd", "UPPER", "~tilde"}, "keys must not become paths"
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in ODD_KEYS]})
    assert sorted(entry["Key"] for entry in answer["Deleted"]) == sorted(ODD_KEYS)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_a_key_longer_than_1024_bytes_is_refused(s3, bucket):
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=bucket, Key="x" * 1025, Body=b"x")
    assert code_of(caught) == "KeyTooLongError" and status_of(caught) == 400


def test_lists_with_delimiter_prefix_and_pages(s3, bucket):
    keys = ["a.txt", "dir/1", "dir/2", "dir/sub/3", "dir/sub/4", "dir2/5", "z.txt"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x" * len(key))
    top = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert [entry["Key"] for entry in top["Contents"]] == ["a.txt", "z.txt"]
    assert [entry["Prefix"] for entry in top["CommonPrefixes"]] == ["dir/", "dir2/"]
    assert top["KeyCount"] == 4 and top["IsTruncated"] is False
    below = s3.list_objects_v2(Bucket=bucket, Delimiter="/", Prefix="dir/")
    assert [entry["Key"] for entry in below["Contents"]] == ["dir/1", "dir/2"]
    assert [entry["Prefix"] for entry in below["CommonPrefixes"]] == ["dir/sub/"]
    bare = s3.list_objects_v2(Bucket=bucket, Prefix="dir")
    assert [entry["Key"] for entry in bare["Contents"]] == keys[1:6]
    assert [entry["Size"] for entry in bare["Contents"]] == [len(key) for key in keys[1:6]]
    after = s3.list_objects_v2(Bucket=bucket, StartAfter="dir/2")
    assert [entry["Key"] for entry in after["Contents"]] == keys[3:]
    seen = []
    for page in s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 1}):
        seen += [entry["Key"] for entry in page.get("Contents", [])]
        seen += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
    assert seen == ["a.txt", "dir/", "dir2/", "z.txt"]
    first = s3.list_objects(Bucket=bucket, MaxKeys=3)
    assert first["IsTruncated"] is True and [entry["Key"] for entry in first["Contents"]] == keys[:3]
    rest = s3.list_objects(Bucket=bucket, Marker=keys[2])
    assert [entry["Key"] for entry in rest["Contents"]] == keys[3:] and rest["IsTruncated"] is False
    assert s3.list_objects_v2(Bucket=bucket, Prefix="none").get("Contents", []) == []
    with pytest.raises(ClientError):
        s3.list_objects_v2(Bucket=bucket, ContinuationToken="nonsense")
    assert "Owner" in s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"][0]


def test_keys_in_lists_are_encoded_only_when_asked(server, bucket, s3):
    s3.put_object(Bucket=bucket, Key="a+b c/ü", Body=b"x")
    plain = wire.s3(server, "GET", f"/{bucket}", query=[("list-type", "2")])
    assert "<Key>a+b c/ü</Key>" in plain.body.decode()
    coded = wire.s3(server, "GET", f"/{bucket}", query=[("encoding-type", "url"), ("list-type", "2")])
    key = coded.body.decode().split("<Key>")[1].split("</Key>")[0]
    assert key != "a+b c/ü" and urllib.parse.unquote_plus(key) == "a+b c/ü"
    assert plain.headers["x-amz-request-id"]


def test_copies(s3, bucket):
    s3.put_object(Bucket=bucket, Key="from/ü+1", Body=b"copied", ContentType="text/x-a", Metadata={"a": "1"})
    source = {"Bucket": bucket, "Key": "from/ü+1"}
    answer = s3.copy_object(Bucket=bucket, Key="to", CopySource=source)["CopyObjectResult"]
    assert answer["ETag"] == f'"{hashlib.md5(b"copied").hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="to")
    assert got["Body"].read() == b"copied" and got["Metadata"] == {"a": "1"} and got["ContentType"] == "text/x-a"
    s3.copy_object(Bucket=bucket, Key="to", CopySource=source, MetadataDirective="REPLACE",
                   ContentType="text/x-b", Metadata={"b": "2"})
    head = s3.head_object(Bucket=bucket, Key="to")
    assert head["Metadata"] == {"b": "2"} and head["ContentType"] == "text/x-b"
    s3.delete_object(Bucket=bucket, Key="from/ü+1")
    assert s3.get_object(Bucket=bucket, Key="to")["Body"].read() == b"copied"
    with pytest.raises(ClientError) as caught:
        s3.copy_object(Bucket=bucket, Key="x", CopySource={"Bucket": bucket, "Key": "none"})
    assert status_of(caught) == 404


PART = 5 << 20


def test_multipart_uploads(s3, bucket):
    parts = [os.urandom(PART), os.urandom(PART + 1), b"the end"]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="big", ContentType="text/x-big",
                                        Metadata={"m": "p"})["UploadId"]
    assert upload in [entry["UploadId"] for entry in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]]
    done = []
    for number in (3, 1, 2):
        answer = s3.upload_part(Bucket=bucket, Key="big", UploadId=upload, PartNumber=number,
                                Body=parts[number - 1])
        assert answer["ETag"] == f'"{hashlib.md5(parts[number - 1]).hexdigest()}"'
        done.append({"PartNumber": number, "ETag": answer["ETag"]})
    done.sort(key=lambda part: part["PartNumber"])
    listed = s3.list_parts(Bucket=bucket, Key="big", UploadId=upload)["Parts"]
    assert [(part["PartNumber"], part["Size"]) for part in listed] == [
        (number, len(part)) for number, part in enumerate(parts, 1)]
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=bucket, Key="big")
    with pytest.raises(ClientError) as caught:
        s3.complete_multipart_upload(Bucket=bucket, Key="big", UploadId=upload,
                                     MultipartUpload={"Parts": [{**done[0], "ETag": '"0"'}, *done[1:]]})
    assert code_of(caught) == "InvalidPart"
    with pytest.raises(ClientError) as caught:
        s3.complete_multipart_upload(Bucket=bucket, Key="big", UploadId=upload,
                                     MultipartUpload={"Parts": done[::-1]})
    assert code_of(caught) == "InvalidPartOrder"
    answer = s3.complete_multipart_upload(Bucket=bucket, Key="big", UploadId=upload, MultipartUpload={"Parts": done})
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    assert answer["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-3"'
    whole = b"".join(parts)
    got = s3.get_object(Bucket=bucket, Key="big")
    assert got["Body"].read() == whole and got["Metadata"] == {"m": "p"} and got["ContentType"] == "text/x-big"
    cut = s3.get_object(Bucket=bucket, Key="big", Range=f"bytes={PART - 3}-{PART + 3}")["Body"].read()
    assert cut == whole[PART - 3:PART + 4]
    s3.delete_object(Bucket=bucket, Key="big")
    s3.delete_bucket(Bucket=bucket)


def test_multipart_uploads_that_go_wrong(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    small = [{"PartNumber": number, "ETag": s3.upload_part(
        Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=b"small")["ETag"]} for number in (1, 2)]
    with pytest.raises(ClientError) as caught:
        s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": small})
    assert code_of(caught) == "EntityTooSmall"
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    for call in (lambda: s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"x"),
                 lambda: s3.list_parts(Bucket=bucket, Key="k", UploadId=upload),
                 lambda: s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId="nonsense")):
        with pytest.raises(ClientError) as caught:
            call()
        assert code_of(caught) == "NoSuchUpload"
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_large_files_go_up_and_down_by_the_transfer_manager(s3, bucket, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(os.urandom(20 << 20))
    s3.upload_file(str(path), bucket, "large")
    s3.download_file(bucket, "large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == path.read_bytes()
    s3.copy({"Bucket": bucket, "Key": "large"}, bucket, "copied")
    assert s3.head_object(Bucket=bucket, Key="copied")["ContentLength"] == 20 << 20


def test_parts_by_copy(s3, bucket):
    body = os.urandom(PART + 100)
    s3.put_object(Bucket=bucket, Key="from", Body=body)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="to")["UploadId"]
    parts = []
    for number, given in ((1, f"bytes=0-{PART - 1}"), (2, f"bytes={PART}-{PART + 99}")):
        result = s3.upload_part_copy(Bucket=bucket, Key="to", UploadId=upload, PartNumber=number,
                                     CopySource={"Bucket": bucket, "Key": "from"}, CopySourceRange=given)
        parts.append({"PartNumber": number, "ETag": result["CopyPartResult"]["ETag"]})
    s3.complete_multipart_upload(Bucket=bucket, Key="to", UploadId=upload, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket=bucket, Key="to")["Body"].read() == body


def test_delete_objects(s3, bucket):
    for number in range(5):
        s3.put_object(Bucket=bucket, Key=f"k{number}", Body=b"x")
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k0"}, {"Key": "k1"}, {"Key": "none"}]})
    assert {entry["Key"] for entry in answer["Deleted"]} == {"k0", "k1", "none"} and "Errors" not in answer
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Quiet": True, "Objects": [{"Key": "k2"}]})
    assert "Deleted" not in quiet
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["k3", "k4"]


def fetch(url, method="GET", body=None):
    request = urllib.request.Request(url, method=method, data=body)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_presigned_urls(server, bucket):
    s3 = server.client("s3", signature_version="s3v4")
    place = {"Bucket": bucket, "Key": "pre/ü +1"}
    put = s3.generate_presigned_url("put_object", Params=place)
    assert fetch(put, "PUT", b"by url")[0] == 200
    get = s3.generate_presigned_url("get_object", Params=place)
    assert fetch(get) == (200, b"by url")
    head, _, signature = get.partition("X-Amz-Signature=")
    assert fetch(f"{head}X-Amz-Signature={'0' * len(signature)}")[0] == 403
    assert fetch(get.split("?")[0])[0] == 403
    other = s3.generate_presigned_url("get_object", Params={**place, "Key": "other"})
    assert fetch(other.replace("other?", "pre/%C3%BC%20%2B1?"))[0] == 403
    short = s3.generate_presigned_url("get_object", Params=place, ExpiresIn=1)
    time.sleep(2.1)
    assert fetch(short)[0] == 403


@pytest.mark.parametrize("algorithm, member", [
    ("CRC32", "ChecksumCRC32"), ("CRC32C", "ChecksumCRC32C"), ("SHA1", "ChecksumSHA1"), ("SHA256", "ChecksumSHA256")])
def test_checksums(s3, bucket, algorithm, member):
    body = b"checked"
    put = s3.put_object(Bucket=bucket, Key="k", Body=body, ChecksumAlgorithm=algorithm)
    assert put[member]
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head[member] == put[member]
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got["Body"].read() == body and got[member] == put[member]
    expected = {"CRC32": zlib.crc32(body).to_bytes(4, "big"), "SHA1": hashlib.sha1(body).digest(),
                "SHA256": hashlib.sha256(body).digest()}.get(algorithm)
    if expected:
        assert put[member] == base64.b64encode(expected).decode()
    wrong = base64.b64encode(b"\0" * len(base64.b64decode(put[member]))).decode()
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=bucket, Key="wrong", Body=body, **{member: wrong})
    assert status_of(caught) == 400
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=bucket, Key="wrong")


def test_a_wrong_md5_is_refused(s3, bucket):
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentMD5=base64.b64encode(hashlib.md5(b"y").digest()).decode())
    assert code_of(caught) == "BadDigest" and status_of(caught) == 400
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentMD5=base64.b64encode(hashlib.md5(b"x").digest()).decode())


def chunked(server, bucket, key, body, checksum, size=64 << 10):
    """An upload in aws-chunked form with an unsigned payload and a checksum trailer."""
    stream = b""
    for start in range(0, len(body), size):
        part = body[start:start + size]
        stream += f"{len(part):x}\r\n".encode() + part + b"\r\n"
    stream += b"0\r\nx-amz-checksum-crc32:" + checksum + b"\r\n\r\n"
    return wire.s3(server, "PUT", f"/{bucket}/{key}", {
        "Content-Encoding": "aws-chunked", "X-Amz-Trailer": "x-amz-checksum-crc32",
        "X-Amz-Decoded-Content-Length": str(len(body))}, stream, payload_hash="STREAMING-UNSIGNED-PAYLOAD-TRAILER")


def test_aws_chunked_with_a_trailing_checksum(server, s3, bucket):
    body = os.urandom(200_001)
    good = base64.b64encode(zlib.crc32(body).to_bytes(4, "big"))
    answer = chunked(server, bucket, "good", body, good)
    assert answer.status == 200, answer.body
    got = s3.get_object(Bucket=bucket, Key="good")
    assert got["Body"].read() == body and "aws-chunked" not in got.get("ContentEncoding", "")
    answer = chunked(server, bucket, "bad", body, base64.b64encode(b"\0\0\0\0"))
    assert answer.status == 400, answer.body
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=bucket, Key="bad")


def test_a_body_that_is_not_what_was_signed(server, s3, bucket):
    answer = wire.s3(server, "PUT", f"/{bucket}/k", body=b"one", payload_hash=hashlib.sha256(b"two").hexdigest())
    assert answer.status == 400 and b"XAmzContentSHA256Mismatch" in answer.body
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert wire.s3(server, "PUT", f"/{bucket}/k", body=b"one", payload_hash="UNSIGNED-PAYLOAD").status == 200


def test_who_may_come_in(server, bucket):
    access, secret = server.keys
    for keys, code in (((access, "wrong"), "SignatureDoesNotMatch"), (("AKIANOBODYKNOWSTHIS1", secret), "InvalidAccessKeyId")):
        with pytest.raises(ClientError) as caught:
            server.client("s3", keys=keys).list_objects_v2(Bucket=bucket)
        assert code_of(caught) == code and status_of(caught) == 403
    for skew in (-16 * 60, 16 * 60):
        answer = wire.s3(server, "GET", f"/{bucket}", skew=skew)
        assert answer.status == 403 and b"<Code>RequestTimeTooSkewed</Code>" in answer.body
    assert wire.send(server, "GET", f"/{bucket}", {}, b"").status == 403
    assert wire.s3(server, "GET", f"/{bucket}", region="eu-west-3").status == 200


def test_bucket_policies_are_kept(s3, bucket):
    policy = json.dumps({"Version": "2012-10-17", "Id": "p", "Statement": [
        {"Sid": "x", "Effect": "Allow", "Principal": {"Service": "personalize.amazonaws.com"},
         "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}]})
    with pytest.raises(ClientError) as caught:
        s3.get_bucket_policy(Bucket=bucket)
    assert code_of(caught) == "NoSuchBucketPolicy"
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    assert json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"]) == json.loads(policy)
    s3.delete_bucket_policy(Bucket=bucket)
    with pytest.raises(ClientError):
        s3.get_bucket_policy(Bucket=bucket)


def test_objects_survive_a_crash(fresh):
    server = fresh()
    s3 = server.client("s3")
    s3.create_bucket(Bucket="lasting")
    body = os.urandom(700_000)
    s3.put_object(Bucket="lasting", Key="k", Body=body)
    server.kill()
    server.start()
    s3 = server.client("s3")
    assert s3.get_object(Bucket="lasting", Key="k")["Body"].read() == body
    assert server.credentials_file.stat().st_mode & 0o777 == 0o600
