"""The labels of two jobs, row by row: python check.py A/labels.parquet B/labels.parquet"""

import sys
from pathlib import Path

import duckdb

COLUMNS = ["list_id", "page_id", "impression_id", "ts", "slot", "item_id", "user_id", "session_id", "grade",
           "click", "purchase", "click_lag", "purchase_lag"]


def digest(path):
    """Rows and an order-free hash of the label columns."""
    cells = ", ".join(f"coalesce({column}::BIGINT, -1)" for column in COLUMNS)
    query = f"SELECT count(*), sum(hash({cells})::HUGEINT), sum(click), sum(purchase), sum(grade) FROM read_parquet(?)"
    return duckdb.execute(query, [path]).fetchall()[0]


if __name__ == "__main__":
    # Spark writes a folder.
    paths = [f"{path}/*.parquet" if Path(path).is_dir() else path for path in sys.argv[1:3]]
    first, second = (digest(path) for path in paths)
    if first != second:
        on = "impression_id"
        differs = " OR ".join(f"a.{column} IS DISTINCT FROM b.{column}" for column in COLUMNS)
        rows = duckdb.execute(
            f"SELECT a.*, b.* FROM read_parquet(?) a FULL JOIN read_parquet(?) b USING ({on}) WHERE {differs} LIMIT 3",
            paths,
        ).fetchall()
        sys.exit(f"labels differ: {first} and {second}; first rows: {rows}")
    print("equal:", first)
