"""Stopped or killed in the middle of its work, the server goes on where it was.

Every job ends, and what comes out is, to the byte, what an undisturbed server gives.
"""

import time

import pytest

from kindred_server import run_program
from world import ITEMS, World, csv, lines_of, rows

QUERIES = lines_of([{"itemId": f"i{i}"} for i in range(ITEMS)])
# Work is made longer until the server is caught in the middle of it.
TRIES = 6


@pytest.fixture(scope="module")
def calm(servers):
    """The undisturbed run that the others are compared with."""
    return World(servers(), "calm", kinds=("Interactions",)).train()


def stop(server):
    assert server.stop() == 0, server.log_tail()


def kill(server):
    server.kill()


def long_queries(count):
    """Many lines, all items in turn, one line in fifty with an error."""
    block = b"".join(b'{"itemId": "nope"}\n' if n % 50 == 49 else b'{"itemId": "i%d"}\n' % (n % ITEMS)
                     for n in range(1000))
    return block * (count // 1000)


def caught_in_progress(describe, member):
    """True once the job runs; False when it has ended before it could be disturbed."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        status = describe()[member]["status"]
        if status == "CREATE IN_PROGRESS":
            return True
        if status == "ACTIVE":
            return False
        assert status == "CREATE PENDING", status
        time.sleep(0.002)
    raise AssertionError(f"{member} did not start")


@pytest.mark.parametrize("end", [stop, kill])
def test_a_segment_job_goes_on(fresh, calm, end):
    world = World(fresh(), "calm", kinds=("Interactions",)).train()
    for attempt in range(TRIES):
        body = long_queries(100_000 << attempt)
        source = world.put(f"in/long-{attempt}.json", body)
        output = f"out-{attempt}/long-{attempt}.json.out"
        arn = world.start_segments(source, world.url(f"out-{attempt}/"), 25)
        if not caught_in_progress(lambda: world.p.describe_batch_segment_job(batchSegmentJobArn=arn),
                                  "batchSegmentJob"):
            continue
        visible = output in world.keys(f"out-{attempt}/")
        end(world.server)
        world.server.start()
        world.reconnect()
        job = world.p.describe_batch_segment_job(batchSegmentJobArn=arn)["batchSegmentJob"]
        assert job["status"] in ("CREATE PENDING", "CREATE IN_PROGRESS", "ACTIVE")
        assert not visible, "an output object appears only when it is complete"
        world.await_segments(arn)
        assert calm.segments(f"long-{attempt}", body, 25) == world.get(output)
        assert world.keys(f"out-{attempt}/") == [f"out-{attempt}/_CHECK", output]
        return
    raise AssertionError("no job was long enough to be disturbed")


@pytest.mark.parametrize("end", [stop, kill])
def test_an_import_goes_on(fresh, end):
    """The dataset that a disturbed import leaves trains the same model."""
    quiet, disturbed = fresh(), fresh()
    for attempt in range(TRIES):
        data = {"Interactions": rows(events_per_user=2_000 << attempt)["Interactions"]}
        worlds = [World(server, f"import-{attempt}", data, kinds=("Interactions",))
                  for server in (quiet, disturbed)]
        arns = []
        for world in worlds:
            world.make_datasets()
            location = world.put("data/interactions.csv", csv(data["Interactions"]))
            arns.append(world.start_import("Interactions", location))
        world = worlds[1]
        caught = caught_in_progress(
            lambda: world.p.describe_dataset_import_job(datasetImportJobArn=arns[1]), "datasetImportJob")
        if not caught:
            continue
        end(disturbed)
        disturbed.start()
        outputs = []
        for world, arn in zip(worlds, arns):
            world.reconnect()
            world.await_import(arn)
            world.version = world.start_training(world.make_solution())
            world.await_version(world.version)
            outputs.append(world.segments("q", QUERIES))
        assert outputs[0] == outputs[1]
        return
    raise AssertionError("no import was long enough to be disturbed")


@pytest.mark.parametrize("end", [stop, kill])
def test_training_goes_on(fresh, calm, end):
    world = World(fresh(), "calm", kinds=("Interactions",)).make_datasets().import_data()
    solution = world.make_solution()
    for _ in range(TRIES):
        version = world.start_training(solution)
        if not caught_in_progress(
                lambda: world.p.describe_solution_version(solutionVersionArn=version), "solutionVersion"):
            continue
        end(world.server)
        world.server.start()
        world.reconnect()
        world.version = version
        world.await_version(version)
        assert world.segments("q", QUERIES) == calm.segments(f"q-{end.__name__}", QUERIES)
        assert (world.p.get_solution_metrics(solutionVersionArn=version)["metrics"]
                == calm.p.get_solution_metrics(solutionVersionArn=calm.version)["metrics"])
        return
    raise AssertionError("no training was long enough to be disturbed")


def test_what_was_answered_is_there_after_a_crash(fresh):
    """Whatever the server said it had made is there after a kill, round after round."""
    server = fresh()
    made = []
    for round_number in range(5):
        p = server.client("personalize")
        for number in range(10):
            made.append(p.create_dataset_group(name=f"g-{round_number}-{number}")["datasetGroupArn"])
        server.kill()
        server.start()
        found = [entry["datasetGroupArn"] for page in server.client("personalize").get_paginator(
            "list_dataset_groups").paginate() for entry in page["datasetGroups"]]
        assert sorted(found) == sorted(made)


def test_a_second_server_on_the_same_data_is_refused(fresh):
    server = fresh()
    done = run_program("serve", "--data-dir", server.data_dir, "--listen", "127.0.0.1:0", timeout=60)
    assert done.returncode != 0 and "listening on" not in done.stdout and done.stderr.strip()
    server.client("personalize").list_recipes()
