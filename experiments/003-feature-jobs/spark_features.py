"""The feature job in Spark: python spark_features.py LOGS OUT

The rules and the output of duckdb_features.py, timed like spark_labels.py.
"""

from rules import CUTS, HISTORY, MATURE, MIN_COUNT
from spark_labels import ORDER, label, read, timed, view


def begins(spark):
    """When valid, calibrate and test begin: at the moment nearest to their share of the lists."""
    nearest = ", ".join(
        f"min(ts) FILTER (WHERE 2 * floor({share} * total + 0.5) <= 2 * after - lists)" for share in CUTS
    )
    return spark.sql(f"""
SELECT {nearest} FROM (
  SELECT ts, lists, sum(lists) OVER (ORDER BY ts) AS after, sum(lists) OVER () AS total
  FROM (SELECT ts, count(*) AS lists FROM lists GROUP BY ts)
)""").first()


def fit(spark, valid):
    """Makes the views `scale`, `items` and `devices`: the most frequent value has id 1, equals grow."""
    view(spark, "training", f"SELECT item_id, device, log1p(price) AS log_price FROM p WHERE ts < {valid}")
    view(spark, "scale", "SELECT avg(log_price) AS mean, stddev_pop(log_price) AS sd FROM training")
    view(spark, "devices", f"""
SELECT device, row_number() OVER (ORDER BY n DESC, device) AS id
FROM (SELECT device, count(*) AS n FROM training WHERE device IS NOT NULL GROUP BY device)
WHERE n >= {MIN_COUNT['device']}""")
    view(spark, "items", f"""
WITH counts AS (
  SELECT item_id, count(*) AS n FROM training GROUP BY item_id
), categories AS (
  SELECT category, row_number() OVER (ORDER BY n DESC, try_cast(category AS BIGINT) NULLS LAST, category) AS id
  FROM (SELECT category, sum(n) AS n FROM counts JOIN item USING (item_id) WHERE category IS NOT NULL GROUP BY category)
  WHERE n >= {MIN_COUNT['item_category']}
), ids AS (
  SELECT item_id, row_number() OVER (ORDER BY n DESC, item_id) AS id FROM counts WHERE n >= {MIN_COUNT['item_id']}
)
SELECT item_id, ids.id AS item, categories.id AS category
FROM item FULL JOIN ids USING (item_id) LEFT JOIN categories USING (category)""")


def count(spark):
    """Makes the view `counted`, placements with what happened to their items in the window.

    Everything that happens is a step that counts after its moment, and another one when it leaves the window or
    is cancelled. So one running sum will do: Spark adds up a sliding window anew for every row.
    """
    view(spark, "marks", f"""
WITH cancels AS (
  SELECT order_id, item_id, min(ts) AS ts FROM e WHERE type = 'cancel' GROUP BY order_id, item_id
)
SELECT item_id, ts, ts + {HISTORY} AS until, 1 AS click, 0 AS purchase FROM e WHERE type = 'click'
UNION ALL
SELECT e.item_id, e.ts, least(e.ts + {HISTORY}, greatest(e.ts, coalesce(c.ts, e.ts + {HISTORY}))), 0, 1
FROM e LEFT JOIN cancels c ON e.order_id = c.order_id AND e.item_id = c.item_id WHERE type = 'purchase'""")
    steps = [
        "SELECT *, 1 AS impression, 0 AS click, 0 AS purchase FROM p",
        f"SELECT item_id, ts + {HISTORY} AS ts, -1 AS impression, 0 AS click, 0 AS purchase FROM p",
        "SELECT item_id, ts, 0 AS impression, click, purchase FROM marks",
        "SELECT item_id, until AS ts, 0 AS impression, -click AS click, -purchase AS purchase FROM marks",
    ]
    union = spark.sql(steps[0])
    for step in steps[1:]:
        union = union.unionByName(spark.sql(step), allowMissingColumns=True)
    union.createOrReplaceTempView("steps")
    view(spark, "counted", """
SELECT * FROM (
  SELECT *, sum(impression) OVER before AS impressions, sum(click) OVER before AS clicks,
         sum(purchase) OVER before AS purchases
  FROM steps
  WINDOW before AS (PARTITION BY item_id ORDER BY ts RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) WHERE impression_id IS NOT NULL""")


def features(spark, logs, out):
    read(spark, logs, ", s.price, g.device", cached=True)
    label(spark)
    view(spark, "lists", f"""
SELECT list_id, any_value(ts) AS ts, avg(log1p(price)) AS mean
FROM p WHERE ts <= {MATURE} GROUP BY list_id""", cached=True)
    valid, calibrate, test = begins(spark)
    fit(spark, valid)
    count(spark)
    rows = spark.sql(f"""
SELECT /*+ BROADCAST(lists), BROADCAST(l), BROADCAST(items), BROADCAST(devices), BROADCAST(scale) */
       p.ts, p.page_id, p.slot, p.list_id, p.impression_id, p.item_id, coalesce(l.grade, 0) AS grade,
       coalesce(l.click, 0) AS click, coalesce(l.purchase, 0) AS purchase,
       float((log1p(price) - scale.mean) / scale.sd) AS x_price,
       float(coalesce(impressions, 0)) AS x_item_impressions_30d, float(coalesce(clicks, 0)) AS x_item_clicks_30d,
       float(coalesce(purchases, 0)) AS x_item_purchases_30d, float(log1p(price) - lists.mean) AS x_price_log_ratio,
       coalesce(items.category, 0) AS x_item_category, coalesce(items.item, 0) AS x_item_id,
       coalesce(devices.id, 0) AS x_device,
       CASE WHEN p.ts < {valid} THEN 'train' WHEN p.ts < {calibrate} THEN 'valid'
            WHEN p.ts < {test} THEN 'calibrate' ELSE 'test' END AS split
FROM counted p
JOIN lists ON p.list_id = lists.list_id
LEFT JOIN labels l ON p.impression_id = l.impression_id
LEFT JOIN items ON p.item_id = items.item_id
LEFT JOIN devices ON p.device = devices.device
CROSS JOIN scale""")
    rows.orderBy(ORDER).drop("ts", "page_id", "slot").write.mode("overwrite").parquet(f"{out}/features.parquet")


if __name__ == "__main__":
    timed(features)
