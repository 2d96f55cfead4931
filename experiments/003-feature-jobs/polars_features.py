"""The feature job in Polars: python polars_features.py LOGS OUT THREADS

The rules and the output of duckdb_features.py.
"""

import sys
from pathlib import Path

from polars_labels import label, pl, read
from rules import CATEGORICAL, CUTS, DENSE, HISTORY, MATURE, MIN_COUNT, ROW

logs, out = Path(sys.argv[1]), Path(sys.argv[2])
p, e = read(logs, ["price"], ["device"])
labels = label(p, e).lazy()
p, e, log_price = p.lazy(), e.lazy(), pl.col("price").log1p()

# A part begins at the moment nearest to its share of the lists; rows of a list stand together.
firsts = p.filter(pl.col("ts") <= MATURE, pl.col("list_id").ne_missing(pl.col("list_id").shift()))
moments = firsts.group_by("ts", maintain_order=True).agg(pl.len().cast(pl.Int64).alias("lists"))
after = pl.col("lists").cum_sum()
near = [2 * (share * after.last() + 0.5).floor() <= 2 * after - pl.col("lists") for share in CUTS]
begins = moments.select(pl.col("ts").filter(near).first().alias(f"{at}") for at, near in enumerate(near))
valid, calibrate, test = begins.collect().row(0)
training = p.filter(pl.col("ts") < valid)
mean, sd = training.select(log_price.mean(), log_price.std(ddof=0).alias("sd")).collect().row(0)


def vocabulary(counts, column):
    """Ids of values by their counts `n`, the most frequent first, equals in growing order."""
    known = counts.filter(pl.col(column).is_not_null(), pl.col("n") >= MIN_COUNT[column])
    number = pl.col(column).cast(pl.Int64, strict=False)
    known = known.sort(-pl.col("n").cast(pl.Int64), number, column, nulls_last=True)
    return known.select(column, pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).alias(f"x_{column}"))


per_item = training.group_by("item_id").agg(pl.len().alias("n"))
items = pl.scan_parquet(logs / "item.parquet").select("item_id", pl.col("category").alias("item_category"))
per_category = per_item.join(items, on="item_id").group_by("item_category").agg(pl.col("n").sum())
items = items.join(vocabulary(per_category, "item_category"), on="item_category", how="left").drop("item_category")
items = items.join(vocabulary(per_item, "item_id"), on="item_id", how="full", coalesce=True)
devices = vocabulary(training.group_by("device").agg(pl.len().alias("n")), "device")

# Clicks and purchases of each item in the window, as steps: a mark counts after it has happened, until it
# leaves the window or is cancelled.
is_click, is_purchase = pl.col("type") == "click", pl.col("type") == "purchase"
cancels = e.filter(pl.col("type") == "cancel").group_by("order_id", "item_id").agg(pl.col("ts").min().alias("undone"))
marks = e.filter(is_click | is_purchase).select(
    "item_id", "ts", is_click.cast(pl.Int32).alias("click"), is_purchase.cast(pl.Int32).alias("purchase"),
    pl.when(is_purchase).then("order_id").alias("order_id"), (pl.col("ts") + HISTORY).alias("end"),
).join(cancels, on=["order_id", "item_id"], how="left")
until = pl.min_horizontal("end", pl.max_horizontal("ts", pl.col("undone").fill_null(pl.col("end"))))
changes = pl.concat([
    marks.select("item_id", "ts", "click", "purchase"),
    marks.select("item_id", until.alias("ts"), -pl.col("click"), -pl.col("purchase")),
]).sort("ts")
so_far = [pl.col(name).cum_sum().over("item_id").alias(f"x_item_{name}s_30d") for name in ("click", "purchase")]
steps = changes.select("item_id", "ts", *so_far)

rows = p.join_asof(steps, on="ts", by="item_id", allow_exact_matches=False, check_sortedness=False)
rows = rows.join(labels, on="impression_id", how="left", maintain_order="left")
rows = rows.join(items, on="item_id", how="left", maintain_order="left")
rows = rows.join(devices, on="device", how="left", maintain_order="left")
shown = pl.col("ts").is_not_null().cast(pl.Int32)
rows = rows.filter(pl.col("ts") <= MATURE).with_columns(
    ((log_price - mean) / sd).alias("x_price"),
    shown.rolling_sum_by("ts", f"{HISTORY}i", closed="left").over("item_id").alias("x_item_impressions_30d"),
    (log_price - log_price.mean().over("list_id")).alias("x_price_log_ratio"),
    pl.when(pl.col("ts") < valid).then(pl.lit("train")).when(pl.col("ts") < calibrate).then(pl.lit("valid"))
    .when(pl.col("ts") < test).then(pl.lit("calibrate")).otherwise(pl.lit("test")).alias("split"),
)
out.mkdir(parents=True, exist_ok=True)
rows.select(
    *ROW[:3], pl.col(ROW[3:]).fill_null(0), pl.col(DENSE).fill_null(0).cast(pl.Float32),
    pl.col(CATEGORICAL).fill_null(0), "split",
).sink_parquet(out / "features.parquet", compression="snappy")
