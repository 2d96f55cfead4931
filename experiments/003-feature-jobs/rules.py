"""What the scripts of all engines share: the rules of features.toml and peers_features.toml, times in microseconds."""

DAY = 86_400_000_000
AS_OF = 20_666 * DAY  # 2026-08-01
WINDOWS = {
    "view": 30 * 60_000_000, "click": 30 * 60_000_000, "watch": 30 * DAY, "cart": 30 * DAY, "offer": 30 * DAY,
    "bid": 30 * DAY, "bin_click": 30 * DAY, "purchase": 30 * DAY,
}
GRADES = {"view": 0, "click": 1, "watch": 2, "cart": 3, "offer": 3, "bid": 3, "bin_click": 3, "purchase": 4}
# Pages up to here have labels that cannot change any more.
MATURE = AS_OF - max(WINDOWS.values())

HISTORY = 30 * DAY
MIN_COUNT = {"item_category": 50, "item_id": 20, "device": 5}
# Shares of the lists before valid, calibrate and test, added up as Slate does.
VALID_FROM = 1.0 - (0.08 + 0.16 + 0.22)
CUTS = [VALID_FROM, VALID_FROM + 0.08, VALID_FROM + 0.08 + 0.16]

# Columns of features.parquet, inputs of a network after an `x_`; the split is named in a last column.
ROW = ["list_id", "impression_id", "item_id", "grade", "click", "purchase"]
DENSE = ["x_price", "x_item_impressions_30d", "x_item_clicks_30d", "x_item_purchases_30d", "x_price_log_ratio"]
CATEGORICAL = ["x_item_category", "x_item_id", "x_device"]
