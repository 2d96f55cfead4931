"""The label job in Polars: python polars_labels.py LOGS OUT THREADS

The rules and the output of duckdb_labels.py.
"""

import os
import sys
from pathlib import Path

LOGS, OUT = Path(sys.argv[1]), Path(sys.argv[2])
os.environ["POLARS_MAX_THREADS"] = sys.argv[3]

import polars as pl  # noqa: E402

DAY = 86_400_000_000
WINDOWS = {"view": 30 * DAY, "click": 30 * 60_000_000, "watch": 30 * DAY, "cart": 30 * DAY}
GRADES = {"view": 0, "click": 1, "watch": 2, "cart": 3, "purchase": 4}
KEYS = ["user_id", "item_id"]

micros = pl.col("ts").dt.epoch("us")
pages = pl.scan_parquet(LOGS / "page_impression.parquet").select("page_id", "user_id", "session_id", micros)
slots = pl.scan_parquet(LOGS / "slot_impression.parquet").select("impression_id", "list_id", "page_id", "slot", "item_id")
p = slots.join(pages, on="page_id").sort("ts", "page_id", "list_id", "slot", "impression_id").collect()
events = pl.scan_parquet(LOGS / "event.parquet").with_columns(micros)
order = ["ts", "type", "item_id", "user_id", "session_id", "impression_id", "order_id", "seller_id"]
e = events.sort("event_id", *order, nulls_last=True).unique("event_id", keep="first", maintain_order=True)
e = e.select("event_id", "ts", "type", "item_id", "user_id", "impression_id", "order_id").collect()

shown = p.select("impression_id", "item_id", "user_id", pl.col("ts").alias("shown"), "page_id", "slot")
named = e.join(shown.select("impression_id", "item_id", "shown"), on=["impression_id", "item_id"])
rest = e.join(named, on="event_id", how="anti").drop("impression_id")

window = pl.col("type").replace_strict(WINDOWS, default=30 * DAY, return_dtype=pl.Int64)
touches = rest.filter(~pl.col("type").is_in(["purchase", "cancel"])).sort("ts")
candidates = shown.select("impression_id", *KEYS, "shown").sort("shown")
joined = touches.join_asof(candidates, left_on="ts", right_on="shown", by=KEYS, strategy="backward", check_sortedness=False)
columns = ["event_id", "ts", "type", "impression_id", "shown"]
touch = pl.concat([
    named.filter(~pl.col("type").is_in(["purchase", "cancel"])).select(columns),
    joined.filter(pl.col("shown").is_not_null()).select(columns),
]).filter((pl.col("shown") <= pl.col("ts")) & (pl.col("ts") - pl.col("shown") <= window))

clicked = touch.filter(pl.col("type") == "click").group_by("impression_id").agg(pl.col("ts").min().alias("first_click"))
clicked = clicked.join(shown, on="impression_id")
purchases = rest.filter(pl.col("type") == "purchase").join(clicked, on=KEYS)
purchases = purchases.filter(
    (pl.col("shown") <= pl.col("ts")) & (pl.col("shown") >= pl.col("ts") - 30 * DAY) & (pl.col("first_click") <= pl.col("ts"))
)
purchases = purchases.sort("shown", "page_id", "slot").unique("event_id", keep="last", maintain_order=True)
wanted = ["event_id", "ts", "order_id", "item_id", "impression_id", "shown"]
bought = pl.concat([named.filter(pl.col("type") == "purchase").select(wanted), purchases.select(wanted)])
bought = bought.filter((pl.col("shown") <= pl.col("ts")) & (pl.col("ts") - pl.col("shown") <= 30 * DAY))
cancels = e.filter(pl.col("type") == "cancel").select("order_id", "item_id")
bought = bought.join(cancels, on=["order_id", "item_id"], how="anti")

outcomes = pl.concat([
    touch.select("impression_id", "type", (pl.col("ts") - pl.col("shown")).alias("lag")),
    bought.select("impression_id", pl.lit("purchase").alias("type"), (pl.col("ts") - pl.col("shown")).alias("lag")),
])
lag_of = lambda what: pl.col("lag").filter(pl.col("type") == what).min().alias(f"{what}_lag")  # noqa: E731
labels = outcomes.group_by("impression_id").agg(
    pl.col("type").replace_strict(GRADES, return_dtype=pl.UInt8).max().alias("grade"),
    (pl.col("type") == "click").max().cast(pl.UInt8).alias("click"),
    (pl.col("type") == "purchase").max().cast(pl.UInt8).alias("purchase"),
    lag_of("click"),
    lag_of("purchase"),
)
whole = p.join(labels, on="impression_id", how="left", maintain_order="left")
whole = whole.with_columns(pl.col("grade", "click", "purchase").fill_null(0))
OUT.mkdir(parents=True, exist_ok=True)
whole.select(
    "list_id", "page_id", "impression_id", "ts", "slot", "item_id", "user_id", "session_id", "grade", "click",
    "purchase", "click_lag", "purchase_lag",
).write_parquet(OUT / "labels.parquet")
