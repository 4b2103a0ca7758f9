#!/usr/bin/env python3
"""A CSV of events to Parquet with a library: what an import costs without any of the checks.

    peers/importing.py ENGINE EVENTS.csv OUT.parquet

ENGINE is pyarrow (streamed by batches, one thread) or pandas (whole).
"""

import sys

from common import Phases


def with_pyarrow(source, target):
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    rows = 0
    with pyarrow.csv.open_csv(source, read_options=pyarrow.csv.ReadOptions(use_threads=False)) as reader, \
            pq.ParquetWriter(target, reader.schema) as out:
        for batch in reader:
            out.write_batch(batch)
            rows += batch.num_rows
    return rows


def with_pandas(source, target):
    import pandas
    table = pandas.read_csv(source)
    table.to_parquet(target, index=False)
    return len(table)


def main():
    engine, source, target = sys.argv[1:]
    phases = Phases()
    with phases.time("import"):
        rows = {"pyarrow": with_pyarrow, "pandas": with_pandas}[engine](source, target)
    phases.print(rows=rows)


if __name__ == "__main__":
    main()
