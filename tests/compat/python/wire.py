"""Signs and sends requests by hand, to say what no AWS client would say."""

import datetime
import hashlib
import hmac
import http.client
import json
import urllib.parse

from kindred_server import REGION

JSON = "application/x-amz-json-1.1"


class Answer:
    """Status, headers (by lower-case name) and body of one response."""

    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def kind(self):
        """The error's name."""
        return self.json["__type"]


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _encode(text, safe=""):
    return urllib.parse.quote(text, safe=safe + "-_.~")


def sign(server, method, path, headers, body, *, service="personalize", query=(), keys=None,
         region=REGION, skew=0, payload_hash=None):
    """The headers with X-Amz-Date and Authorization added; `skew` shifts the clock by seconds."""
    access, secret = keys or server.keys
    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=skew)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    host = server.endpoint.removeprefix("http://")
    signed = {"host": host, "x-amz-date": stamp,
              **{name.lower(): value for name, value in headers.items()}}
    names = ";".join(sorted(signed))
    digest = payload_hash or hashlib.sha256(body).hexdigest()
    canonical = "\n".join([
        method, _encode(path, "/"),
        "&".join(sorted(f"{_encode(name)}={_encode(value)}" for name, value in query)),
        *(f"{name}:{signed[name].strip()}" for name in sorted(signed)), "", names, digest])
    scope = f"{day}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope,
                      hashlib.sha256(canonical.encode()).hexdigest()])
    key = _hmac(_hmac(_hmac(_hmac(b"AWS4" + secret.encode(), day), region), service), "aws4_request")
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return {**headers, "X-Amz-Date": stamp,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={access}/{scope}, "
                             f"SignedHeaders={names}, Signature={signature}"}


def send(server, method, path, headers, body, query=(), connection=None):
    """Sends one request over a new or the given connection."""
    own = connection or http.client.HTTPConnection(*server.address, timeout=60)
    try:
        target = _encode(path, "/")
        if query:
            target += "?" + "&".join(f"{_encode(n)}={_encode(v)}" for n, v in query)
        own.request(method, target, body=body, headers=headers)
        return Answer(own.getresponse())
    finally:
        if connection is None:
            own.close()


def call(server, operation, body=b"{}", *, target="AmazonPersonalize.", content_type=JSON,
         connection=None, **signing):
    """One signed control-plane request; `operation` None sends no target."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    headers = {"Content-Type": content_type}
    if operation is not None:
        headers["X-Amz-Target"] = target + operation
    return send(server, "POST", "/", sign(server, "POST", "/", headers, body, **signing), body,
                connection=connection)


def s3(server, method, path, headers=None, body=b"", query=(), payload_hash=None, **signing):
    """One signed S3 request."""
    digest = payload_hash or hashlib.sha256(body).hexdigest()
    headers = {**(headers or {}), "X-Amz-Content-SHA256": digest}
    headers = sign(server, method, path, headers, body, service="s3", query=query,
                   payload_hash=digest, **signing)
    return send(server, method, path, headers, body, query=query)
