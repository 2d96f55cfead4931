-- Events as they are, in the columns of events.sql.
SELECT
  e.event_id, e.ts, e.type, e.item_id, e.seller_id, e.user_id, e.session_id, CAST(NULL AS VARCHAR) AS category,
  e.impression_id, e.order_id, {seen} AS seen, CAST(1 AS BIGINT) AS copy
FROM {events} e
