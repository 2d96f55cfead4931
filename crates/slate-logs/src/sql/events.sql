-- Events with what is known of their items.
SELECT
  e.event_id, e.ts, e.type, e.item_id, coalesce(e.seller_id, i.seller_id) AS seller_id, e.user_id,
  e.session_id, i.category, e.impression_id, e.order_id, {seen} AS seen, CAST(1 AS BIGINT) AS copy
FROM item_kept i RIGHT JOIN {events} e ON i.item_id = e.item_id
