"""The whole way, from CSV files to segments, with boto3 and with the AWS CLI."""

import datetime
import json
import uuid

import pytest

from kindred_server import ACCOUNT, ROLE, wait
from world import ITEMS, World, assert_sensible, csv, line, lines_of, rows, schema_text

ARN = f"arn:aws:personalize:us-east-1:{ACCOUNT}:"
QUERIES = lines_of([{"itemId": f"i{i}"} for i in range(ITEMS)])
METRICS = {"coverage", "hits_at_1_percent", "recall_at_1_percent"}


def test_boto3_goes_the_whole_way(fresh):
    server = fresh()
    world = World(server, "flow")
    p = world.p
    world.make_datasets()
    for kind in world.kinds:
        location = world.put(f"data/{kind.lower()}.csv", csv(world.data[kind]))
        arn = world.start_import(kind, location, "FULL")
        job = world.await_import(arn)
        assert job["datasetImportJobArn"] == arn
        assert job["dataSource"] == {"dataLocation": location}
        assert job["importMode"] == "FULL" and job["roleArn"] == ROLE
        assert "failureReason" not in job

    solution = world.make_solution()
    answer = p.create_solution_version(solutionArn=solution)
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert str(uuid.UUID(request_id)) == request_id
    version = world.version = answer["solutionVersionArn"]
    described = world.await_version(version)
    assert described["trainingMode"] == "FULL" and described["trainingHours"] >= 0
    assert described["name"] == version.split(":solution/")[1]
    assert p.describe_solution(solutionArn=solution)["solution"]["latestSolutionVersion"][
        "solutionVersionArn"] == version

    metrics = p.get_solution_metrics(solutionVersionArn=version)
    assert metrics["solutionVersionArn"] == version
    assert set(metrics["metrics"]) == METRICS
    assert all(0 <= value and round(value, 4) == value for value in metrics["metrics"].values())
    assert 0 < metrics["metrics"]["coverage"] <= 1
    assert 0 <= metrics["metrics"]["recall_at_1_percent"] <= 1

    source = world.put("in/queries.json", QUERIES)
    arn = world.start_segments(source, world.url("out"))
    job = world.await_segments(arn)
    assert job["batchSegmentJobArn"] == arn and job["numResults"] == 10
    assert job["jobInput"] == {"s3DataSource": {"path": source}}
    assert job["jobOutput"] == {"s3DataDestination": {"path": world.url("out")}}
    assert job["solutionVersionArn"] == version and job["roleArn"] == ROLE
    age = datetime.datetime.now(datetime.timezone.utc) - job["creationDateTime"]
    assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=10)
    assert job["lastUpdatedDateTime"] >= job["creationDateTime"]

    assert world.keys("out") == ["out/_CHECK", "out/queries.json.out"]
    assert world.get("out/_CHECK") == b""
    output = world.get("out/queries.json.out")
    assert_sensible(output)
    assert_format(QUERIES, output)
    assert world.segments("again", QUERIES) == output


def assert_format(queries, output):
    """The output is, to the byte, what the documented format makes of its own ids."""
    expected = ""
    for query, text in zip(queries.decode().splitlines(), output.decode().splitlines(), strict=True):
        expected += line(query, json.loads(text)["output"]["usersList"])
    assert output.decode() == expected


def test_the_input_is_echoed_to_the_byte_and_bad_lines_stand_in_their_place(world):
    queries = ('{"itemId": "i0"}\n'
               '{"itemId":"nope"}\r\n'
               '\n'
               '  { "itemId" : "i1", "note": "ü" }\t\n'
               'not json\n'
               '{"item": "i0"}')
    output = world.segments("echo", queries.encode(), num_results=3).decode()
    found = [json.loads(text)["output"]["usersList"] for text in output.splitlines()]
    assert [len(users) for users in found] == [3, 0, 3, 0, 0]
    assert output == (
        line('{"itemId": "i0"}', found[0])
        + line('{"itemId":"nope"}', [],
               "User error: Item nope was not present when the solution version was created")
        + line('{ "itemId" : "i1", "note": "ü" }', found[2])
        + line('"not json"', [], "User error: Input line is not a valid JSON object")
        + line('{"item": "i0"}', [],
               "User error: Required fields for the provided recipe are itemId"))


def test_num_results_counts_from_one_to_more_than_there_are_users(world):
    full = world.segments("k-all", b'{"itemId": "i4"}', num_results=5_000_000)
    users = json.loads(full)["output"]["usersList"]
    assert sorted(users) == sorted(f"u{u}" for u in range(60))
    for count in (1, 2, 25, 59, 60, 61):
        part = world.segments(f"k-{count}", b'{"itemId": "i4"}', num_results=count)
        assert json.loads(part)["output"]["usersList"] == users[:count]
    default = world.segments("k-default", b'{"itemId": "i4"}', num_results=None)
    assert json.loads(default)["output"]["usersList"] == users[:25]


def test_scores_are_written_when_a_tag_asks_for_them(world):
    queries = QUERIES + b'{"itemId": "nope"}\n'
    plain = world.segments("scores-not", queries, tags=[
        {"tagKey": "kindred:scores", "tagValue": "false"}])
    assert b"scores" not in plain and plain == world.segments("scores-none", queries)
    tagged = world.segments("scores", queries, tags=[
        {"tagKey": "kindred:scores", "tagValue": "true"}, {"tagKey": "team", "tagValue": "crm"}])
    *answers, refused = tagged.decode().splitlines()
    *users, error = plain.decode().splitlines()
    assert refused == error
    for answer, without in zip(answers, users, strict=True):
        start, end = answer.index(', "scores": ['), answer.rindex("]}")
        assert answer[:start] + answer[end + 1:] == without
        scores = json.loads(answer)["output"]["scores"]
        assert len(scores) == 10 and scores == sorted(scores, reverse=True)
        assert all(0 < score < 1 for score in scores)
        written = answer[start + len(', "scores": ['):end].split(",")
        assert written == [shortest(score) for score in scores]
    source = world.put("in/tag.json", QUERIES)
    with pytest.raises(world.p.exceptions.InvalidInputException, match="must be true or false"):
        world.start_segments(source, world.url("tag/"), tags=[
            {"tagKey": "kindred:scores", "tagValue": "yes"}])


def shortest(score):
    """A probability as it should be written."""
    text = f"{score:.6g}"
    return text.replace("e-0", "e-")


def test_a_prefix_gives_one_output_per_input(world):
    for key, body in {"many/b.json": b'{"itemId": "i1"}', "many/a.json": b'{"itemId": "i0"}\n',
                      "many/sub/c.json": b'{"itemId": "i2"}', "many/_hidden.json": b"x",
                      "many/.hidden": b"x", "many/empty.json": b"", "many/folder/": b"",
                      "many/old.json.out": b"x", "manyfold.json": b'{"itemId": "i3"}'}.items():
        world.put(key, body)
    world.await_segments(world.start_segments(world.url("many/"), world.url("many-out/"), 2))
    assert world.keys("many-out/") == ["many-out/_CHECK", "many-out/a.json.out",
                                       "many-out/b.json.out", "many-out/sub/c.json.out"]
    row = json.loads(world.get("many-out/sub/c.json.out"))
    assert row["input"] == {"itemId": "i2"} and len(row["output"]["usersList"]) == 2


def test_several_bulk_imports_make_one_dataset(fresh):
    """FULL and INCREMENTAL together train the same model as one file with everything."""
    data = rows()
    outputs = []
    for parts in ([data["Interactions"]],
                  [data["Interactions"][:1 + 1000], data["Interactions"][:1] + data["Interactions"][1001:]]):
        world = World(fresh(), "bulk", kinds=("Interactions",))
        world.make_datasets()
        for number, part in enumerate(parts):
            location = world.put(f"data/{number}.csv", csv(part))
            world.await_import(world.start_import(
                "Interactions", location, "INCREMENTAL" if number else "FULL"))
        world.version = world.start_training(world.make_solution())
        world.await_version(world.version)
        outputs.append(world.segments("q", QUERIES))
    assert outputs[0] == outputs[1]


def test_the_aws_cli_goes_the_whole_way(fresh, tmp_path):
    server = fresh()
    cli = server.cli
    recipes = json.loads(cli("personalize", "list-recipes").stdout)["recipes"]
    assert "aws-item-affinity" in [recipe["name"] for recipe in recipes]
    identity = json.loads(cli("sts", "get-caller-identity").stdout)
    assert identity["Account"] == ACCOUNT

    data = rows()
    cli("s3", "mb", "s3://cli-demo")
    for kind, lines in data.items():
        path = tmp_path / f"{kind.lower()}.csv"
        path.write_bytes(csv(lines))
        cli("s3", "cp", path, f"s3://cli-demo/data/{kind.lower()}.csv")
    queries = tmp_path / "queries.json"
    queries.write_bytes(QUERIES)
    cli("s3", "cp", queries, "s3://cli-demo/in/queries.json")
    listed = cli("s3", "ls", "s3://cli-demo/", "--recursive").stdout
    assert [row.split()[-1] for row in listed.splitlines()] == [
        "data/interactions.csv", "data/items.csv", "data/users.csv", "in/queries.json"]

    def personalize(*args):
        return json.loads(cli("personalize", *args).stdout)

    group = personalize("create-dataset-group", "--name", "cli")["datasetGroupArn"]
    for kind in data:
        schema = personalize("create-schema", "--name", f"cli-{kind.lower()}",
                             "--schema", schema_text(kind))["schemaArn"]
        dataset = personalize("create-dataset", "--name", kind.lower(), "--dataset-type", kind,
                              "--schema-arn", schema, "--dataset-group-arn", group)["datasetArn"]
        assert dataset == f"{ARN}dataset/cli/{kind.upper()}"
        job = personalize("create-dataset-import-job", "--job-name", f"cli-{kind.lower()}",
                          "--dataset-arn", dataset, "--role-arn", ROLE, "--data-source",
                          f"dataLocation=s3://cli-demo/data/{kind.lower()}.csv"
                          )["datasetImportJobArn"]
        wait(lambda: personalize("describe-dataset-import-job", "--dataset-import-job-arn", job),
             "datasetImportJob")
    solution = personalize(
        "create-solution", "--name", "cli", "--dataset-group-arn", group,
        "--recipe-arn", "arn:aws:personalize:::recipe/aws-item-affinity", "--no-perform-auto-training",
        "--solution-config", "algorithmHyperParameters={hidden_dimension=32}")["solutionArn"]
    version = personalize("create-solution-version", "--solution-arn", solution)["solutionVersionArn"]
    wait(lambda: personalize("describe-solution-version", "--solution-version-arn", version),
         "solutionVersion")
    assert set(personalize("get-solution-metrics", "--solution-version-arn", version)["metrics"]) == METRICS
    job = personalize("create-batch-segment-job", "--job-name", "cli", "--solution-version-arn", version,
                      "--num-results", "10", "--role-arn", ROLE,
                      "--job-input", "s3DataSource={path=s3://cli-demo/in/queries.json}",
                      "--job-output", "s3DataDestination={path=s3://cli-demo/out/}")["batchSegmentJobArn"]
    assert job == f"{ARN}batch-segment-job/cli"
    wait(lambda: personalize("describe-batch-segment-job", "--batch-segment-job-arn", job),
         "batchSegmentJob")
    answer = tmp_path / "answer.out"
    cli("s3", "cp", "s3://cli-demo/out/queries.json.out", answer)
    assert_sensible(answer.read_bytes())
    assert_format(QUERIES, answer.read_bytes())

    refused = cli("personalize", "describe-schema", "--schema-arn", ARN + "schema/none", check=False)
    assert refused.returncode != 0 and "(ResourceNotFoundException)" in refused.stderr
