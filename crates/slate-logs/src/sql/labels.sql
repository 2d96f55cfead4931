-- What became of each placement that an event was credited to. Cancelled purchases do not count.
WITH credited AS (
  SELECT c.impression_id, c.type, c.named, c.ts - c.shown AS lag, {grade} AS grade
  FROM (SELECT DISTINCT purchase_id FROM cancels) x
  RIGHT ANTI JOIN (SELECT * FROM credits WHERE counts = 1) c ON x.purchase_id = c.event_id
),
outcome AS (
  SELECT * FROM credited WHERE type IN ('click', 'purchase') OR grade > 0
),
best AS (
  SELECT impression_id,
    max(grade) AS grade,
    max(CASE WHEN type = 'click' THEN 1 ELSE 0 END) AS click,
    max(CASE WHEN type = 'purchase' THEN 1 ELSE 0 END) AS purchase,
    min(CASE WHEN type = 'click' THEN lag END) AS click_lag,
    min(CASE WHEN type = 'purchase' THEN lag END) AS purchase_lag,
    max(CASE WHEN named = 1 THEN grade ELSE -1 END) AS named_grade,
    max(CASE WHEN named = 0 THEN grade ELSE -1 END) AS joined_grade
  FROM outcome GROUP BY impression_id
)
SELECT impression_id, grade, click, purchase, click_lag, purchase_lag,
  CASE
    WHEN named_grade >= joined_grade THEN 'impression_id'
    WHEN click = 1 THEN 'click_through'
    ELSE 'view_through'
  END AS attribution
FROM best
