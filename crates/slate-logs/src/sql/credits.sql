-- The one placement each event goes to, and whether that is within the window (`counts`). A named
-- placement beats the others; then the latest by (shown, page_id, slot, impression_id).
WITH touch AS (
  SELECT event_id, type, ts, named, impression_id, shown,
    CASE WHEN shown <= ts AND ts <= shown + {window} THEN 1 ELSE 0 END AS counts
  FROM (
    SELECT *, row_number() OVER (
      PARTITION BY event_id
      ORDER BY named DESC, shown DESC, page_id DESC, slot DESC, impression_id DESC
    ) AS place
    FROM pairs WHERE type <> 'purchase'
  ) WHERE place = 1
),
clicked AS (
  SELECT impression_id, min(ts) AS clicked
  FROM touch WHERE type = 'click' AND counts = 1 GROUP BY impression_id
),
-- A purchase goes to the placement it names (1), else to a clicked one in the window (2), else to
-- one merely seen in the window where view-through is on (3); else it is late (4) if there was a
-- placement to go to at all.
choice AS (
  SELECT p.*,
    CASE
      WHEN p.named = 1 THEN 1
      WHEN c.clicked <= p.ts AND p.ts <= p.shown + {purchase_window} THEN 2
      WHEN {view_through} AND p.ts <= p.shown + {purchase_window} THEN 3
      WHEN c.clicked <= p.ts OR {view_through} THEN 4
    END AS path
  FROM clicked c RIGHT JOIN pairs p ON c.impression_id = p.impression_id
  WHERE p.type = 'purchase'
)
SELECT event_id, type, ts, named, impression_id, shown, counts FROM touch
UNION ALL
SELECT event_id, type, ts, named, impression_id, shown,
  CASE
    WHEN path IN (2, 3) THEN 1
    WHEN path = 1 AND shown <= ts AND ts <= shown + {purchase_window} THEN 1
    ELSE 0
  END AS counts
FROM (
  SELECT *, row_number() OVER (
    PARTITION BY event_id
    ORDER BY path, shown DESC, page_id DESC, slot DESC, impression_id DESC
  ) AS place
  FROM choice WHERE path IS NOT NULL
) WHERE place = 1
