"""Fixtures: fresh servers, one shared server, and a trained world on it."""

import os

import pytest

from kindred_server import Server
from world import World

# Nothing of the machine's own AWS or Kindred settings may reach a client or a server.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


@pytest.fixture(scope="session")
def servers(tmp_path_factory):
    """Makes servers that end with the session at the latest."""
    started = []

    def make(env=None, args=()):
        server = Server(tmp_path_factory.mktemp("kindred"), env, args)
        started.append(server)
        return server

    yield make
    for server in started:
        server.kill()


@pytest.fixture
def fresh(tmp_path):
    """Makes servers that end with the test."""
    started = []

    def make(env=None, args=()):
        server = Server(tmp_path / f"server-{len(started)}", env, args)
        started.append(server)
        return server

    yield make
    for server in started:
        server.kill()


@pytest.fixture(scope="session")
def server(servers):
    """The server most tests share."""
    return servers()


@pytest.fixture(scope="session")
def world(server):
    """A trained solution version over the generated data, on the shared server."""
    return World(server, "shared").train()
