"""`kindred jobs`: what it shows of jobs of every kind, and to whom."""

import json

import pytest

from kindred_server import run_program
from world import ITEMS, World, csv, lines_of, rows

QUERIES = lines_of([*({"itemId": f"i{i}"} for i in range(ITEMS)), {"itemId": "nope"}])


@pytest.fixture(scope="module")
def world(servers):
    """A trained world that has answered one segment job."""
    world = World(servers(), "jobs").train()
    source = world.put("in/q.json", QUERIES)
    world.job = world.start_segments(source, world.url("out/"))
    world.await_segments(world.job)
    return world


def jobs(world, *args, code=0, data_dir=None):
    done = run_program("jobs", *args, "--data-dir", data_dir or world.server.data_dir)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def test_the_statistics_of_a_segment_job(world):
    shown = json.loads(jobs(world, "show", world.job, "--json"))
    assert shown["arn"] == world.job and shown["kind"] == "batch segment job"
    assert shown["status"] == "ACTIVE" and shown["created"] <= shown["updated"]
    assert shown["lines"] == ITEMS + 1 and shown["line_errors"] == 1
    assert shown["users"] == 60 and shown["items"] == ITEMS
    assert shown["dimension"] == 32 and shown["k"] == 10
    assert shown["output_bytes"] == len(world.get("out/q.json.out"))
    for name in ("train_seconds", "plan_seconds", "score_seconds", "render_seconds", "wall_seconds"):
        assert shown[name] >= 0, name
    assert shown["peak_memory_bytes"] > 1 << 20
    # A phase that did not run is absent, and so is the progress of a job that is done.
    assert "import_seconds" not in shown and "progress" not in shown
    text = jobs(world, "show", world.job)
    assert text.startswith(f"batch segment job   {world.job}\nstatus              ACTIVE\n")
    assert f"\nlines               {ITEMS + 1}\n" in text and "\npeak memory         " in text


def test_other_kinds_of_jobs_and_the_list(world):
    shown = json.loads(jobs(world, "show", world.version, "--json"))
    assert shown["kind"] == "solution version" and shown["status"] == "ACTIVE"
    assert shown["train_seconds"] >= 0 and shown["peak_memory_bytes"] > 1 << 20
    listed = [line.split(maxsplit=1) for line in jobs(world, "list").splitlines()]
    assert {arn for _, arn in listed} >= {world.job, world.version}
    assert {status for status, _ in listed} == {"ACTIVE"}
    imports = [arn for _, arn in listed if ":dataset-import-job/" in arn]
    assert len(imports) == 3
    rows_of = [json.loads(jobs(world, "show", arn, "--json"))["rows"] for arn in imports]
    assert sorted(rows_of) == sorted(len(lines) - 1 for lines in rows().values())


def test_failed_jobs_say_why_and_what_is_no_job_is_refused(world):
    location = world.put("bad/interactions.csv", csv(["USER_ID,ITEM_ID", "u1,i1"]))
    job = world.start_import("Interactions", location)
    found = world.await_import(job, until=("CREATE FAILED",))
    shown = json.loads(jobs(world, "show", job, "--json"))
    assert shown["status"] == "CREATE FAILED" and shown["failure_reason"] == found["failureReason"]
    assert "reason" in jobs(world, "show", job)
    assert "ResourceNotFoundException" in jobs(world, "show", world.job + "-not", code=1)
    for arn in (world.group, world.solution, "nothing"):
        assert "InvalidInputException" in jobs(world, "show", arn, code=1)


def test_whoever_may_describe_a_job_may_see_its_report(world, tmp_path):
    made = run_program("access", "create", "shown", "--rights", f"dataset-group:group-{world.name}",
                       "--data-dir", world.server.data_dir)
    assert made.returncode == 0, made.stderr
    other = run_program("access", "create", "elsewhere", "--rights", "dataset-group:other",
                        "--data-dir", world.server.data_dir)
    assert other.returncode == 0, other.stderr
    for name, text, code in (("shown", made.stdout, 0), ("elsewhere", other.stdout, 1)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "credentials").write_text(text)
        (folder / "credentials").chmod(0o600)
        done = run_program("jobs", "show", world.job, "--json", "--data-dir", folder,
                           "--endpoint", world.server.endpoint)
        assert done.returncode == code, done.stderr
        if code:
            assert "AccessDeniedException" in done.stderr
        else:
            assert json.loads(done.stdout)["lines"] == ITEMS + 1
