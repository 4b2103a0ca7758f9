"""Filters with boto3: what CreateFilter takes and refuses, and how long a filter lives."""

import pytest

from kindred_server import ACCOUNT, wait
from world import World

ARN = f"arn:aws:personalize:us-east-1:{ACCOUNT}:"


@pytest.fixture(scope="module")
def empty(servers):
    """Datasets without data."""
    return World(servers(), "filters").make_datasets()


def create(world, name, expression, **more):
    return world.p.create_filter(name=name, datasetGroupArn=world.group, filterExpression=expression,
                                 **more)["filterArn"]


def test_a_filter_from_its_creation_to_its_deletion(empty):
    p = empty.p
    text = '  Include UserID where users.COUNTRY in ("Japan",\t"日本") | EXCLUDE UserID WHERE Users.AGE<$MIN '
    arn = create(empty, "life", text, tags=[{"tagKey": "team", "tagValue": "crm"}])
    assert arn == ARN + "filter/life"
    found = wait(lambda: p.describe_filter(filterArn=arn), "filter")
    assert found["filterExpression"] == text and found["datasetGroupArn"] == empty.group
    assert found["name"] == "life" and "failureReason" not in found
    assert p.list_tags_for_resource(resourceArn=arn)["tags"] == [{"tagKey": "team", "tagValue": "crm"}]
    with pytest.raises(p.exceptions.ResourceAlreadyExistsException):
        create(empty, "life", text)
    pages = p.get_paginator("list_filters").paginate(datasetGroupArn=empty.group)
    summaries = [entry for page in pages for entry in page["Filters"]]
    assert [entry["filterArn"] for entry in summaries] == [arn]
    assert "filterExpression" not in summaries[0] and summaries[0]["status"] == "ACTIVE"
    p.delete_filter(filterArn=arn)
    with pytest.raises(p.exceptions.ResourceNotFoundException):
        p.describe_filter(filterArn=arn)
    with pytest.raises(p.exceptions.ResourceNotFoundException):
        p.delete_filter(filterArn=arn)


@pytest.mark.parametrize("expression, words", [
    ("INCLUDE UserID WHERE Users.AGEE > 3", "Users has no field AGEE, did you mean AGE? at position 28"),
    ('INCLUDE UserID WHERE Users.COUNTRY = "Japan"',
     "Users.COUNTRY holds strings, which cannot be compared: use IN (...) or NOT IN (...) at position 36"),
    ("INCLUDE UserID WHERE Users.COUNTRY IN (Japan)", "expected a string in double quotes at position 40"),
    ('INCLUDE UserID WHERE Items.GENRES IN ("Comedy")', "Items cannot be used"),
    ("INCLUDE UserID WHERE Users.AGE > 3 AND Interactions.EVENT_TYPE IN (*)", "one dataset, here Users"),
    ("(" * 2500, "expected INCLUDE or EXCLUDE at position 1"),
])
def test_refusals_say_what_was_expected_and_where(empty, expression, words):
    with pytest.raises(empty.p.exceptions.InvalidInputException) as caught:
        create(empty, "refused", expression)
    message = caught.value.response["Error"]["Message"]
    assert message.startswith("Could not create filter. Invalid Expression: ") and words in message


def test_a_placeholder_with_not_in_has_its_known_sentence(empty):
    with pytest.raises(empty.p.exceptions.InvalidInputException) as caught:
        create(empty, "refused", "INCLUDE UserID WHERE Users.COUNTRY NOT IN ($C)")
    assert caught.value.response["Error"]["Message"].startswith(
        "Could not create filter. Invalid input symbol $C. Placeholders can only be used with ")


def test_a_group_takes_its_filters_along(servers):
    world = World(servers({"KINDRED_QUOTAS_FILTERS_PER_GROUP": "2"}), "group").make_datasets()
    for name in ("one", "two"):
        create(world, name, "INCLUDE UserID WHERE Interactions.EVENT_TYPE IN (*)")
    with pytest.raises(world.p.exceptions.LimitExceededException):
        create(world, "three", "INCLUDE UserID WHERE Interactions.EVENT_TYPE IN (*)")
    for arn in world.datasets.values():
        world.p.delete_dataset(datasetArn=arn)
    with pytest.raises(world.p.exceptions.InvalidInputException) as caught:
        create(world, "three", "INCLUDE UserID WHERE Users.AGE > 3")
    assert "there is no Users dataset" in caught.value.response["Error"]["Message"]
    world.p.delete_dataset_group(datasetGroupArn=world.group)
    assert world.p.list_filters()["Filters"] == []
