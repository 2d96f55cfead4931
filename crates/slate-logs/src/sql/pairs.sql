-- Every event beside every placement it may belong to: the placement it names (at any time), and
-- the placements of the same item that the same user, or the same session where one of the two has
-- no user, saw at or before the event.
WITH happened AS (
  SELECT event_id, type, ts, item_id, user_id, session_id, impression_id
  FROM events WHERE seen = 1 AND copy = 1 AND type <> 'cancel'
)
SELECT e.event_id, e.type, e.ts, 1 AS named, i.impression_id, i.ts AS shown, i.page_id, i.slot
FROM happened e JOIN placements i
  ON e.impression_id = i.impression_id AND e.item_id = i.item_id
UNION ALL
SELECT e.event_id, e.type, e.ts, 0 AS named, i.impression_id, i.ts AS shown, i.page_id, i.slot
FROM happened e JOIN placements i
  ON e.user_id = i.user_id AND e.item_id = i.item_id AND i.ts <= e.ts
UNION ALL
SELECT e.event_id, e.type, e.ts, 0 AS named, i.impression_id, i.ts AS shown, i.page_id, i.slot
FROM happened e JOIN placements i
  ON e.session_id = i.session_id AND e.item_id = i.item_id AND i.ts <= e.ts
WHERE e.user_id IS NULL OR i.user_id IS NULL
