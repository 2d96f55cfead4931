-- The few columns of a placement that attribution and history need.
SELECT impression_id, page_id, list_id, slot, item_id,
  page_ts AS ts, page_user_id AS user_id, page_session_id AS session_id
FROM slot_kept WHERE page_ts <= {as_of}
