"""Filters in segment jobs with boto3: whom they keep, values per line, errors, refusals.

The table of examples and the random states ask for everybody, so that the list of a line is exactly
the set of users whom the filter keeps. The random states are judged by `filter_reference`;
KINDRED_TEST_FILTER_STATES says how many there are.
"""

import json
import os
import random

import pytest

import filter_reference
from kindred_server import ACCOUNT
from test_errors import request
from test_restart import TRIES, caught_in_progress
from world import World, csv, field, line, lines_of

ARN = f"arn:aws:personalize:us-east-1:{ACCOUNT}:"
ATTRIBUTES = "arn:aws:personalize:::recipe/aws-item-attribute-affinity"
STATES = int(os.environ.get("KINDRED_TEST_FILTER_STATES", "200"))
FEW = {"KINDRED_TRAINING_MIN_INTERACTIONS": "10", "KINDRED_TRAINING_MIN_USERS": "3"}


def make_filter(world, expression, name=None):
    world.filters = getattr(world, "filters", 0) + 1
    return world.p.create_filter(
        name=name or f"filter-{world.name}-{world.filters}", datasetGroupArn=world.group,
        filterExpression=expression)["filterArn"]


def run(world, expression, queries, **more):
    """The output lines of one job with the filter, read."""
    world.runs = getattr(world, "runs", 0) + 1
    output = world.segments(f"run-{world.runs}", lines_of(queries), num_results=1000,
                            filterArn=make_filter(world, expression), **more)
    return [json.loads(text) for text in output.decode().splitlines()]


# The examples of the language.

TABLE_USERS = """USER_ID,AGE,COUNTRY,TIER,SPEND
u1,25,Japan,gold|beta,10.5
u2,17,England,silver,
u3,40,Japan,,0.0
u4,,United States,gold,99.0
u5,63,,bronze,20.0""".splitlines()
TABLE_EVENTS = ["u1 i1 click", "u1 i2 purchase", "u2 i1 Click", "u3 i3 rating", "u4 i4 purchase", "u4 i4 click",
                "u5 i5 watch", "u6 i2 click"]
ALL = "u1 u2 u3 u4 u5 u6"
EXAMPLES = [
    (1, 'INCLUDE UserID WHERE Users.COUNTRY IN ("Japan")', {}, "u1 u3"),
    (2, 'EXCLUDE UserID WHERE Users.COUNTRY IN ("Japan")', {}, "u2 u4 u5 u6"),
    (3, 'INCLUDE UserID WHERE Users.COUNTRY IN ("Japan", "England")', {}, "u1 u2 u3"),
    (4, 'INCLUDE UserID WHERE Users.TIER IN ("gold")', {}, "u1 u4"),
    (5, 'INCLUDE UserID WHERE Users.TIER NOT IN ("gold")', {}, "u2 u3 u5 u6"),
    (6, 'EXCLUDE UserID WHERE Users.TIER NOT IN ("gold")', {}, "u1 u4"),
    (7, "INCLUDE UserID WHERE Users.AGE >= 25", {}, "u1 u3 u5"),
    (8, "INCLUDE UserID WHERE Users.AGE < 25", {}, "u2"),
    (9, "EXCLUDE UserID WHERE Users.AGE < 18", {}, "u1 u3 u4 u5 u6"),
    (10, "INCLUDE UserID WHERE Users.AGE != 25", {}, "u2 u3 u4 u5 u6"),
    (11, "INCLUDE UserID WHERE Users.SPEND = 0", {}, "u3"),
    (12, "INCLUDE UserID WHERE Users.SPEND > -1", {}, "u1 u3 u4 u5"),
    (13, 'INCLUDE UserID WHERE Users.AGE > 18 AND Users.COUNTRY IN ("Japan")', {}, "u1 u3"),
    (14, 'INCLUDE UserID WHERE Users.AGE < 18 OR Users.TIER IN ("gold") AND Users.SPEND > 50', {}, "u2 u4"),
    (15, 'INCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("click")', {}, "u1 u2 u4 u6"),
    (16, 'INCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("CLICK", "rating")', {}, "u1 u2 u3 u4 u6"),
    (17, 'EXCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("purchase")', {}, "u2 u3 u5 u6"),
    (18, 'INCLUDE UserID WHERE Interactions.EVENT_TYPE NOT IN ("purchase")', {}, "u2 u3 u5 u6"),
    (19, 'INCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("*")', {}, ALL),
    (20, 'INCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("click, rating")', {}, ""),
    (21, 'INCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("click") AND Interactions.EVENT_TYPE IN ("purchase")',
     {}, "u1 u4"),
    (22, 'INCLUDE UserID WHERE Users.COUNTRY IN ("Japan") | INCLUDE UserID WHERE Users.AGE > 60', {}, "u1 u3 u5"),
    (23, 'EXCLUDE UserID WHERE Users.COUNTRY IN ("Japan") | '
         'EXCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("watch")', {}, "u2 u4 u6"),
    (24, 'INCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("click") | '
         'EXCLUDE UserID WHERE Users.COUNTRY IN ("Japan")', {}, "u2 u4 u6"),
    (25, 'EXCLUDE UserID WHERE Users.COUNTRY IN ("Japan") | '
         'INCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("click")', {}, "u2 u4 u6"),
    (26, "INCLUDE UserID WHERE Users.TIER IN ($T)", {"T": '"gold","bronze"'}, "u1 u4 u5"),
    (27, "EXCLUDE UserID WHERE Users.AGE < $AGE", {"AGE": "30"}, "u3 u4 u5 u6"),
    (28, "EXCLUDE UserID WHERE Users.AGE < $AGE", {}, ALL),
    (29, "INCLUDE UserID WHERE Users.COUNTRY IN ($C)", {"C": '"United States"'}, "u4"),
    (30, "EXCLUDE UserID WHERE Users.COUNTRY IN ($C) | EXCLUDE UserID WHERE Users.AGE > 60", {}, "u1 u2 u3 u4 u6"),
    (31, 'exclude userid where users.country in ("England", "Japan")', {}, "u4 u5 u6"),
    (32, 'INCLUDE UserID WHERE Users.COUNTRY IN ("japan")', {}, ""),
    (33, 'INCLUDE UserID WHERE Users.COUNTRY IN ("$C")', {"C": '"Japan"'}, "u1 u3"),
    (34, "INCLUDE UserID WHERE Users.COUNTRY IN ($C)", {}, "User error: Filter parameter C has no value"),
    (35, "INCLUDE UserID WHERE Users.COUNTRY IN ($C)", {"C": "Japan"},
     "User error: Filter parameter C is not a list of strings in double quotes, separated by commas"),
]


@pytest.fixture(scope="module")
def table(servers):
    """The six users of the table; their events are repeated, as training wants more than eight."""
    events = ["USER_ID,ITEM_ID,EVENT_TYPE,TIMESTAMP"]
    for turn in range(10):
        events += [",".join(event.split()) + f",{1_700_000_000 + 3600 * turn}" for event in TABLE_EVENTS]
    text = ["null", "string"]
    columns = [field("USER_ID", "string"), field("AGE", ["null", "int"]), field("COUNTRY", text, categorical=True),
               field("TIER", text, categorical=True), field("SPEND", ["null", "float"])]
    return World(servers(FEW), "table", data={"Interactions": events, "Users": TABLE_USERS},
                 kinds=("Interactions", "Users"), fields={"Users": columns}).train()


def test_the_examples_keep_the_users_of_the_table(table):
    """All jobs are asked for before the first is looked at: they wait and run side by side."""
    jobs = []
    for number, expression, values, expected in EXAMPLES:
        query = {"itemId": "i1", "filterValues": values} if values else {"itemId": "i1"}
        location = table.put(f"examples/{number}.json", lines_of([query]))
        jobs.append(table.start_segments(location, table.url("examples-out/"), 1000,
                                         filterArn=make_filter(table, expression)))
    for (number, expression, values, expected), job in zip(EXAMPLES, jobs, strict=True):
        described = table.await_segments(job)
        assert described["filterArn"].startswith(ARN + "filter/")
        row = json.loads(table.get(f"examples-out/{number}.json.out"))
        found = " ".join(sorted(row["output"]["usersList"]))
        if expected.startswith("User error"):
            assert (row["error"], found) == (expected, ""), number
        else:
            assert (row["error"], found) == (None, expected), number


def test_values_belong_to_their_line(table):
    queries = [
        {"itemId": "i1", "filterValues": {"C": '"Japan"', "AGE": "30"}},
        {"itemId": "i1", "filterValues": {"C": ' "Japan" , "United States" ', "AGE": 30, "other": "x"}},
        {"itemId": "i2", "filterValues": {"AGE": '"30"', "C": '"England"'}},
        {"itemId": "i1", "filterValues": {"C": '"Japan"'}},
        {"itemId": "i1", "filterValues": {"AGE": "30"}},
        {"itemId": "i1", "filterValues": {"C": '"Japan"', "AGE": "old"}},
        {"itemId": "i1", "filterValues": {"C": '"United States""'}},
        {"itemId": "i1", "filterValues": {"C": 5}},
        {"itemId": "i1", "filterValues": {"C": True}},
        {"itemId": "i1", "filterValues": ["Japan"]},
        {"itemId": "i1", "filterValues": {f"P{n}": "x" for n in range(26)}},
        {"itemId": "i1"},
        {"itemId": "i1", "filterValues": None},
    ]
    expression = "INCLUDE UserID WHERE Users.COUNTRY IN ($C) | EXCLUDE UserID WHERE Users.AGE < $AGE"
    body = lines_of(queries)
    table.put("in/lines.json", body)
    output = table.segments("lines", body, 1000, filterArn=make_filter(table, expression)).decode()
    c, age = "User error: Filter parameter C ", "User error: Filter parameter AGE "
    no_list = c + "is not a list of strings in double quotes, separated by commas"
    expected = [{"u3"}, {"u3", "u4"}, set(), {"u1", "u3"}, c + "has no value", age + "is not a number", no_list,
                no_list, c + "is not a string",
                "User error: filterValues must be a JSON object with one string for each parameter",
                "User error: filterValues has more than 25 values", c + "has no value", c + "has no value"]
    for text, echo, wanted in zip(output.splitlines(), body.decode().splitlines(), expected, strict=True):
        row = json.loads(text)
        if isinstance(wanted, str):
            assert text + "\n" == line(echo, [], wanted)
        else:
            assert (set(row["output"]["usersList"]), row["error"]) == (wanted, None), echo
            assert text + "\n" == line(echo, row["output"]["usersList"])


def test_without_a_filter_values_do_not_matter(table):
    queries = [{"itemId": "i1"}, {"itemId": "i1", "filterValues": {"C": "x"}}, {"itemId": "i1", "filterValues": 5}]
    output = table.segments("unfiltered", lines_of(queries), 1000).decode().splitlines()
    lists = [json.loads(text)["output"]["usersList"] for text in output]
    assert lists[0] == lists[1] == lists[2] and len(lists[0]) == 6


def test_a_filter_keeps_the_order_and_comes_before_the_cut(world):
    items = [{"itemId": f"i{n}"} for n in range(40)]
    whole = world.segments("whole", lines_of(items), 1000).decode().splitlines()
    arn = make_filter(world, 'INCLUDE UserID WHERE Users.COUNTRY IN ("Chile") AND Users.AGE >= 40')
    chosen = world.segments("chosen", lines_of(items), 7, filterArn=arn).decode().splitlines()
    for all_users, few in zip(whole, chosen, strict=True):
        ranked = json.loads(all_users)["output"]["usersList"]
        fitting = [user for user in ranked if int(user[1:]) >= 22]
        assert json.loads(few)["output"]["usersList"] == fitting[:7]


def test_what_create_refuses(world, servers):
    p = world.p

    def refused(exception, arn, **more):
        with pytest.raises(exception) as caught:
            p.create_batch_segment_job(**request(world, filterArn=arn, **more))
        return caught.value.response["Error"]["Message"]

    unknown = ARN + "filter/none"
    assert unknown in refused(p.exceptions.ResourceNotFoundException, unknown)
    items = make_filter(world, 'INCLUDE ItemID WHERE Items.GENRES IN ("Comedy")')
    assert "UserID" in refused(p.exceptions.InvalidInputException, items)
    other = World(world.server, "other-group").make_datasets()
    elsewhere = make_filter(other, "INCLUDE UserID WHERE Users.AGE > 3")
    assert "dataset group" in refused(p.exceptions.InvalidInputException, elsewhere)
    assert "'filterArn'" in refused(p.exceptions.InvalidInputException, "arn:aws:s3:::x")


def test_by_attributes_filters_are_about_users_only(world):
    solution = world.make_solution("by-attributes", recipeArn=ATTRIBUTES)
    version = world.start_training(solution)
    world.await_version(version)
    events = make_filter(world, 'INCLUDE UserID WHERE Users.AGE > 3 | '
                                'EXCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("click")')
    with pytest.raises(world.p.exceptions.InvalidInputException) as caught:
        world.p.create_batch_segment_job(**request(world, filterArn=events, solutionVersionArn=version))
    assert "Interactions" in caught.value.response["Error"]["Message"]
    rows = run(world, "EXCLUDE UserID WHERE Users.COUNTRY IN ($C)", [
        {"itemAttributes": 'ITEMS.GENRES = "Comedy"', "filterValues": {"C": '"Chile"'}},
        {"itemAttributes": 'ITEMS.GENRES = "Comedy"', "filterValues": {"C": '"Japan"'}},
        {"itemAttributes": 'ITEMS.GENRES = "Comedy"'},
        {"itemAttributes": 'ITEMS.GENRES = "Comedy"', "filterValues": {"C": "Japan"}}], version=version)
    found = [{int(user[1:]) for user in row["output"]["usersList"]} for row in rows]
    assert found[:3] == [set(range(20)), set(range(20, 60)), set(range(60))]
    assert rows[3]["error"].startswith("User error: Filter parameter C is not a list")


def test_a_filter_stays_while_its_job_runs(fresh):
    world = World(fresh(), "busy", kinds=("Interactions", "Users")).train()
    arn = make_filter(world, "INCLUDE UserID WHERE Users.AGE > $A")
    lines = "".join(f'{{"itemId": "i{n % 40}", "filterValues": {{"A": "{n % 90}"}}}}\n' for n in range(200_000))
    job = world.start_segments(world.put("in.json", lines.encode()), world.url("out/"), filterArn=arn)
    with pytest.raises(world.p.exceptions.ResourceInUseException):
        world.p.delete_filter(filterArn=arn)
    assert world.await_segments(job)["filterArn"] == arn
    world.p.delete_filter(filterArn=arn)


def test_the_data_of_the_jobs_start_decide(servers):
    """The model knows nothing of the change: only the filter does."""
    world = World(servers(), "moving", kinds=("Interactions", "Users")).train()
    arn = make_filter(world, 'INCLUDE UserID WHERE Users.COUNTRY IN ("Japan")')
    query = lines_of([{"itemId": "i0"}])

    def users(name):
        return set(json.loads(world.segments(name, query, 1000, filterArn=arn))["output"]["usersList"])

    assert users("before") == {f"u{n}" for n in range(20)}
    moved = ["USER_ID,COUNTRY,AGE", "u0,Chile,18", "u59,Japan|Chile,20"]
    location = world.put("data/moved.csv", csv(moved))
    world.await_import(world.start_import("Users", location, "INCREMENTAL"))
    assert users("between") == {f"u{n}" for n in range(1, 20)} | {"u59"}
    world.await_import(world.start_import("Users", location, "FULL"))
    assert users("after") == {"u59"}
    # A dataset that is gone is noticed when the next job is asked for.
    world.p.delete_dataset(datasetArn=world.datasets["Users"])
    with pytest.raises(world.p.exceptions.InvalidInputException) as caught:
        world.p.create_batch_segment_job(**request(world, filterArn=arn))
    assert "there is no Users dataset" in caught.value.response["Error"]["Message"]


def test_a_killed_job_goes_on_with_the_filter_and_the_data_of_its_start(fresh):
    """Whatever became of the datasets meanwhile, the bytes are those of an undisturbed job."""
    for attempt in range(TRIES):
        world = World(fresh(), f"killed-{attempt}", kinds=("Interactions", "Users")).train()
        arn = make_filter(world, "INCLUDE UserID WHERE Users.AGE > $A")
        body = "".join(f'{{"itemId": "i{n % 40}", "filterValues": {{"A": "{n % 60}"}}}}\n'
                       for n in range(50_000 << attempt)).encode()
        calm = world.segments("calm", body, 25, filterArn=arn)
        job = world.start_segments(world.url("in/calm.json"), world.url("out/"), 25, filterArn=arn)

        def describe():
            return world.p.describe_batch_segment_job(batchSegmentJobArn=job)

        if not caught_in_progress(describe, "batchSegmentJob"):
            continue
        world.p.delete_dataset(datasetArn=world.datasets["Users"])
        if describe()["batchSegmentJob"]["status"] != "CREATE IN_PROGRESS":
            continue
        world.server.kill()
        world.server.start()
        world.reconnect()
        world.await_segments(job)
        assert world.get("out/calm.json.out") == calm
        return
    raise AssertionError("no job was long enough to be disturbed")


# Random filters on random data.

COLUMNS = {"USER_ID": "string", "AGE": "int", "POINTS": "long", "SPEND": "float", "SCORE": "double",
           "COUNTRY": "string", "NOTE": "string"}
WORDS = ["a", "A", "b", "new york", "ö", 'say ""no""'.replace('""', '"'), "back\\slash", "|"]
EVENTS = ["buy", "Buy", "BUY", "watch", "ÖL", ""]
NUMBERS = ["0", "1", "2", "-1", "0.5", "10.1", "-0.25", "9007199254740993", "9007199254740992", "3.0"]


class Chance(random.Random):
    """Random filters and rows."""

    def cell(self, column):
        kind = COLUMNS[column]
        if self.random() < 0.2:
            return ""
        if kind == "string":
            return "|".join(self.choice([*WORDS[:-1], ""]) for _ in range(self.randrange(1, 4)))
        if kind in ("int", "long"):
            whole = [text for text in NUMBERS if "." not in text and (kind == "long" or len(text) < 9)]
            return self.choice(whole)
        return self.choice([text for text in NUMBERS if len(text) < 9])

    def row(self, user):
        return {column: user if column == "USER_ID" else self.cell(column) for column in COLUMNS}

    def keyword(self, word):
        return self.choice([word, word.lower(), word.capitalize()])

    def gap(self):
        return self.choice([" ", "  ", "\t", "\n"])

    def quoted(self, word):
        return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'

    def words(self, column, users):
        pool = users if column == "USER_ID" else WORDS
        return ",".join(self.quoted(self.choice(pool)) for _ in range(self.randrange(1, 4)))

    def literal_or_placeholder(self, literal, values):
        if self.random() < 0.6:
            return literal
        name = f"P{len(values)}"
        if self.random() < 0.85:
            values[name] = literal if self.random() < 0.9 else "!"
        else:
            values["unused" + name] = literal
        return f"${name}"

    def condition(self, dataset, values, users):
        if dataset == "Interactions":
            column = "EVENT_TYPE"
            if self.random() < 0.2:
                literal = self.choice(["*", '"*"'])
            else:
                literal = ",".join(self.quoted(self.choice(EVENTS)) for _ in range(self.randrange(1, 3)))
        else:
            column = self.choice(list(COLUMNS))
            if COLUMNS[column] != "string":
                sign = self.choice(list(filter_reference.SIGNS))
                right = self.literal_or_placeholder(self.choice(NUMBERS), values)
                return f"{self.keyword(dataset)}.{self.keyword(column)}{sign}{right}"
            literal = self.words(column, users)
        if self.random() < 0.4:
            test = f"{self.keyword('NOT')}{self.gap()}{self.keyword('IN')} ({literal})"
        else:
            star = literal in ("*", '"*"')
            right = literal if star else self.literal_or_placeholder(literal, values)
            test = f"{self.keyword('IN')}({right})"
        return f"{self.keyword(dataset)}.{self.keyword(column)}{self.gap()}{test}"

    def filter(self, users):
        """An expression and the values of its line."""
        values, parts = {}, []
        for _ in range(self.randrange(1, 4)):
            dataset = self.choice(["Users", "Users", "Interactions"])
            alternatives = [
                f"{self.gap()}{self.keyword('AND')} ".join(
                    self.condition(dataset, values, users) for _ in range(self.randrange(1, 4)))
                for _ in range(self.randrange(1, 3))]
            conditions = f"{self.gap()}{self.keyword('OR')} ".join(alternatives)
            parts.append(f"{self.keyword(self.choice(['INCLUDE', 'EXCLUDE']))} UserID WHERE {conditions}")
        return self.choice([" | ", "|"]).join(parts), values


def quote(cell):
    return '"' + cell.replace('"', '""') + '"'


def test_random_filters_on_random_data_keep_the_right_users(servers):
    """One model; every few filters the data change beneath it, which only filters notice."""
    chance = Chance(20_240_311)
    users = [f"u{n}" for n in range(60)]
    null = {"string": ["null", "string"]}
    columns = [field(name, "string" if name == "USER_ID" else null.get(kind, ["null", kind]),
                     **({"categorical": True} if name == "COUNTRY" else {}))
               for name, kind in COLUMNS.items()]
    events = [field("USER_ID", "string"), field("ITEM_ID", "string"), field("TIMESTAMP", "long"),
              field("EVENT_TYPE", ["null", "string"])]
    first = ["USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE"]
    first += [f"{user},i{n % 7},{1_700_000_000 + 60 * n},buy" for n, user in enumerate(users * 3)]
    world = World(servers({**FEW, "KINDRED_WORKERS": "2"}), "random",
                  data={"Interactions": first, "Users": [",".join(COLUMNS), "u0,1,,,,,"]},
                  kinds=("Interactions", "Users"), fields={"Users": columns, "Interactions": events}).train()
    wrong, line_errors, sizes = [], 0, []
    per_state = 20
    for start in range(0, STATES, per_state):
        # A row for most, also for strangers; events for most, some without a type.
        rows = {user: chance.row(user) for user in users + ["stranger"] if chance.random() < 0.85}
        done = {user: [chance.choice(EVENTS) for _ in range(chance.randrange(1, 4))]
                for user in users if chance.random() < 0.8}
        files = {
            "Users": [",".join(COLUMNS), *(",".join(map(quote, row.values())) for row in rows.values())],
            "Interactions": [first[0], *(f"{user},i0,{1_800_000_000 + n},{kind}"
                                         for user, kinds in done.items() for n, kind in enumerate(kinds))]}
        for kind, lines in files.items():
            world.await_import(world.start_import(kind, world.put(f"{start}-{kind}.csv", csv(lines)), "FULL"))
        data = filter_reference.Data(COLUMNS, rows, done)
        cases, jobs = [], []
        for number in range(start, min(start + per_state, STATES)):
            expression, values = chance.filter(users)
            while len(expression) > 2500 or len(values) > 25:
                expression, values = chance.filter(users)
            location = world.put(f"random/{number}.json", lines_of([{"itemId": "i0", "filterValues": values}]))
            jobs.append(world.start_segments(location, world.url("random-out/"), 1000,
                                             filterArn=make_filter(world, expression)))
            cases.append((number, expression, values))
        for (number, expression, values), job in zip(cases, jobs, strict=True):
            world.await_segments(job)
            row = json.loads(world.get(f"random-out/{number}.json.out"))
            found = set(row["output"]["usersList"])
            try:
                expected = filter_reference.kept(expression, values, users, data)
            except filter_reference.LineError:
                expected, line_errors = set(), line_errors + 1
                if not str(row["error"]).startswith("User error: Filter parameter P"):
                    wrong.append((number, expression, values, row["error"]))
            else:
                sizes.append(len(expected))
                if row["error"] is not None:
                    wrong.append((number, expression, values, row["error"]))
            if found != expected:
                wrong.append((number, expression, values, sorted(found ^ expected)))
    assert not wrong, f"{len(wrong)} of {STATES}, the first: {wrong[0]}"
    if STATES >= 100:
        assert line_errors < STATES / 2, "too few states say anything about users"
        assert sum(0 < size < len(users) for size in sizes) > STATES / 4, "too few filters choose"
