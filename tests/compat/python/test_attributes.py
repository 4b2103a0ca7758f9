"""Segments by item attributes with boto3: training, metrics, queries, errors in their lines."""

import json

import pytest

from world import World, csv, line, lines_of, rows

RECIPE = "arn:aws:personalize:::recipe/aws-item-attribute-affinity"


@pytest.fixture(scope="module")
def shop(servers):
    """A trained version of the recipe on the generated data: even items are comedies."""
    world = World(servers(), "attributes").make_datasets().import_data()
    world.solution = world.make_solution(recipeArn=RECIPE)
    world.version = world.start_training(world.solution)
    world.await_version(world.version)
    return world


def users_of(text):
    return [json.loads(row)["output"]["usersList"] for row in text.decode().splitlines()]


def ask(*queries):
    return lines_of([{"itemAttributes": query} for query in queries])


def test_segments_are_on_the_side_of_their_genre(shop):
    queries = ask('ITEMS.GENRES = "Comedy"', 'ITEMS.GENRES = "Horror"',
                  'items.genres="Horror" AND ITEMS.GENRES = "Action"', "ITEMS.PRICE = 6",
                  'ITEMS.GENRES = "Comedy" AND ITEMS.PRICE = "5.0"')
    found = users_of(shop.segments("genres", queries))
    for users, side in zip(found, (0, 1, 1, 1, 0), strict=True):
        assert len(set(users)) == 10
        assert sum(int(user[1:]) % 2 == side for user in users) >= 9, users
    # All horror is action here, so both lines ask for the same items.
    assert found[1] == found[2]
    metrics = shop.p.get_solution_metrics(solutionVersionArn=shop.version)["metrics"]
    assert set(metrics) == {"coverage", "hits_at_1_percent", "recall_at_1_percent"}
    assert 0 < metrics["recall_at_1_percent"] <= 1
    described = shop.p.describe_solution_version(solutionVersionArn=shop.version)
    assert described["solutionVersion"]["recipeArn"] == RECIPE


def test_every_bad_line_has_its_sentence(shop):
    missing = ("User error: No item with the requested attributes was present when the solution "
               "version was created")
    cases = [
        ('{"itemAttributes": "ITEMS.GENRES = \\"Drama\\""}', missing),
        ('{"itemAttributes": "ITEMS.GENRES = \\"Comedy\\" AND ITEMS.GENRES = \\"Horror\\""}', missing),
        ('{"itemAttributes": "ITEMS.GENRES = \\"Comedy\\" OR ITEMS.PRICE = 5"}',
         "User error: Invalid itemAttributes expression: expected AND or the end of the "
         "expression at position 25"),
        ('{"itemAttributes": "ITEMS.PRICE > 5"}',
         "User error: Invalid itemAttributes expression: expected =, the only operator at position 13"),
        ('{"itemAttributes": "ITEMS.COLOUR = 5"}',
         "User error: Column COLOUR cannot be used in itemAttributes"),
        ('{"itemId": "i1"}',
         "User error: Required fields for the provided recipe are itemAttributes"),
        ('{"itemAttributes": 5}',
         "User error: Required fields for the provided recipe are itemAttributes"),
    ]
    body = "\n".join(text for text, _ in cases) + "\nnot json\n"
    output = shop.segments("errors", body.encode()).decode()
    assert output == "".join(line(text, [], error) for text, error in cases) + line(
        '"not json"', [], "User error: Input line is not a valid JSON object")


def test_many_queries_in_one_job_keep_their_order(shop):
    prices = [f"ITEMS.PRICE = {5 + n % 40}" for n in range(400)]
    output = shop.segments("many", ask(*prices), num_results=3)
    found = users_of(output)
    assert len(found) == 400 and found[:40] == found[40:80] == found[360:]
    assert output == shop.segments("again", ask(*prices), num_results=3)
    echoed = [json.loads(row)["input"]["itemAttributes"] for row in output.decode().splitlines()]
    assert echoed == prices


def test_excluded_columns_cannot_be_asked_for(shop):
    config = {"algorithmHyperParameters": {"hidden_dimension": "32"},
              "trainingDataConfig": {"excludedDatasetColumns": {"ITEMS": ["PRICE"]}}}
    solution = shop.make_solution("without-price", recipeArn=RECIPE, solutionConfig=config)
    version = shop.start_training(solution)
    shop.await_version(version)
    output = shop.segments("without", ask("ITEMS.PRICE = 5", 'ITEMS.GENRES = "Comedy"'),
                           version=version)
    first, second = (json.loads(row) for row in output.decode().splitlines())
    assert first["error"] == "User error: Column PRICE cannot be used in itemAttributes"
    assert second["error"] is None and len(second["output"]["usersList"]) == 10


def test_items_without_values_fail_the_version_in_words(fresh):
    data = rows()
    data["Items"] = ["ITEM_ID,GENRES,PRICE", "i0,,"]
    world = World(fresh(), "empty", data=data, kinds=("Interactions", "Items"))
    world.make_datasets()
    for kind in world.kinds:
        world.await_import(world.start_import(
            kind, world.put(f"{kind}.csv", csv(data[kind])), "FULL"))
    version = world.start_training(world.make_solution(recipeArn=RECIPE))
    described = world.await_version(version, ("CREATE FAILED",))
    assert described["failureReason"].startswith(
        "The recipe aws-item-attribute-affinity needs an Items dataset with at least one column")
