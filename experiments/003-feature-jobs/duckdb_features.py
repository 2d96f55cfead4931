"""The feature job in DuckDB: python duckdb_features.py LOGS OUT THREADS

Labels as in duckdb_labels.py, then the features of peers_features.toml for a log whose placements all have
prices. Writes OUT/features.parquet with the rows of Slate's dataset in Slate's order.
"""

import sys
from pathlib import Path

from duckdb_labels import ORDER, label, read
from rules import CUTS, HISTORY, MATURE, MIN_COUNT

out = Path(sys.argv[2])
connection = read(sys.argv[1], sys.argv[3], ", s.price, g.device")
label(connection)

# Lists once, for the split and for prices within each; a part begins at the moment nearest to its share.
begins = ", ".join(
    f"min(ts) FILTER (2 * round({share} * total) <= 2 * after - lists) AS {part}"
    for part, share in zip(["valid", "calibrate", "test"], CUTS)
)
connection.execute(f"""
CREATE TEMP TABLE lists AS
SELECT list_id, any_value(ts) AS ts, avg(ln(1 + price)) AS mean FROM p WHERE ts <= {MATURE} GROUP BY list_id;
CREATE TEMP TABLE begins AS
SELECT {begins} FROM (
  SELECT ts, count(*) AS lists, sum(count(*)) OVER (ORDER BY ts) AS after, sum(count(*)) OVER () AS total
  FROM lists GROUP BY ts
);
CREATE TEMP TABLE scale AS
SELECT avg(ln(1 + price)) AS mean, stddev_pop(ln(1 + price)) AS sd FROM p WHERE ts < (SELECT valid FROM begins);
-- Items and devices of the training window; the most frequent has id 1, equals stand in growing order.
CREATE TEMP TABLE items AS
WITH counts AS (
  SELECT item_id, count(*) AS n FROM p WHERE ts < (SELECT valid FROM begins) GROUP BY item_id
), item AS (
  SELECT item_id, category FROM read_parquet('{sys.argv[1]}/item.parquet')
), categories AS (
  SELECT category, row_number() OVER (ORDER BY sum(n) DESC, try_cast(category AS BIGINT), category) AS id
  FROM counts JOIN item USING (item_id) WHERE category IS NOT NULL
  GROUP BY category HAVING sum(n) >= {MIN_COUNT['item_category']}
), ids AS (
  SELECT item_id, row_number() OVER (ORDER BY n DESC, item_id) AS id FROM counts WHERE n >= {MIN_COUNT['item_id']}
)
SELECT item_id, ids.id AS item, categories.id AS category
FROM item FULL JOIN ids USING (item_id) LEFT JOIN categories USING (category);
CREATE TEMP TABLE devices AS
SELECT device, row_number() OVER (ORDER BY count(*) DESC, device) AS id
FROM p WHERE ts < (SELECT valid FROM begins) AND device IS NOT NULL
GROUP BY device HAVING count(*) >= {MIN_COUNT['device']};
-- Clicks and purchases of each item in the window, as steps: a mark counts after it has happened, until it
-- leaves the window or is cancelled.
CREATE TEMP TABLE steps AS
WITH cancels AS (
  SELECT order_id, item_id, min(ts) AS ts FROM e WHERE type = 'cancel' GROUP BY order_id, item_id
), marks AS (
  SELECT item_id, ts, ts + {HISTORY} AS until, 1 AS click, 0 AS purchase FROM e WHERE type = 'click'
  UNION ALL
  SELECT e.item_id, e.ts, least(e.ts + {HISTORY}, greatest(e.ts, coalesce(c.ts, e.ts + {HISTORY}))), 0, 1
  FROM e LEFT JOIN cancels c USING (order_id, item_id) WHERE type = 'purchase'
), changes AS (
  SELECT item_id, ts, click, purchase FROM marks UNION ALL SELECT item_id, until, -click, -purchase FROM marks
)
SELECT item_id, ts, sum(sum(click)) OVER so_far AS clicks, sum(sum(purchase)) OVER so_far AS purchases
FROM changes GROUP BY item_id, ts WINDOW so_far AS (PARTITION BY item_id ORDER BY ts);
""")

out.mkdir(parents=True, exist_ok=True)
connection.execute(f"""
COPY (
  SELECT p.list_id, p.impression_id, p.item_id, coalesce(l.grade, 0)::UTINYINT AS grade,
         coalesce(l.click, 0)::UTINYINT AS click, coalesce(l.purchase, 0)::UTINYINT AS purchase,
         ((ln(1 + price) - scale.mean) / scale.sd)::FLOAT AS x_price,
         impressions::FLOAT AS x_item_impressions_30d,
         coalesce(steps.clicks, 0)::FLOAT AS x_item_clicks_30d,
         coalesce(steps.purchases, 0)::FLOAT AS x_item_purchases_30d,
         (ln(1 + price) - lists.mean)::FLOAT AS x_price_log_ratio,
         coalesce(items.category, 0)::UINTEGER AS x_item_category, coalesce(items.item, 0)::UINTEGER AS x_item_id,
         coalesce(devices.id, 0)::UINTEGER AS x_device,
         CASE WHEN p.ts < valid THEN 'train' WHEN p.ts < calibrate THEN 'valid'
              WHEN p.ts < test THEN 'calibrate' ELSE 'test' END AS split
  FROM (
    SELECT *, count(*) OVER (PARTITION BY item_id ORDER BY ts RANGE BETWEEN {HISTORY} PRECEDING AND 1 PRECEDING)
              AS impressions
    FROM p
  ) p
  ASOF LEFT JOIN steps ON p.item_id = steps.item_id AND p.ts > steps.ts
  JOIN lists ON p.list_id = lists.list_id
  LEFT JOIN labels l ON p.impression_id = l.impression_id
  LEFT JOIN items ON p.item_id = items.item_id
  LEFT JOIN devices ON p.device = devices.device
  CROSS JOIN begins CROSS JOIN scale
  ORDER BY {ORDER}
) TO '{out}/features.parquet' (FORMAT parquet);
""")
