"""The label job in Spark: python spark_labels.py LOGS OUT

The rules and the output of duckdb_labels.py, the latter as a folder. Prints the seconds of a second run in the
same session, which reads and writes all files again: starting Spark is left out.
"""

import json
import sys
import time

from pyspark.sql import SparkSession

from rules import AS_OF, GRADES, WINDOWS

ORDER = ["ts", "page_id", "list_id", "slot", "impression_id"]
SETTINGS = {
    "spark.driver.memory": "8g",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "4",
}


def view(spark, name, query, cached=False):
    rows = spark.sql(query)
    (rows.cache() if cached else rows).createOrReplaceTempView(name)


def read(spark, logs, more, cached=False):
    """Makes the views `p`, placements with some columns `more`, and `e`, events that count.

    Hints say what is small beside placements, so that these are not shuffled for a join.
    """
    for table in ("slot_impression", "page_impression", "event", "item"):
        spark.read.parquet(f"{logs}/{table}.parquet").createOrReplaceTempView(table)
    view(spark, "p", f"""
SELECT /*+ BROADCAST(g) */ s.impression_id, s.list_id, s.page_id, s.slot, s.item_id, g.user_id,
       unix_micros(g.ts) AS ts {more}
FROM slot_impression s JOIN page_impression g ON s.page_id = g.page_id WHERE unix_micros(g.ts) <= {AS_OF}""", cached)
    view(spark, "e", f"""
SELECT event_id, unix_micros(ts) AS ts, type, item_id, user_id, impression_id, order_id FROM (
  SELECT *, row_number() OVER (PARTITION BY event_id ORDER BY ts, type, item_id, user_id NULLS LAST,
                               session_id NULLS LAST, impression_id NULLS LAST, order_id NULLS LAST,
                               seller_id NULLS LAST) AS copy
  FROM event WHERE unix_micros(ts) <= {AS_OF}
) WHERE copy = 1""", cached=True)


def label(spark):
    """Makes the view `labels` of the placements that have some."""
    windows = " ".join(f"WHEN '{name}' THEN {micros}" for name, micros in WINDOWS.items())
    grades = " ".join(f"WHEN '{name}' THEN {grade}" for name, grade in GRADES.items())
    purchase_window = WINDOWS["purchase"]
    # Of each event the placements it may go to: the one it names, those its user saw of its item before it.
    event = "SELECT /*+ BROADCAST(e) */ e.event_id, e.ts, e.type, e.item_id, e.order_id"
    place = "p.ts AS shown, p.page_id, p.slot, p.impression_id"
    view(spark, "seen", f"""
{event}, true AS named, {place} FROM e JOIN p ON e.impression_id = p.impression_id AND e.item_id = p.item_id
WHERE e.type <> 'cancel'
UNION ALL
{event}, false AS named, {place} FROM e JOIN p ON e.user_id = p.user_id AND e.item_id = p.item_id AND p.ts <= e.ts
WHERE e.type <> 'cancel'""", cached=True)
    best = "max(struct(named, shown, page_id, slot, impression_id)) AS p"
    view(spark, "touch", f"""
SELECT p.impression_id, type, ts, ts - p.shown AS lag FROM (
  SELECT event_id, any_value(type) AS type, any_value(ts) AS ts, {best}
  FROM seen WHERE type <> 'purchase' GROUP BY event_id
) WHERE ts - p.shown BETWEEN 0 AND CASE type {windows} END""", cached=True)
    view(spark, "bought", f"""
WITH clicked AS (
  SELECT impression_id, min(ts) AS first_click FROM touch WHERE type = 'click' GROUP BY impression_id
), found AS (
  SELECT /*+ BROADCAST(clicked) */ event_id, any_value(ts) AS ts, any_value(item_id) AS item_id,
         any_value(order_id) AS order_id, {best}
  FROM seen LEFT JOIN clicked USING (impression_id)
  WHERE type = 'purchase' AND (named OR first_click <= ts AND shown >= ts - {purchase_window}) GROUP BY event_id
)
SELECT p.impression_id, ts - p.shown AS lag
FROM found LEFT ANTI JOIN (SELECT * FROM e WHERE type = 'cancel') c
  ON found.order_id = c.order_id AND found.item_id = c.item_id
WHERE ts - p.shown BETWEEN 0 AND {purchase_window}""")
    view(spark, "labels", f"""
SELECT impression_id, CAST(max(CASE type {grades} END) AS TINYINT) AS grade,
       CAST(max(int(type = 'click')) AS TINYINT) AS click, CAST(max(int(type = 'purchase')) AS TINYINT) AS purchase,
       min(lag) FILTER (WHERE type = 'click') AS click_lag, min(lag) FILTER (WHERE type = 'purchase') AS purchase_lag
FROM (SELECT impression_id, type, lag FROM touch UNION ALL SELECT impression_id, 'purchase', lag FROM bought)
GROUP BY impression_id""")


def timed(job):
    """Runs a job twice in one session and prints the seconds of the second run."""
    builder = SparkSession.builder.master("local[2]")
    for key, value in SETTINGS.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    for _ in range(2):
        began = time.perf_counter()
        job(spark, sys.argv[1], sys.argv[2])
        spark.catalog.clearCache()
        warm = time.perf_counter() - began
    print(json.dumps({"warm_s": round(warm, 3)}))


def labels(spark, logs, out):
    read(spark, logs, ", g.session_id")
    label(spark)
    rows = spark.sql("""
SELECT /*+ BROADCAST(l) */ p.list_id, p.page_id, p.impression_id, p.ts, p.slot, p.item_id, p.user_id, p.session_id,
       coalesce(l.grade, 0) AS grade, coalesce(l.click, 0) AS click, coalesce(l.purchase, 0) AS purchase,
       l.click_lag, l.purchase_lag
FROM p LEFT JOIN labels l ON p.impression_id = l.impression_id""")
    rows.orderBy(ORDER).write.mode("overwrite").parquet(f"{out}/labels.parquet")


if __name__ == "__main__":
    timed(labels)
