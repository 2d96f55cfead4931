"""The label job in DuckDB: python duckdb_labels.py LOGS OUT THREADS

Slate's rules for a log whose events have users but no time of arrival: an event that names its placement
goes there, any other to the latest placement of its user and item, a purchase to the latest one clicked
before it. Writes OUT/labels.parquet with the same label columns, sorted as Slate sorts them.
"""

import sys
from pathlib import Path

import duckdb

from rules import AS_OF, GRADES, WINDOWS

ORDER = "p.ts, p.page_id, p.list_id, p.slot, p.impression_id"


def read(logs, threads, more=""):
    """A connection with the tables `p`, placements with some columns `more`, and `e`, events that count."""
    connection = duckdb.connect()
    connection.execute(f"SET threads = {threads}")
    connection.execute(f"""
CREATE TEMP TABLE p AS
SELECT s.impression_id, s.list_id, s.page_id, s.slot, s.item_id, g.user_id, epoch_us(g.ts) AS ts {more}
FROM read_parquet('{logs}/slot_impression.parquet') s
JOIN read_parquet('{logs}/page_impression.parquet') g USING (page_id)
WHERE epoch_us(g.ts) <= {AS_OF};
CREATE TEMP TABLE e AS
SELECT event_id, epoch_us(ts) AS ts, type, item_id, user_id, impression_id, order_id
FROM read_parquet('{logs}/event.parquet')
WHERE epoch_us(ts) <= {AS_OF}
QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY ts, type, item_id, user_id, session_id,
                           impression_id, order_id, seller_id) = 1;
""")
    return connection


def label(connection):
    """Makes the table `labels` of the placements that have some."""
    windows = " ".join(f"WHEN '{name}' THEN {micros}" for name, micros in WINDOWS.items())
    grades = " ".join(f"WHEN '{name}' THEN {grade}" for name, grade in GRADES.items())
    purchase_window = WINDOWS["purchase"]
    connection.execute(f"""
-- Everything but purchases and cancels.
CREATE TEMP TABLE touch AS
WITH named AS (
  SELECT e.event_id, e.ts, e.type, p.impression_id, p.ts AS shown
  FROM e JOIN p ON e.impression_id = p.impression_id AND e.item_id = p.item_id
  WHERE e.type NOT IN ('purchase', 'cancel')
), rest AS (
  SELECT * FROM e WHERE type NOT IN ('purchase', 'cancel') AND event_id NOT IN (SELECT event_id FROM named)
), joined AS (
  SELECT r.event_id, r.ts, r.type, p.impression_id, p.ts AS shown
  FROM rest r ASOF JOIN p ON r.user_id = p.user_id AND r.item_id = p.item_id AND r.ts >= p.ts
)
SELECT * FROM (SELECT * FROM named UNION ALL SELECT * FROM joined)
WHERE shown <= ts AND ts - shown <= CASE type {windows} END;
CREATE TEMP TABLE clicked AS
SELECT p.impression_id, any_value(p.item_id) AS item_id, any_value(p.user_id) AS user_id,
       any_value(p.ts) AS shown, any_value(p.page_id) AS page_id, any_value(p.slot) AS slot,
       min(t.ts) AS first_click
FROM touch t JOIN p USING (impression_id) WHERE t.type = 'click' GROUP BY p.impression_id;
CREATE TEMP TABLE bought AS
WITH named AS (
  SELECT e.event_id, e.ts, e.order_id, e.item_id, p.impression_id, p.ts AS shown
  FROM e JOIN p ON e.impression_id = p.impression_id AND e.item_id = p.item_id WHERE e.type = 'purchase'
), joined AS (
  SELECT e.event_id, any_value(e.ts) AS ts, any_value(e.order_id) AS order_id, any_value(e.item_id) AS item_id,
         arg_max(c.impression_id, (c.shown, c.page_id, c.slot)) AS impression_id,
         arg_max(c.shown, (c.shown, c.page_id, c.slot)) AS shown
  FROM e JOIN clicked c ON e.user_id = c.user_id AND e.item_id = c.item_id
       AND c.shown <= e.ts AND c.shown >= e.ts - {purchase_window} AND c.first_click <= e.ts
  WHERE e.type = 'purchase' AND e.event_id NOT IN (SELECT event_id FROM named)
  GROUP BY e.event_id
)
SELECT b.* FROM (SELECT * FROM named UNION ALL BY NAME SELECT * FROM joined) b
WHERE shown <= ts AND ts - shown <= {purchase_window}
  AND NOT EXISTS (SELECT 1 FROM e c WHERE c.type = 'cancel' AND c.order_id = b.order_id AND c.item_id = b.item_id);
CREATE TEMP TABLE labels AS
WITH outcomes AS (
  SELECT impression_id, type, ts - shown AS lag FROM touch
  UNION ALL SELECT impression_id, 'purchase', ts - shown FROM bought
)
SELECT impression_id, max(CASE type {grades} END)::UTINYINT AS grade,
       max(type = 'click')::UTINYINT AS click, max(type = 'purchase')::UTINYINT AS purchase,
       min(lag) FILTER (type = 'click') AS click_lag, min(lag) FILTER (type = 'purchase') AS purchase_lag
FROM outcomes GROUP BY impression_id;
""")


if __name__ == "__main__":
    out = Path(sys.argv[2])
    connection = read(sys.argv[1], sys.argv[3], ", g.session_id")
    label(connection)
    out.mkdir(parents=True, exist_ok=True)
    connection.execute(f"""
COPY (
  SELECT p.list_id, p.page_id, p.impression_id, p.ts, p.slot, p.item_id, p.user_id, p.session_id,
         coalesce(l.grade, 0)::UTINYINT AS grade, coalesce(l.click, 0)::UTINYINT AS click,
         coalesce(l.purchase, 0)::UTINYINT AS purchase, l.click_lag, l.purchase_lag
  FROM p LEFT JOIN labels l USING (impression_id)
  ORDER BY {ORDER}
) TO '{out}/labels.parquet' (FORMAT parquet);
""")
