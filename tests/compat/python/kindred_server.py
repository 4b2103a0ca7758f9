"""Starts, stops and kills the program under test, and makes clients for it.

Every server has a data directory of its own and listens on a free loopback port. The program is
$KINDRED_BIN, else target/release/kindred, else target/debug/kindred. Credentials come from the
file the server writes, exactly as a user would take them.
"""

import configparser
import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading
import time

import boto3
import botocore.session
from botocore.config import Config

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
REGION = "us-east-1"
ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/kindred"
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 60
LISTENING = "listening on "


def program():
    """The path of the program under test."""
    given = os.environ.get("KINDRED_BIN")
    if given:
        return given
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    for profile in ("release", "debug"):
        path = target / profile / "kindred"
        if path.exists():
            return str(path)
    raise RuntimeError("no program to test: set KINDRED_BIN or run `cargo build --release`")


def run_program(*args, timeout=120, env=None, cwd=None):
    """Runs the program to its end and returns the finished process, output as text."""
    return subprocess.run(
        [program(), *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=timeout, env={**clean_environment(), **(env or {})}, cwd=cwd)


def clean_environment():
    """The environment without any AWS or Kindred setting of the machine."""
    return {name: value for name, value in os.environ.items()
            if not name.startswith(("AWS_", "KINDRED_"))}


class Server:
    """One `kindred serve` process and its data directory."""

    def __init__(self, home, env=None, args=(), data_dir=None):
        self.home = pathlib.Path(home)
        self.data_dir = pathlib.Path(data_dir) if data_dir else self.home / "data"
        self.log = self.home / "server.log"
        self.env = dict(env or {})
        self.args = list(args)
        self.process = None
        self.endpoint = None
        self.start()

    def start(self):
        """Starts the program and waits for its one line."""
        self.home.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [program(), "serve", "--data-dir", str(self.data_dir),
                 "--listen", "127.0.0.1:0", *self.args],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
                env={**clean_environment(), **self.env})
        lines = queue.Queue()
        output = self.process.stdout
        # The thread reads to the end, so that the program never blocks on a full pipe.
        self.printed = []

        def read():
            for line in output:
                self.printed.append(line)
                lines.put(line)
            lines.put(None)

        threading.Thread(target=read, daemon=True).start()
        try:
            line = lines.get(timeout=START_SECONDS_MAX)
        except queue.Empty:
            line = None
        if line is None or not line.startswith(LISTENING):
            self.kill()
            raise RuntimeError(f"the server did not start: it printed {line!r}; its log ends:\n"
                               + self.log_tail())
        self.endpoint = line[len(LISTENING):].strip()
        return self

    def log_tail(self, length=4000):
        """The end of the server's log, for messages."""
        return self.log.read_text(errors="replace")[-length:] if self.log.exists() else ""

    def stop(self):
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS_MAX)

    def kill(self):
        """SIGKILL: what a power cut looks like."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @property
    def address(self):
        """(host, port)"""
        host, port = self.endpoint.removeprefix("http://").rsplit(":", 1)
        return host, int(port)

    @property
    def credentials_file(self):
        return self.data_dir / "credentials"

    @property
    def keys(self):
        """(access key id, secret access key) from the credentials file."""
        parser = configparser.ConfigParser()
        parser.read(self.credentials_file)
        section = parser["default"]
        return section["aws_access_key_id"], section["aws_secret_access_key"]

    @property
    def client_environment(self):
        """What a user sets to point any AWS client here."""
        return {
            **clean_environment(),
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_SHARED_CREDENTIALS_FILE": str(self.credentials_file),
            "AWS_CONFIG_FILE": str(self.home / "no-config"),
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
        }

    def client(self, service, keys=None, **config):
        """A boto3 client that takes its keys from the credentials file, unless given."""
        core = botocore.session.Session()
        core.set_config_variable("credentials_file", str(self.credentials_file))
        core.set_config_variable("config_file", str(self.home / "no-config"))
        session = boto3.Session(botocore_session=core, region_name=REGION)
        given = {}
        if keys is not None:
            given = {"aws_access_key_id": keys[0], "aws_secret_access_key": keys[1]}
        options = {"retries": {"total_max_attempts": 1}, "read_timeout": 120, **config}
        return session.client(service, endpoint_url=self.endpoint, config=Config(**options), **given)

    def cli(self, *args, check=True, timeout=120):
        """Runs the AWS CLI of this Python and returns the finished process, output as text."""
        done = subprocess.run(
            [sys.executable, "-m", "awscli", *map(str, args)], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=timeout, env=self.client_environment)
        if check and done.returncode != 0:
            raise AssertionError(f"aws {' '.join(map(str, args))} failed: {done.stderr}")
        return done


def wait(describe, member, until=("ACTIVE",), limit=240, every=0.05):
    """Polls until the resource has one of the wanted states; a failure that is not wanted raises."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        found = describe()[member]
        if found["status"] in until:
            return found
        if found["status"].endswith("FAILED"):
            raise AssertionError(f"{member} failed: {found.get('failureReason')}")
        time.sleep(every)
    raise AssertionError(f"{member} did not become {until} within {limit} s")
