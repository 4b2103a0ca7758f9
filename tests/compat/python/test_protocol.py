"""The wire protocol, spoken by hand: what SDKs send, and what only a broken client would send."""

import http.client
import json
import socket
import uuid

import pytest

import wire
from kindred_server import ACCOUNT
from world import schema_text

ARN = f"arn:aws:personalize:us-east-1:{ACCOUNT}:"
MINUTE = 60


def assert_envelope(answer):
    """What every answer of the control plane carries."""
    assert answer.headers["content-type"] == wire.JSON
    request_id = answer.headers["x-amzn-requestid"]
    assert str(uuid.UUID(request_id)) == request_id.lower()
    assert "date" in answer.headers


def assert_error(answer, kind, status=400):
    assert_envelope(answer)
    assert answer.status == status
    assert set(answer.json) <= {"__type", "message"} and answer.kind == kind
    assert answer.headers["x-amzn-errortype"] == kind
    assert answer.body == json.dumps(answer.json, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize("content_type", [
    wire.JSON, wire.JSON + "; charset=utf-8", wire.JSON + ";charset=UTF-8", wire.JSON + "; a=b; c=d"])
def test_parameters_of_the_content_type_are_ignored(server, content_type):
    answer = wire.call(server, "ListRecipes", content_type=content_type)
    assert_envelope(answer)
    assert answer.status == 200 and len(answer.json["recipes"]) == 2


@pytest.mark.parametrize("body", [
    b"", b"{}", b' {\n} ', b'{"maxResults": null, "nextToken": null}', b'{"somethingNew": {"a": [1, null]}}',
    b'{"maxResults": 5, "domain": null}'])
def test_no_input_null_members_and_unknown_members(server, body):
    answer = wire.call(server, "ListRecipes", body)
    assert_envelope(answer)
    assert answer.status == 200 and len(answer.json["recipes"]) == 2
    assert "nextToken" not in answer.json and b"null" not in answer.body


def test_operations_without_output_answer_an_empty_body(server):
    schema = wire.call(server, "CreateSchema", {"name": "wire", "schema": schema_text("Users")}).json["schemaArn"]
    answer = wire.call(server, "DeleteSchema", {"schemaArn": schema})
    assert_envelope(answer)
    assert answer.status == 200 and answer.body == b"" and answer.headers["content-length"] == "0"
    group = wire.call(server, "CreateDatasetGroup", {"name": "wire", "domain": None}).json
    assert set(group) == {"datasetGroupArn"}
    answer = wire.call(server, "TagResource", {"resourceArn": group["datasetGroupArn"], "tags": []})
    assert answer.status == 200 and answer.body == b"{}"
    wire.call(server, "DeleteDatasetGroup", group)


def test_text_beyond_ascii_comes_back(server):
    text = schema_text("Users").replace("com.amazonaws.personalize.schema", "ü 日本 \\ud83d\\ude00")
    for body in (json.dumps({"name": "text", "schema": text}, ensure_ascii=False).encode(),
                 json.dumps({"name": "text", "schema": text}).encode()):
        arn = wire.call(server, "CreateSchema", body).json["schemaArn"]
        answer = wire.call(server, "DescribeSchema", {"schemaArn": arn})
        assert answer.json["schema"]["schema"] == text
        wire.call(server, "DeleteSchema", {"schemaArn": arn})


def test_one_connection_serves_many_requests(server):
    connection = http.client.HTTPConnection(*server.address, timeout=60)
    for _ in range(3):
        assert wire.call(server, "ListRecipes", connection=connection).status == 200
        sock = connection.sock
        assert_error(wire.call(server, "ListRecipes", b"{", connection=connection), "SerializationException")
        assert connection.sock is sock is not None
    connection.close()


def test_health_needs_no_signature(server):
    answer = wire.send(server, "GET", "/_/health", {}, b"")
    assert answer.status == 200 and answer.json["status"] == "ok"


@pytest.mark.parametrize("target, operation", [
    ("AmazonPersonalize.", "ListUnicorns"), ("AmazonPersonalize.", ""), ("AmazonPersonalize.", "listRecipes"),
    ("DynamoDB_20120810.", "ListTables"), ("", "ListRecipes")])
def test_unknown_targets(server, target, operation):
    assert_error(wire.call(server, operation, target=target), "UnknownOperationException")


def test_a_missing_target_is_an_unknown_operation(server):
    answer = wire.call(server, None)
    assert answer.status in (400, 404) and answer.headers["x-amzn-errortype"] == "UnknownOperationException"


@pytest.mark.parametrize("operation, body", [
    ("ListRecipes", b"{"), ("ListRecipes", b"nonsense"), ("ListRecipes", b"[]"), ("ListRecipes", b'"text"'),
    ("ListRecipes", b"null"), ("ListRecipes", b"5"), ("ListRecipes", b"{}{}"), ("ListRecipes", b'{"a":1,}'),
    ("ListRecipes", b'{"maxResults": 05}'), ("ListRecipes", b'{"nextToken": "\xff"}'),
    ("ListRecipes", b'{"nextToken": "\\ud800"}'),
    ("ListRecipes", b'{"maxResults": "5"}'), ("ListRecipes", b'{"maxResults": 5.0}'),
    ("ListRecipes", b'{"maxResults": 1e1}'), ("ListRecipes", b'{"maxResults": 99999999999}'),
    ("ListRecipes", b'{"maxResults": true}'), ("ListRecipes", b'{"domain": 5}'),
    ("CreateSolution", b'{"name": "x", "performHPO": "false"}'),
    ("CreateSolution", b'{"name": "x", "solutionConfig": []}'),
    ("CreateSolution", b'{"name": "x", "tags": {}}'),
    ("CreateSolution", b'{"name": "x", "solutionConfig": {"algorithmHyperParameters": {"hidden_dimension": 64}}}'),
    ("CreateSchema", b'{"name": ["x"]}'),
    ("CreateSchema", b'{"name": ' + b"[" * 100_000),
    ("CreateBatchSegmentJob", b'{"numResults": 25.0}'), ("CreateBatchSegmentJob", b'{"numResults": 1e3}'),
])
def test_bodies_that_are_not_what_the_model_says(server, operation, body):
    assert_error(wire.call(server, operation, body), "SerializationException")


def test_a_body_of_two_mebibytes_is_refused(server):
    body = json.dumps({"name": "big", "schema": "x" * (2 << 20)}).encode()
    try:
        answer = wire.call(server, "CreateSchema", body)
    except (BrokenPipeError, ConnectionResetError):
        # A server may answer and close before it has read everything.
        pass
    else:
        assert_error(answer, "SerializationException")
    assert wire.call(server, "ListRecipes").status == 200


def test_a_body_may_be_chunked(server):
    body = json.dumps({"maxResults": 1}).encode()
    headers = wire.sign(server, "POST", "/", {"Content-Type": wire.JSON,
                                              "X-Amz-Target": "AmazonPersonalize.ListRecipes"}, body)
    connection = http.client.HTTPConnection(*server.address, timeout=60)
    connection.request("POST", "/", body=iter([body[:3], body[3:]]), headers=headers, encode_chunked=True)
    answer = wire.Answer(connection.getresponse())
    connection.close()
    assert answer.status == 200 and len(answer.json["recipes"]) == 1


def test_requests_without_a_signature(server):
    headers = {"Content-Type": wire.JSON, "X-Amz-Target": "AmazonPersonalize.ListRecipes"}
    assert_error(wire.send(server, "POST", "/", headers, b"{}"), "MissingAuthenticationTokenException")


@pytest.mark.parametrize("authorization", [
    "nonsense", "Basic dXNlcjpwYXNz", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=a",
    "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=00",
    "AWS4-HMAC-SHA256 Credential={access}/{day}/us-east-1/personalize/aws4_request, Signature=00"])
def test_malformed_signatures(server, authorization):
    headers = wire.sign(server, "POST", "/", {"Content-Type": wire.JSON,
                                              "X-Amz-Target": "AmazonPersonalize.ListRecipes"}, b"{}")
    day = headers["X-Amz-Date"][:8]
    headers["Authorization"] = authorization.format(access=server.keys[0], day=day)
    assert_error(wire.send(server, "POST", "/", headers, b"{}"), "IncompleteSignatureException")


def test_a_signed_header_that_is_missing(server):
    headers = wire.sign(server, "POST", "/", {
        "Content-Type": wire.JSON, "X-Amz-Target": "AmazonPersonalize.ListRecipes", "X-Extra": "1"}, b"{}")
    del headers["X-Extra"]
    assert_error(wire.send(server, "POST", "/", headers, b"{}"), "IncompleteSignatureException")


def test_wrong_keys(server):
    access, secret = server.keys
    assert_error(wire.call(server, "ListRecipes", keys=("AKIANOBODYKNOWSTHIS1", secret)),
                 "UnrecognizedClientException")
    wrong = wire.call(server, "ListRecipes", keys=(access, "x" + secret[1:]))
    assert_error(wrong, "InvalidSignatureException")
    # Nothing that would help to forge a signature is told.
    assert secret not in wrong.body.decode() and "AWS4" not in wrong.body.decode()
    assert secret not in server.log_tail(10_000_000)


def test_a_changed_body_breaks_the_signature(server):
    headers = wire.sign(server, "POST", "/", {"Content-Type": wire.JSON,
                                              "X-Amz-Target": "AmazonPersonalize.ListRecipes"}, b'{"maxResults":1}')
    assert_error(wire.send(server, "POST", "/", headers, b'{"maxResults":2}'), "InvalidSignatureException")


@pytest.mark.parametrize("skew, words", [
    (-16 * MINUTE, "Signature expired"), (-7 * 24 * 60 * MINUTE, "Signature expired"),
    (16 * MINUTE, "Signature not yet current"), (400 * 24 * 60 * MINUTE, "Signature not yet current")])
def test_dates_too_far_from_now(server, skew, words):
    answer = wire.call(server, "ListRecipes", skew=skew)
    assert_error(answer, "InvalidSignatureException")
    assert answer.json["message"].startswith(words)


@pytest.mark.parametrize("signing", [{"skew": -14 * MINUTE}, {"skew": 14 * MINUTE},
                                     {"region": "eu-central-1"}, {"region": "ap-southeast-2"}])
def test_small_clock_differences_and_other_regions_are_accepted(server, signing):
    assert wire.call(server, "ListRecipes", **signing).status == 200
    schema = wire.call(server, "CreateSchema", {"name": "region", "schema": schema_text("Users")}, **signing)
    assert schema.json["schemaArn"] == ARN + "schema/region"
    wire.call(server, "DeleteSchema", schema.json)


def test_broken_http_does_not_hurt(server):
    """Each of these ends its own connection at most."""
    for raw in (b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
                b"POST / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
                b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
                b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"):
        with socket.create_connection(server.address, timeout=30) as connection:
            try:
                connection.sendall(raw)
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(65536)
            except (BrokenPipeError, ConnectionResetError):
                continue
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), raw[:40]
    assert wire.call(server, "ListRecipes").status == 200


@pytest.mark.parametrize("mode", ["trust", "off"])
def test_authentication_modes(fresh, mode):
    server = fresh({"KINDRED_AUTH": mode})
    stranger = ("AKIANOBODYKNOWSTHIS1", "secret")
    assert wire.call(server, "ListRecipes", keys=stranger).status == 200
    server.client("s3", keys=stranger).create_bucket(Bucket="anybody")
    headers = {"Content-Type": wire.JSON, "X-Amz-Target": "AmazonPersonalize.ListRecipes"}
    unsigned = wire.send(server, "POST", "/", headers, b"{}")
    if mode == "off":
        assert unsigned.status == 200
    else:
        assert_error(unsigned, "MissingAuthenticationTokenException")
