-- What was shown. Slots without a known page are not in `slot_good`.
SELECT
  s.list_id, s.page_id, s.impression_id, s.page_ts AS ts, s.slot, s.item_id,
  coalesce(s.seller_id, i.seller_id) AS seller_id,
  s.page_user_id AS user_id, s.page_session_id AS session_id,
  s.kind, s.price, s.shipping, s.ad_rate, s.raw_score, s.propensity,
  s.page_site AS site, s.page_device AS device, s.page_page_type AS page_type,
  s.page_traffic_class AS traffic_class, s.page_seed_item_id AS seed_item_id,
  i.category AS item_category, i.condition AS item_condition, i.price AS item_price,
  i.start AS item_start, i."end" AS item_end{extras}
FROM item_kept i RIGHT JOIN slot_kept s ON i.item_id = s.item_id
WHERE s.page_ts <= {as_of}
