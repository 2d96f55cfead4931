"""The label job in Polars: python polars_labels.py LOGS OUT THREADS

The rules and the output of duckdb_labels.py.
"""

import os
import sys
from pathlib import Path

os.environ["POLARS_MAX_THREADS"] = sys.argv[3]

import polars as pl  # noqa: E402

from rules import AS_OF, GRADES, WINDOWS  # noqa: E402

KEYS = ["user_id", "item_id"]
ORDER = ["ts", "page_id", "list_id", "slot", "impression_id"]
PURCHASE_WINDOW = WINDOWS["purchase"]


def read(logs, of_slot, of_page):
    """Placements in the order of the output, with some more columns, and the events that count."""
    micros = pl.col("ts").dt.epoch("us")
    pages = pl.scan_parquet(logs / "page_impression.parquet").select("page_id", "user_id", micros, *of_page)
    slots = pl.scan_parquet(logs / "slot_impression.parquet").select(
        "impression_id", "list_id", "page_id", "slot", "item_id", *of_slot
    )
    # The sort of the streaming engine is the slower one.
    p = slots.join(pages.filter(pl.col("ts") <= AS_OF), on="page_id").sort(ORDER).collect(engine="in-memory")
    events = pl.scan_parquet(logs / "event.parquet").with_columns(micros).filter(pl.col("ts") <= AS_OF)
    order = ["ts", "type", "item_id", "user_id", "session_id", "impression_id", "order_id", "seller_id"]
    e = events.sort("event_id", *order, nulls_last=True).unique("event_id", keep="first", maintain_order=True)
    return p, e.select("event_id", "ts", "type", "item_id", "user_id", "impression_id", "order_id").collect()


def label(p, e):
    """The labels of the placements that have some."""
    shown = p.select("impression_id", "item_id", "user_id", pl.col("ts").alias("shown"), "page_id", "slot")
    named = e.join(shown.select("impression_id", "item_id", "shown"), on=["impression_id", "item_id"])
    rest = e.join(named, on="event_id", how="anti").drop("impression_id")

    window = pl.col("type").replace_strict(WINDOWS, default=0, return_dtype=pl.Int64)
    touches = rest.filter(~pl.col("type").is_in(["purchase", "cancel"])).sort("ts")
    candidates = shown.select("impression_id", *KEYS, "shown")
    joined = touches.join_asof(
        candidates, left_on="ts", right_on="shown", by=KEYS, strategy="backward", check_sortedness=False
    )
    columns = ["event_id", "ts", "type", "impression_id", "shown"]
    touch = pl.concat([
        named.filter(~pl.col("type").is_in(["purchase", "cancel"])).select(columns),
        joined.filter(pl.col("shown").is_not_null()).select(columns),
    ]).filter((pl.col("shown") <= pl.col("ts")) & (pl.col("ts") - pl.col("shown") <= window))

    clicked = touch.filter(pl.col("type") == "click").group_by("impression_id")
    clicked = clicked.agg(pl.col("ts").min().alias("first_click")).join(shown, on="impression_id")
    purchases = rest.filter(pl.col("type") == "purchase").join(clicked, on=KEYS)
    purchases = purchases.filter(
        (pl.col("shown") <= pl.col("ts"))
        & (pl.col("shown") >= pl.col("ts") - PURCHASE_WINDOW)
        & (pl.col("first_click") <= pl.col("ts"))
    )
    purchases = purchases.sort("shown", "page_id", "slot").unique("event_id", keep="last", maintain_order=True)
    wanted = ["event_id", "ts", "order_id", "item_id", "impression_id", "shown"]
    bought = pl.concat([named.filter(pl.col("type") == "purchase").select(wanted), purchases.select(wanted)])
    bought = bought.filter((pl.col("shown") <= pl.col("ts")) & (pl.col("ts") - pl.col("shown") <= PURCHASE_WINDOW))
    cancels = e.filter(pl.col("type") == "cancel").select("order_id", "item_id")
    bought = bought.join(cancels, on=["order_id", "item_id"], how="anti")

    lag = (pl.col("ts") - pl.col("shown")).alias("lag")
    outcomes = pl.concat([
        touch.select("impression_id", "type", lag),
        bought.select("impression_id", pl.lit("purchase").alias("type"), lag),
    ])
    lag_of = lambda what: pl.col("lag").filter(pl.col("type") == what).min().alias(f"{what}_lag")  # noqa: E731
    return outcomes.group_by("impression_id").agg(
        pl.col("type").replace_strict(GRADES, return_dtype=pl.UInt8).max().alias("grade"),
        (pl.col("type") == "click").max().cast(pl.UInt8).alias("click"),
        (pl.col("type") == "purchase").max().cast(pl.UInt8).alias("purchase"),
        lag_of("click"),
        lag_of("purchase"),
    )


if __name__ == "__main__":
    out = Path(sys.argv[2])
    p, e = read(Path(sys.argv[1]), [], ["session_id"])
    whole = p.join(label(p, e), on="impression_id", how="left", maintain_order="left")
    whole = whole.with_columns(pl.col("grade", "click", "purchase").fill_null(0))
    out.mkdir(parents=True, exist_ok=True)
    whole.select(
        "list_id", "page_id", "impression_id", "ts", "slot", "item_id", "user_id", "session_id", "grade", "click",
        "purchase", "click_lag", "purchase_lag",
    ).write_parquet(out / "labels.parquet")
