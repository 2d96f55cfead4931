-- Events in the order in which repeats of one event_id are kept: the first by this order counts,
-- the others are duplicates. What had arrived by the date of the labels comes before what had not,
-- so that a later copy never takes the place of one that was known.
WITH known AS (
  SELECT e.*, {seen} AS seen, i.seller_id AS item_seller_id, i.category AS item_category
  FROM item_kept i RIGHT JOIN event_good e ON i.item_id = e.item_id
)
SELECT
  event_id, ts, type, item_id, coalesce(seller_id, item_seller_id) AS seller_id, user_id,
  session_id, item_category AS category, impression_id, order_id, seen,
  CAST(row_number() OVER (
    PARTITION BY event_id
    ORDER BY seen DESC, ts, type, item_id, user_id, session_id, impression_id, order_id, seller_id
  ) AS BIGINT) AS copy
FROM known
