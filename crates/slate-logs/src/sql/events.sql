-- Events in the order in which repeats of one event_id are kept: the first by this order counts,
-- the others are duplicates. What had arrived by the date of the labels comes before what had not,
-- so that a later copy never takes the place of one that was known.
SELECT
  event_id, ts, type, item_id, user_id, session_id, impression_id, order_id, seen,
  row_number() OVER (
    PARTITION BY event_id
    ORDER BY seen DESC, ts, type, item_id, user_id, session_id, impression_id, order_id
  ) AS copy
FROM (SELECT *, {seen} AS seen FROM event_good)
