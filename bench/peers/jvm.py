"""A local Spark session and what its Java process costs, from /proc."""

import os
import pathlib

from pyspark.sql import SparkSession

MEMORY = os.environ.get("SPARK_MEMORY", "10g")


def session(home, cores):
    """A session on so many local cores, with its files below `home`."""
    builder = SparkSession.builder.master(f"local[{cores}]")
    for name, value in {"spark.driver.memory": MEMORY, "spark.ui.enabled": "false", "spark.local.dir": home,
                        "spark.ui.showConsoleProgress": "false", "spark.sql.shuffle.partitions": "8",
                        "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}.items():
        builder = builder.config(name, value)
    made = builder.getOrCreate()
    made.sparkContext.setLogLevel("ERROR")
    return made


def _mine():
    """The folders in /proc of the processes below this one."""
    parent = {}
    for folder in pathlib.Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
    for process in parent:
        above = parent[process]
        while above in parent and above != os.getpid():
            above = parent[above]
        if above == os.getpid():
            yield pathlib.Path(f"/proc/{process}")


def cpu_seconds():
    """User and system seconds of the processes below this one so far."""
    ticks = 0
    for folder in _mine():
        fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_memory_bytes():
    lines = [line for folder in _mine() for line in (folder / "status").read_text().splitlines()]
    return max((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), default=0)
