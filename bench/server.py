"""A server to measure, and waiting for its jobs."""

import os
import pathlib
import subprocess
import time

import boto3
import botocore.session
from botocore.config import Config

ROLE = "arn:aws:iam::000000000000:role/kindred"
REGION = "us-east-1"
POLL_SECONDS = 0.05
WAIT_SECONDS_MAX = 3_600


class Server:
    """A server over the data directory `data` below `home`, made if it is not there. `more` are flags."""

    def __init__(self, program, home, *more):
        self.data = pathlib.Path(home) / "data"
        self.log = open(pathlib.Path(home) / "log", "ab")
        start = time.monotonic()
        self.process = subprocess.Popen(
            [program, "serve", "--data-dir", str(self.data), "--listen", "127.0.0.1:0", *more],
            stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            raise SystemExit(f"the server did not start: {line!r}")
        self.start_seconds = time.monotonic() - start
        self.endpoint = line.split()[-1]

    def client(self, service):
        core = botocore.session.Session()
        core.set_config_variable("credentials_file", str(self.data / "credentials"))
        return boto3.Session(botocore_session=core, region_name=REGION).client(
            service, endpoint_url=self.endpoint, config=Config(read_timeout=600))

    def cpu_seconds(self):
        """User and system time of the server so far, from the kernel."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_memory_bytes(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0

    def kill(self):
        """Ends it as a power cut would, as far as the process goes."""
        self.process.kill()
        self.process.wait(60)
        self.log.close()

    def stop(self):
        self.process.terminate()
        self.process.wait(60)
        self.log.close()


def wait(describe, member):
    end = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < end:
        found = describe()[member]
        if found["status"] == "ACTIVE":
            return found
        if found["status"].endswith("FAILED"):
            raise SystemExit(f"{member} failed: {found.get('failureReason')}")
        time.sleep(POLL_SECONDS)
    raise SystemExit(f"{member} took more than {WAIT_SECONDS_MAX} s")
