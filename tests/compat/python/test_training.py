"""What a solution's settings do to training: event types, thresholds, weights, columns, dimension."""

import json
import random

import pytest

from world import FIELDS, ITEMS, USERS, World, csv, field, lines_of, rows, schema_text

QUERIES = lines_of([{"itemId": f"i{i}"} for i in range(ITEMS)])
EVENTS_PER_TYPE = 20


def two_sided():
    """Users click on items of their own parity and purchase those of the other; a purchase has value 5."""
    chance = random.Random(3)
    lines = ["USER_ID,ITEM_ID,EVENT_TYPE,EVENT_VALUE,TIMESTAMP"]
    for u in range(USERS):
        for t in range(EVENTS_PER_TYPE):
            for side, kind, value in ((u % 2, "click", 1), (1 - u % 2, "Purchase", 5)):
                i = chance.randrange(0, ITEMS, 2) + side
                lines.append(f"u{u},i{i},{kind},{value},{1_700_000_000 + 3600 * t + u}")
    return {"Interactions": lines}


@pytest.fixture(scope="module")
def events(server):
    """Datasets with event types and values, imported, nothing trained."""
    world = World(server, "events", two_sided(), ("Interactions",))
    world.s3.create_bucket(Bucket=world.bucket)
    world.group = world.p.create_dataset_group(name="group-events")["datasetGroupArn"]
    fields = [*FIELDS["Interactions"], field("EVENT_VALUE", ["null", "float"])]
    schema = world.p.create_schema(
        name="events", schema=schema_text("Interactions", fields))["schemaArn"]
    world.datasets["Interactions"] = world.p.create_dataset(
        name="events", datasetType="INTERACTIONS", schemaArn=schema,
        datasetGroupArn=world.group)["datasetArn"]
    return world.import_data()


def config(**more):
    return {"algorithmHyperParameters": {"hidden_dimension": "32"}, **more}


def rules(*entries):
    return config(eventsConfig={"eventParametersList": list(entries)})


def train(world, name, **more):
    """Trains a solution with these settings; gives its version."""
    arn = world.start_training(world.make_solution(name, **more))
    world.await_version(arn)
    return arn


def share_of_own_side(world, name, version):
    """How many of the users found are on their item's side."""
    output = world.segments(name, QUERIES, version=version)
    found = [json.loads(text)["output"]["usersList"] for text in output.decode().splitlines()]
    own = [int(user[1:]) % 2 == i % 2 for i, users in enumerate(found) for user in users]
    return sum(own) / len(own)


@pytest.mark.parametrize("name, more, clicks", [
    ("type-click", {"eventType": "Click"}, True),
    ("type-purchase", {"eventType": "purchase"}, False),
    ("threshold", {"solutionConfig": config(eventValueThreshold="4.5")}, False),
    ("both", {"eventType": "PURCHASE", "solutionConfig": config(eventValueThreshold="5")}, False),
    ("rule", {"solutionConfig": rules({"eventType": "click"})}, True),
    ("rules", {"solutionConfig": rules({"eventType": "click", "eventValueThreshold": 2},
                                       {"eventType": "purchase", "weight": 0.5})}, False),
])
def test_events_are_chosen_by_type_and_value(events, name, more, clicks):
    version = train(events, name, **more)
    described = events.p.describe_solution_version(solutionVersionArn=version)["solutionVersion"]
    assert described.get("eventType") == more.get("eventType")
    assert described["solutionConfig"] == more.get("solutionConfig", config())
    share = share_of_own_side(events, name, version)
    assert share > 0.9 if clicks else share < 0.1


@pytest.mark.parametrize("name, more, types", [
    ("few-of-type", {"eventType": "View"}, "View"),
    ("few-of-value", {"eventType": "click", "solutionConfig": config(eventValueThreshold="2")}, "click"),
    ("few-of-rules", {"solutionConfig": rules({"eventType": "view"}, {"eventType": "Like"})}, "view, Like"),
])
def test_the_failure_names_the_types(events, name, more, types):
    version = events.start_training(events.make_solution(name, **more))
    failed = events.await_version(version, until=("CREATE FAILED",))
    assert failed["failureReason"] == (
        f"Dataset has fewer than 1000 interactions after filtering by event type: {types}")


def test_weights_are_kept_and_one_must_be_above_zero(events):
    mixed = rules({"eventType": "click", "weight": 0.25}, {"eventType": "purchase", "weight": 1.0})
    version = train(events, "weights", solutionConfig=mixed)
    described = events.p.describe_solution_version(solutionVersionArn=version)["solutionVersion"]
    assert described["solutionConfig"] == mixed
    nothing = rules({"eventType": "click", "weight": 0.0}, {"eventType": "purchase", "weight": 0.0})
    refused = events.p.exceptions.InvalidInputException
    with pytest.raises(refused, match="at least one event type needs a weight above 0"):
        events.make_solution("weightless", solutionConfig=nothing)
    with pytest.raises(refused, match="less than or equal to 1"):
        events.make_solution("heavy", solutionConfig=rules({"eventType": "click", "weight": 1.5}))
    # A weight of 0 is context: with nothing else in the data there is nothing to learn.
    absent = rules({"eventType": "click", "weight": 0.0}, {"eventType": "like"})
    version = events.start_training(events.make_solution("context-only", solutionConfig=absent))
    failed = events.await_version(version, until=("CREATE FAILED",))
    assert failed["failureReason"] == (
        "Dataset has no interactions of an event type with a weight above 0.")


def test_columns_that_choose_events_cannot_be_left_out(events):
    refused = events.p.exceptions.InvalidInputException
    for member, columns in (("excludedDatasetColumns", ["EVENT_TYPE"]),
                            ("includedDatasetColumns", ["EVENT_VALUE"])):
        choice = config(trainingDataConfig={member: {"INTERACTIONS": columns}})
        with pytest.raises(refused, match=f"trainingDataConfig.{member} leaves EVENT_TYPE out"):
            events.make_solution("left-out", eventType="click", solutionConfig=choice)
    choice = config(trainingDataConfig={"excludedDatasetColumns": {"INTERACTIONS": ["EVENT_VALUE"]}})
    version = train(events, "left-out", eventType="click", solutionConfig=choice)
    assert share_of_own_side(events, "left-out", version) > 0.9


@pytest.mark.parametrize("dimension", ["32", "256"])
def test_the_smallest_and_the_largest_dimension_train(events, dimension):
    sized = {"algorithmHyperParameters": {"hidden_dimension": dimension}}
    version = train(events, f"dimension-{dimension}", eventType="click", solutionConfig=sized)
    assert share_of_own_side(events, f"dimension-{dimension}", version) > 0.9


def test_an_item_is_known_by_the_columns_that_take_part(server):
    data = rows()
    data["Items"] += ["new,Comedy,", "bare,,"]
    world = World(server, "columns", data, ("Interactions", "Items")).make_datasets()
    for kind in world.kinds:
        location = world.put(f"data/{kind.lower()}.csv", csv(data[kind]))
        world.await_import(world.start_import(kind, location))

    def answers(name, choice):
        more = config(trainingDataConfig=choice) if choice else config()
        version = train(world, name, solutionConfig=more)
        queries = lines_of([{"itemId": "i0"}, {"itemId": "new"}, {"itemId": "bare"}])
        output = world.segments(name, queries, version=version).decode().splitlines()
        return [json.loads(text)["error"] is None for text in output]

    assert answers("all", None) == [True, True, False]
    assert answers("price-out", {"excludedDatasetColumns": {"Items": ["PRICE"]}}) == [True, True, False]
    assert answers("genres-out", {"excludedDatasetColumns": {"ITEMS": ["GENRES"]}}) == [True, False, False]
    assert answers("price-in", {"includedDatasetColumns": {"ITEMS": ["PRICE"]}}) == [True, False, False]
    assert answers("others", {"includedDatasetColumns": {"INTERACTIONS": ["EVENT_TYPE"]}}) == [True, True, False]
