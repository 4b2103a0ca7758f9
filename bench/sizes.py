"""How large the measurements are: `full` is what goes into the documents, `small` shows in minutes that
everything runs. Times a query costs differ with size, so ratios of `small` are nobody's business."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Size:
    """Counts of the data and of what every section does with it."""

    name: str
    users: int
    items: int
    events: int
    dimensions: tuple
    # Queries of the program (many, so that what it costs to open a model is little beside) and of peers.
    queries: int
    peer_queries: dict
    large_ks: tuple
    gaussian_queries: int
    verified_queries: int
    # Training: iterations of peers, and whether Spark takes part in the smallest dimension.
    peer_iterations: int
    spark_iterations: int
    lookback: tuple
    lines: int
    import_events: int
    attribute_users: int
    job_events: tuple
    scaling_users: tuple
    scaling_lines: tuple
    scaling_ks: tuple
    scaling_events: tuple
    disk_bytes: int


FULL = Size(
    name="full", users=1_000_000, items=50_000, events=20_000_000, dimensions=(149, 64), queries=50_000,
    peer_queries={"faiss": 1024, "implicit": 1024, "numpy": 256, "usearch": 32, "spark": 100},
    large_ks=((1_000, 2_048, 256), (100_000, 256, 64)), gaussian_queries=2_040, verified_queries=64,
    peer_iterations=12, spark_iterations=3, lookback=(20_000, 50, 20_000), lines=20_000_000,
    import_events=20_000_000, attribute_users=100_000, job_events=(34_853, 1_000_000, 20_000_000),
    scaling_users=(125_000, 250_000, 500_000, 1_000_000), scaling_lines=(1_000_000, 5_000_000, 20_000_000),
    scaling_ks=(10, 25, 100, 1_000, 10_000),
    scaling_events=(1_000_000, 2_000_000, 4_000_000, 10_000_000), disk_bytes=4 << 30)

SMALL = Size(
    name="small", users=50_000, items=10_000, events=1_000_000, dimensions=(149, 64), queries=4_096,
    peer_queries={"faiss": 1024, "implicit": 1024, "numpy": 256, "usearch": 32, "spark": 50},
    large_ks=((1_000, 512, 128), (10_000, 128, 32)), gaussian_queries=2_040, verified_queries=64,
    peer_iterations=12, spark_iterations=6, lookback=(4_000, 50, 20_000), lines=2_000_000,
    import_events=1_000_000, attribute_users=50_000, job_events=(34_853, 1_000_000),
    scaling_users=(12_500, 25_000, 50_000), scaling_lines=(100_000, 500_000, 2_000_000),
    scaling_ks=(10, 25, 100, 1_000),
    scaling_events=(100_000, 200_000, 400_000, 1_000_000), disk_bytes=1 << 30)

SIZES = {size.name: size for size in (FULL, SMALL)}
