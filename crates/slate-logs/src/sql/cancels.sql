-- Each purchase and cancel of the same order and item.
SELECT c.event_id AS cancel_id, c.ts AS cancel_ts,
  p.event_id AS purchase_id, p.ts AS purchase_ts, p.item_id, p.user_id
FROM events c JOIN events p ON c.order_id = p.order_id AND c.item_id = p.item_id
WHERE c.type = 'cancel' AND c.seen = 1 AND c.copy = 1
  AND p.type = 'purchase' AND p.seen = 1 AND p.copy = 1
