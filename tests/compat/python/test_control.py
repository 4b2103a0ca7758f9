"""Listing, paging, tags, describing, updating and deleting on the control plane."""

import datetime
import json

import pytest
from botocore.exceptions import ClientError

import wire
from kindred_server import ACCOUNT, ROLE, wait
from world import FIELDS, World, field, schema_text

ARN = f"arn:aws:personalize:us-east-1:{ACCOUNT}:"
RECIPE = "arn:aws:personalize:::recipe/aws-item-affinity"
NOWHERE = "s3://no-such-bucket/none.csv"


@pytest.fixture(scope="module")
def own(servers):
    """A trained world on a server of this file's own, so that whole lists can be compared."""
    return World(servers(), "own").train()


def pages(client, operation, member, size=2, **arguments):
    """All entries through the paginator; every page but the last is full and has a token."""
    found = []
    answers = list(client.get_paginator(operation).paginate(
        **arguments, PaginationConfig={"PageSize": size}))
    for answer in answers:
        assert set(answer) <= {member, "nextToken", "ResponseMetadata"}
        found.append(answer[member])
    assert "nextToken" not in answers[-1]
    assert all(len(page) == size for page in found[:-1]) and len(found[-1]) <= size
    return [entry for page in found for entry in page]


def assert_newest_first(entries):
    dates = [entry["creationDateTime"] for entry in entries]
    assert dates == sorted(dates, reverse=True)


def five(make):
    """The ARNs of five new resources."""
    return {make(f"page-{number}") for number in range(5)}


def check_pages(client, operation, member, arn, made, rest=frozenset(), **arguments):
    entries = pages(client, operation, member, **arguments)
    assert_newest_first(entries)
    arns = [entry[arn] for entry in entries]
    assert len(arns) == len(set(arns))
    assert set(arns) == made | set(rest)
    assert entries[0][arn] not in rest


def test_schemas_page(own):
    p = own.p
    made = five(lambda name: p.create_schema(name=name, schema=schema_text("Users"))["schemaArn"])
    check_pages(p, "list_schemas", "schemas", "schemaArn", made, own.schemas.values())
    for arn in made:
        p.delete_schema(schemaArn=arn)


def test_dataset_groups_and_datasets_page(own):
    p = own.p
    made = five(lambda name: p.create_dataset_group(name=name)["datasetGroupArn"])
    check_pages(p, "list_dataset_groups", "datasetGroups", "datasetGroupArn", made, {own.group})
    datasets = {p.create_dataset(name="users", datasetType="Users", schemaArn=own.schemas["Users"],
                                 datasetGroupArn=group)["datasetArn"] for group in made}
    check_pages(p, "list_datasets", "datasets", "datasetArn", datasets, own.datasets.values())
    listed = pages(p, "list_datasets", "datasets", datasetGroupArn=own.group)
    assert {entry["datasetArn"] for entry in listed} == set(own.datasets.values())
    for arn in datasets:
        p.delete_dataset(datasetArn=arn)
    for arn in made:
        p.delete_dataset_group(datasetGroupArn=arn)


def test_import_jobs_page(own):
    before = {entry["datasetImportJobArn"]
              for entry in own.p.list_dataset_import_jobs()["datasetImportJobs"]}
    made = five(lambda name: own.start_import("Users", NOWHERE))
    check_pages(own.p, "list_dataset_import_jobs", "datasetImportJobs", "datasetImportJobArn",
                made, before)
    for arn in made:
        failed = own.await_import(arn, until=("CREATE FAILED",))
        assert failed["failureReason"].startswith(
            f"Failed to create a data import job for Users dataset users-{own.name}. ")
    of_items = pages(own.p, "list_dataset_import_jobs", "datasetImportJobs",
                     datasetArn=own.datasets["Items"])
    assert len(of_items) == 1


def test_solutions_and_versions_page(own):
    made = five(lambda name: own.make_solution(name))
    check_pages(own.p, "list_solutions", "solutions", "solutionArn", made, {own.solution})
    check_pages(own.p, "list_solutions", "solutions", "solutionArn", made, {own.solution},
                datasetGroupArn=own.group)
    solution = sorted(made)[0]
    versions = five(lambda name: own.start_training(solution, name=name))
    assert f"{solution}/page-0" in versions
    check_pages(own.p, "list_solution_versions", "solutionVersions", "solutionVersionArn", versions,
                solutionArn=solution)
    for version in versions:
        own.await_version(version)
    for arn in made:
        own.p.delete_solution(solutionArn=arn)
    with pytest.raises(own.p.exceptions.ResourceNotFoundException):
        own.p.describe_solution_version(solutionVersionArn=f"{solution}/page-0")


def test_segment_jobs_page(own):
    source = own.put("in/page.json", b'{"itemId": "i0"}')
    made = five(lambda name: own.start_segments(source, own.url(f"out-{name}/"), name=name))
    check_pages(own.p, "list_batch_segment_jobs", "batchSegmentJobs", "batchSegmentJobArn", made,
                solutionVersionArn=own.version)
    for arn in made:
        own.await_segments(arn)
    entries = own.p.list_batch_segment_jobs(maxResults=1)["batchSegmentJobs"]
    assert set(entries[0]) == {"batchSegmentJobArn", "jobName", "status", "creationDateTime",
                               "lastUpdatedDateTime", "solutionVersionArn"}


def test_recipes_page_and_describe(own):
    p = own.p
    listed = pages(p, "list_recipes", "recipes", size=1)
    assert [recipe["name"] for recipe in listed] == ["aws-item-affinity", "aws-item-attribute-affinity"]
    assert p.list_recipes(domain="ECOMMERCE")["recipes"] == []
    assert p.list_recipes(recipeProvider="SERVICE")["recipes"] != []
    recipe = p.describe_recipe(recipeArn=RECIPE)["recipe"]
    assert recipe["recipeType"] == "USER_SEGMENTATION" and recipe["status"] == "ACTIVE"
    assert recipe["creationDateTime"].timestamp() == 1626307200
    algorithm = p.describe_algorithm(algorithmArn=recipe["algorithmArn"])["algorithm"]
    assert algorithm["defaultHyperParameters"] == {"hidden_dimension": "149"}
    assert algorithm["defaultHyperParameterRanges"]["integerHyperParameterRanges"] == [
        {"name": "hidden_dimension", "minValue": 32, "maxValue": 256, "isTunable": False}]
    feature = p.describe_feature_transformation(
        featureTransformationArn=recipe["featureTransformationArn"])["featureTransformation"]
    assert feature["status"] == "ACTIVE" and feature["defaultParameters"] == {}


@pytest.mark.parametrize("operation, member, arguments", [
    ("list_event_trackers", "eventTrackers", {}),
    ("list_campaigns", "campaigns", {}),
    ("list_recommenders", "recommenders", {}),
    ("list_batch_inference_jobs", "batchInferenceJobs", {}),
    ("list_metric_attributions", "metricAttributions", {}),
    ("list_dataset_export_jobs", "datasetExportJobs", {}),
])
def test_kinds_that_do_not_exist_here_are_empty_lists(own, operation, member, arguments):
    """Inventory and clean-up scripts list everything; an absent kind has no entries."""
    assert pages(own.p, operation, member, **arguments) == []


def test_tokens_belong_to_their_operation_and_arguments(own):
    p = own.p
    token = p.list_datasets(maxResults=1)["nextToken"]
    assert len(p.list_datasets(maxResults=1, nextToken=token)["datasets"]) == 1
    for call in (lambda: p.list_datasets(nextToken="nonsense"),
                 lambda: p.list_solutions(nextToken=token),
                 lambda: p.list_datasets(nextToken=token, datasetGroupArn=own.group),
                 lambda: p.list_datasets(nextToken=token[:-2])):
        with pytest.raises(p.exceptions.InvalidNextTokenException):
            call()
    with pytest.raises(p.exceptions.InvalidInputException):
        p.list_datasets(maxResults=101)
    with pytest.raises(p.exceptions.InvalidInputException):
        p.list_datasets(datasetGroupArn=ARN + "dataset-group/none")
    with pytest.raises(p.exceptions.ResourceNotFoundException):
        p.list_solution_versions(solutionArn=ARN + "solution/none")


def test_a_page_is_stable_while_things_come_and_go(own):
    p = own.p
    made = [p.create_schema(name=f"stable-{n}", schema=schema_text("Users"))["schemaArn"] for n in range(4)]
    first = p.list_schemas(maxResults=2)
    assert [entry["schemaArn"] for entry in first["schemas"]] == [made[3], made[2]]
    p.delete_schema(schemaArn=made[2])
    late = p.create_schema(name="stable-late", schema=schema_text("Users"))["schemaArn"]
    second = p.list_schemas(maxResults=2, nextToken=first["nextToken"])
    assert [entry["schemaArn"] for entry in second["schemas"]] == [made[1], made[0]]
    for arn in (made[0], made[1], made[3], late):
        p.delete_schema(schemaArn=arn)


def tags_of(p, arn):
    return {tag["tagKey"]: tag["tagValue"] for tag in p.list_tags_for_resource(resourceArn=arn)["tags"]}


def test_tags(own):
    p = own.p
    group = p.create_dataset_group(name="tagged", tags=[{"tagKey": "b", "tagValue": "1"},
                                                        {"tagKey": "a", "tagValue": ""}])["datasetGroupArn"]
    listed = p.list_tags_for_resource(resourceArn=group)["tags"]
    assert listed == [{"tagKey": "a", "tagValue": ""}, {"tagKey": "b", "tagValue": "1"}]
    p.tag_resource(resourceArn=group, tags=[{"tagKey": "b", "tagValue": "2"}, {"tagKey": "ö", "tagValue": "ü"}])
    assert tags_of(p, group) == {"a": "", "b": "2", "ö": "ü"}
    p.untag_resource(resourceArn=group, tagKeys=["a", "never-there"])
    assert tags_of(p, group) == {"b": "2", "ö": "ü"}
    assert "tags" not in p.describe_dataset_group(datasetGroupArn=group)["datasetGroup"]

    many = [{"tagKey": f"k{n}", "tagValue": "v"} for n in range(49)]
    with pytest.raises(p.exceptions.TooManyTagsException):
        p.tag_resource(resourceArn=group, tags=many)
    assert tags_of(p, group) == {"b": "2", "ö": "ü"}
    p.tag_resource(resourceArn=group, tags=many[:48])
    assert len(tags_of(p, group)) == 50
    with pytest.raises(p.exceptions.TooManyTagKeysException):
        p.untag_resource(resourceArn=group, tagKeys=[f"x{n}" for n in range(51)])
    for bad in ([{"tagKey": "aws:x", "tagValue": "v"}],
                [{"tagKey": "x", "tagValue": "aws:v"}],
                [{"tagKey": "k0", "tagValue": "v"}, {"tagKey": "k0", "tagValue": "w"}],
                [{"tagKey": "x" * 129, "tagValue": "v"}],
                [{"tagKey": "x", "tagValue": "v" * 257}],
                [{"tagKey": "semi;colon", "tagValue": "v"}]):
        with pytest.raises(p.exceptions.InvalidInputException) as caught:
            p.tag_resource(resourceArn=group, tags=bad)
        assert "semi;colon" not in str(caught.value)
    with pytest.raises(p.exceptions.InvalidInputException):
        p.list_tags_for_resource(resourceArn=own.schemas["Users"])
    with pytest.raises(p.exceptions.ResourceNotFoundException):
        p.list_tags_for_resource(resourceArn=ARN + "dataset-group/none")
    p.delete_dataset_group(datasetGroupArn=group)
    with pytest.raises(p.exceptions.ResourceNotFoundException):
        p.list_tags_for_resource(resourceArn=group)


def test_every_taggable_kind_takes_tags_when_it_is_made(own):
    p, tags = own.p, [{"tagKey": "team", "tagValue": "segments"}]
    group = p.create_dataset_group(name="tag-kinds", tags=tags)["datasetGroupArn"]
    dataset = p.create_dataset(name="d", datasetType="Interactions", datasetGroupArn=group, tags=tags,
                               schemaArn=own.schemas["Interactions"])["datasetArn"]
    job = p.create_dataset_import_job(jobName="tag-import", datasetArn=dataset, roleArn=ROLE, tags=tags,
                                      dataSource={"dataLocation": own.url("data/interactions.csv")}
                                      )["datasetImportJobArn"]
    own.await_import(job)
    solution = p.create_solution(name="tag-solution", datasetGroupArn=group, recipeArn=RECIPE, tags=tags,
                                 solutionConfig={"algorithmHyperParameters": {"hidden_dimension": "32"}}
                                 )["solutionArn"]
    version = p.create_solution_version(solutionArn=solution, tags=tags)["solutionVersionArn"]
    own.await_version(version)
    segments = own.start_segments(own.put("in/tag.json", b'{"itemId": "i0"}'), own.url("out-tag/"),
                                  version=version, tags=tags)
    own.await_segments(segments)
    for arn in (group, dataset, job, solution, version, segments):
        assert tags_of(p, arn) == {"team": "segments"}
    p.delete_solution(solutionArn=solution)
    p.delete_dataset(datasetArn=dataset)
    p.delete_dataset_group(datasetGroupArn=group)


def test_describe_gives_back_what_was_given(own):
    p = own.p
    text = json.dumps({"type": "record", "name": "Users", "version": "1.0", "namespace": "x.ü",
                       "fields": FIELDS["Users"]}, indent=1, ensure_ascii=False)
    arn = p.create_schema(name="as-given", schema=text, domain="ECOMMERCE")["schemaArn"]
    schema = p.describe_schema(schemaArn=arn)["schema"]
    assert schema["schema"] == text and schema["domain"] == "ECOMMERCE" and schema["name"] == "as-given"
    assert set(schema) == {"name", "schemaArn", "schema", "creationDateTime", "lastUpdatedDateTime", "domain"}

    answer = p.create_dataset_group(name="shop", domain="ECOMMERCE")
    assert answer["domain"] == "ECOMMERCE"
    group = p.describe_dataset_group(datasetGroupArn=answer["datasetGroupArn"])["datasetGroup"]
    assert group["domain"] == "ECOMMERCE" and group["status"] == "ACTIVE" and "roleArn" not in group
    assert "domain" not in p.describe_dataset_group(datasetGroupArn=own.group)["datasetGroup"]
    p.delete_dataset_group(datasetGroupArn=answer["datasetGroupArn"])
    p.delete_schema(schemaArn=arn)

    dataset = p.describe_dataset(datasetArn=own.datasets["Users"])["dataset"]
    assert dataset["datasetType"] == "USERS" and dataset["schemaArn"] == own.schemas["Users"]
    assert dataset["datasetArn"] == f"{ARN}dataset/group-own/USERS"
    assert "latestDatasetUpdate" not in dataset and "trackingId" not in dataset

    config = {"algorithmHyperParameters": {"hidden_dimension": "64"}, "eventValueThreshold": "0.5"}
    with pytest.raises(p.exceptions.InvalidInputException):
        own.make_solution("no-such-column", solutionConfig=config)
    config = {"algorithmHyperParameters": {"hidden_dimension": "64"},
              "eventsConfig": {"eventParametersList": [{"eventType": "click"}]}}
    arn = own.make_solution("described", solutionConfig=config)
    solution = p.describe_solution(solutionArn=arn)["solution"]
    assert solution["solutionConfig"] == config and solution["performAutoTraining"] is False
    assert solution["performHPO"] is False and solution["performAutoML"] is False
    assert "eventType" not in solution and "latestSolutionVersion" not in solution
    age = datetime.datetime.now(datetime.timezone.utc) - solution["creationDateTime"]
    assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=5)
    assert solution["creationDateTime"] == solution["lastUpdatedDateTime"]
    p.delete_solution(solutionArn=arn)


@pytest.mark.parametrize("changes", [
    {"recipeArn": "arn:aws:personalize:::recipe/aws-user-personalization"},
    {"performAutoML": True}, {"performHPO": True}, {"performIncrementalUpdate": True},
    {"performAutoTraining": True},
    {"solutionConfig": {"algorithmHyperParameters": {"hidden_dimension": "31"}}},
    {"solutionConfig": {"algorithmHyperParameters": {"hidden_dimension": "257"}}},
    {"solutionConfig": {"algorithmHyperParameters": {"hidden_dimension": "many"}}},
    {"solutionConfig": {"algorithmHyperParameters": {"bptt": "32"}}},
    {"solutionConfig": {"featureTransformationParameters": {"x": "y"}}},
    {"solutionConfig": {"eventsConfig": {"eventParametersList": [{"eventType": "click"}]}}, "eventType": "click"},
    {"solutionConfig": {"optimizationObjective": {"itemAttribute": "PRICE", "objectiveSensitivity": "LOW"}}},
    {"solutionConfig": {"autoMLConfig": {"metricName": "x"}}},
    {"solutionConfig": {"trainingDataConfig": {"excludedDatasetColumns": {"ITEMS": ["NO_SUCH"]}}}},
    {"solutionConfig": {"trainingDataConfig": {"excludedDatasetColumns": {"INTERACTIONS": ["USER_ID"]}}}},
    {"solutionConfig": {"trainingDataConfig": {"excludedDatasetColumns": {"ITEMS": ["PRICE"]},
                                               "includedDatasetColumns": {"ITEMS": ["GENRES"]}}}},
    {"eventType": "x" * 257},
])
def test_solutions_that_cannot_be_honoured_are_refused(own, changes):
    given = {"name": "refused", "datasetGroupArn": own.group, "recipeArn": RECIPE, **changes}
    with pytest.raises(own.p.exceptions.InvalidInputException):
        own.p.create_solution(**given)
    with pytest.raises(own.p.exceptions.ResourceNotFoundException):
        own.p.describe_solution(solutionArn=ARN + "solution/refused")


def test_an_unknown_recipe_is_not_found(own):
    with pytest.raises(own.p.exceptions.ResourceNotFoundException):
        own.p.create_solution(name="x", datasetGroupArn=own.group,
                              recipeArn="arn:aws:personalize:::recipe/none")


def test_update_dataset(own):
    p = own.p
    group = p.create_dataset_group(name="update")["datasetGroupArn"]
    arn = p.create_dataset(name="users", datasetType="USERS", datasetGroupArn=group,
                           schemaArn=own.schemas["Users"])["datasetArn"]
    wider = p.create_schema(name="wider", schema=schema_text(
        "Users", [*FIELDS["Users"], field("CITY", ["null", "string"])]))["schemaArn"]
    narrower = p.create_schema(name="narrower", schema=schema_text("Users", FIELDS["Users"][:2]))["schemaArn"]
    strict = p.create_schema(name="strict", schema=schema_text(
        "Users", [*FIELDS["Users"], field("CITY", "string")]))["schemaArn"]
    for schema in (narrower, strict, own.schemas["Items"]):
        with pytest.raises(p.exceptions.InvalidInputException):
            p.update_dataset(datasetArn=arn, schemaArn=schema)
    assert p.update_dataset(datasetArn=arn, schemaArn=wider)["datasetArn"] == arn
    dataset = wait(lambda: p.describe_dataset(datasetArn=arn), "dataset")
    assert dataset["schemaArn"] == wider and dataset["latestDatasetUpdate"]["schemaArn"] == wider
    with pytest.raises(p.exceptions.InvalidInputException):
        p.update_dataset(datasetArn=own.datasets["Interactions"], schemaArn=own.schemas["Interactions"])
    p.delete_dataset(datasetArn=arn)
    for schema in (wider, narrower, strict):
        p.delete_schema(schemaArn=schema)
    p.delete_dataset_group(datasetGroupArn=group)


def test_names_taken_and_names_free_again(own):
    p = own.p
    for call in (lambda: p.create_schema(name="users-own", schema=schema_text("Users")),
                 lambda: p.create_dataset_group(name="group-own"),
                 lambda: own.make_solution("solution-own"),
                 lambda: p.create_dataset(name="another", datasetType="users", datasetGroupArn=own.group,
                                          schemaArn=own.schemas["Users"])):
        with pytest.raises(p.exceptions.ResourceAlreadyExistsException):
            call()
    first = p.create_dataset_group(name="phoenix")["datasetGroupArn"]
    p.delete_dataset_group(datasetGroupArn=first)
    with pytest.raises(p.exceptions.ResourceNotFoundException):
        p.describe_dataset_group(datasetGroupArn=first)
    assert p.create_dataset_group(name="phoenix")["datasetGroupArn"] == first
    p.delete_dataset_group(datasetGroupArn=first)


def test_deletion_rules_and_the_order_of_cleaning_up(fresh):
    world = World(fresh(), "clean").train()
    p = world.p
    output = world.segments("kept", b'{"itemId": "i0"}')
    for call in (lambda: p.delete_dataset_group(datasetGroupArn=world.group),
                 *(lambda arn=arn: p.delete_schema(schemaArn=arn) for arn in world.schemas.values())):
        with pytest.raises(p.exceptions.ResourceInUseException):
            call()
    # A trained version goes on working without the datasets it came from.
    for arn in world.datasets.values():
        p.delete_dataset(datasetArn=arn)
        with pytest.raises(p.exceptions.ResourceNotFoundException):
            p.describe_dataset(datasetArn=arn)
    assert p.list_dataset_import_jobs()["datasetImportJobs"] == []
    source = world.url("in/kept.json")
    world.await_segments(world.start_segments(source, world.url("out-later/")))
    assert world.get("out-later/kept.json.out") == output
    with pytest.raises(p.exceptions.ResourceInUseException):
        p.delete_dataset_group(datasetGroupArn=world.group)
    p.delete_solution(solutionArn=world.solution)
    for call in (lambda: p.describe_solution(solutionArn=world.solution),
                 lambda: p.describe_solution_version(solutionVersionArn=world.version),
                 lambda: p.get_solution_metrics(solutionVersionArn=world.version),
                 lambda: p.delete_solution(solutionArn=world.solution)):
        with pytest.raises(p.exceptions.ResourceNotFoundException):
            call()
    for arn in world.schemas.values():
        p.delete_schema(schemaArn=arn)
    p.delete_dataset_group(datasetGroupArn=world.group)
    assert p.list_dataset_groups()["datasetGroups"] == [] and p.list_schemas()["schemas"] == []
    assert p.list_batch_segment_jobs()["batchSegmentJobs"] == []
    # The names of the group's jobs are free again.
    World(world.server, "clean-2", kinds=("Users",)).make_datasets()


def test_stopping_a_version(own):
    """The last of several versions is still waiting or training when it is stopped."""
    p = own.p
    solution = own.make_solution("stopped")
    versions = [own.start_training(solution) for _ in range(4)]
    p.stop_solution_version_creation(solutionVersionArn=versions[-1])
    stopped = own.await_version(versions[-1], until=("CREATE STOPPED",))
    assert "failureReason" not in stopped
    with pytest.raises(p.exceptions.InvalidInputException):
        p.stop_solution_version_creation(solutionVersionArn=versions[-1])
    with pytest.raises(p.exceptions.InvalidInputException):
        own.start_segments(own.url("in/x.json"), own.url("out/"), version=versions[-1])
    for version in versions[:-1]:
        own.await_version(version)
    p.delete_solution(solutionArn=solution)


@pytest.mark.parametrize("operation, arguments", [
    ("create_campaign", {"name": "x", "solutionVersionArn": ARN + "solution/x/1"}),
    ("create_batch_inference_job", {
        "jobName": "x", "solutionVersionArn": ARN + "solution/x/1", "roleArn": ROLE,
        "jobInput": {"s3DataSource": {"path": "s3://b/x"}},
        "jobOutput": {"s3DataDestination": {"path": "s3://b/y/"}}}),
    ("create_recommender", {"name": "x", "datasetGroupArn": ARN + "dataset-group/x", "recipeArn": RECIPE}),
])
def test_operations_that_are_not_offered_say_so(own, operation, arguments):
    with pytest.raises(own.p.exceptions.InvalidInputException) as caught:
        getattr(own.p, operation)(**arguments)
    name = "".join(part.capitalize() for part in operation.split("_"))
    assert caught.value.response["Error"]["Message"] == f"Operation {name} is not supported by this server."


def test_the_events_plane_says_that_it_is_not_offered(own):
    events = own.server.client("personalize-events")
    with pytest.raises(ClientError) as caught:
        events.put_events(trackingId="x", sessionId="s",
                          eventList=[{"eventType": "click", "itemId": "i0", "sentAt": 1_700_000_000}])
    assert caught.value.response["Error"]["Code"] == "InvalidInputException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_group_is_not_made_with_a_key_that_cannot_be_used(own):
    """A key that would be accepted and ignored would be a false promise; so would one that is not there."""
    key = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/one"
    with pytest.raises(own.p.exceptions.InvalidInputException):
        own.p.create_dataset_group(name="keyed", roleArn=ROLE, kmsKeyArn=key)
    with pytest.raises(own.p.exceptions.InvalidInputException):
        own.p.create_dataset_group(name="keyed", kmsKeyArn=key)


def test_answers_on_the_wire_carry_times_as_numbers(own):
    answer = wire.call(own.server, "DescribeSolution", {"solutionArn": own.solution})
    solution = answer.json["solution"]
    for name in ("creationDateTime", "lastUpdatedDateTime"):
        assert isinstance(solution[name], (int, float))
        text = answer.body.decode().split(f'"{name}":', 1)[1].split(",")[0].strip(" }")
        assert "e" not in text.lower() and len(text.partition(".")[2]) <= 3
    assert None not in solution.values()
