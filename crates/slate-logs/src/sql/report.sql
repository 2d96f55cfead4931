-- How many events of each type came to which end. A cancel shares the best end of its purchases.
WITH ends AS (
  SELECT e.event_id, e.type, e.seen, e.copy,
    CASE WHEN c.event_id IS NULL THEN 3 WHEN c.counts = 1 THEN 1 ELSE 2 END AS place
  FROM credits c RIGHT JOIN events e ON c.event_id = e.event_id
),
reversal AS (
  SELECT x.cancel_id, min(e.place) AS place
  FROM cancels x JOIN ends e ON x.purchase_id = e.event_id
  WHERE e.copy = 1 GROUP BY x.cancel_id
),
fate AS (
  SELECT e.type, e.seen, e.copy, e.event_id,
    CASE WHEN e.type = 'cancel' THEN coalesce(r.place, 3) ELSE e.place END AS place
  FROM reversal r RIGHT JOIN ends e ON r.cancel_id = e.event_id
)
SELECT f.type,
  count(*) AS input,
  sum(CASE WHEN copy = 1 AND seen = 1 AND place = 1 THEN 1 ELSE 0 END) AS attributed,
  sum(CASE WHEN copy = 1 AND (seen = 0 OR place = 2) THEN 1 ELSE 0 END) AS late,
  sum(CASE WHEN copy = 1 AND seen = 1 AND place = 3 THEN 1 ELSE 0 END) AS orphan,
  sum(CASE WHEN copy > 1 THEN 1 ELSE 0 END) AS duplicate,
  sum(CASE WHEN copy = 1 AND place = 1 AND x.purchase_id IS NOT NULL THEN 1 ELSE 0 END) AS reversed
FROM (SELECT DISTINCT purchase_id FROM cancels) x
RIGHT JOIN fate f ON x.purchase_id = f.event_id
GROUP BY f.type
