UNION ALL
-- Events of one id in the order in which they are kept: the first counts, the others are duplicates.
-- What had arrived by the date of the labels comes before what had not, so that a later copy never
-- takes the place of one that was known.
SELECT
  event_id, ts, type, item_id, seller_id, user_id, session_id, category, impression_id, order_id, seen,
  CAST(row_number() OVER (
    PARTITION BY event_id
    ORDER BY seen DESC, ts, type, item_id, user_id, session_id, impression_id, order_id, seller_id
  ) AS BIGINT) AS copy
FROM (
{known})
