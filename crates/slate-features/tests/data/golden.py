"""Makes golden.json: examples, and what NumPy says their features are.

Run: python3 golden.py > golden.json   (NumPy 2.4.6)

It shares no code with the crate. Lists are in the order of time, two per hour; the training
window is the first 24 hours; some lists have labels that can still change and are left out.
"""

import json
import math

import numpy as np

HOUR = 3_600_000_000
START = 1_767_225_600_000_000  # 2026-01-01
rng = np.random.default_rng(20260101)

rows = []
matured_lists = {}
for l in range(90):
    matured_lists[l] = not (l in (5, 40) or l > 86)
    for slot in range(int(rng.integers(1, 7))):
        impressions = int(rng.integers(0, 200))
        rows.append(
            dict(
                list_id=1000 + l,
                page_id=500 + l,
                impression_id=len(rows),
                ts=START + (l // 2) * HOUR,
                slot=slot,
                item_id=int(rng.zipf(1.5) % 40) - 3,
                price=None if rng.random() < 0.1 else int(np.exp(rng.normal(7, 1))),
                quality=None if rng.random() < 0.05 else float(rng.normal(3, 2)),
                item_category=None if rng.random() < 0.1 else str(rng.choice(list("abcdefg"), p=[0.3, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02])),
                item_impressions_7d=impressions,
                item_clicks_7d=int(rng.binomial(impressions, 0.07)),
                grade=int(rng.choice([0, 0, 0, 1, 4])),
                matured=matured_lists[l],
            )
        )
for r in rows:
    r["click"] = int(r["grade"] >= 1)
    r["purchase"] = int(r["grade"] == 4)

VALID, CALIBRATE, TEST = (START + h * HOUR for h in (24, 30, 36))
usable = [r for r in rows if r["matured"]]
part = lambda r: "train" if r["ts"] < VALID else "valid" if r["ts"] < CALIBRATE else "calibrate" if r["ts"] < TEST else "test"
train = [r for r in usable if part(r) == "train"]


def column(of, name):
    return np.array([np.nan if r[name] is None else r[name] for r in of], dtype=float)


def stats(x):
    x = x[~np.isnan(x)]
    return float(x.mean()), float(x.std())


# Dense features, in the order of the dataset.
price_mean, price_sd = stats(np.log1p(np.clip(column(train, "price"), 100, 5000)))
quality_fill = float(np.nanmean(column(train, "quality")))
n, d = column(train, "item_clicks_7d"), column(train, "item_impressions_7d")
prior = float(n.sum() / d.sum())
ctr = lambda of: np.log((column(of, "item_clicks_7d") + 15 * prior) / (column(of, "item_impressions_7d") + 15))
ctr_mean, ctr_sd = stats(ctr(train))
slot_mean, slot_sd = stats(np.log1p(column(train, "slot")))


def by_list(name, f):
    out = []
    for l in sorted({r["list_id"] for r in usable}):
        x = column([r for r in usable if r["list_id"] == l], name)
        out.extend(np.nan_to_num(f(x), nan=0.0))
    return np.array(out)


def z(x):
    sd = np.nanstd(x)
    return (x - np.nanmean(x)) / sd if sd > 0 else np.where(np.isnan(x), np.nan, 0.0)


def log_ratio(x):
    y = np.log1p(x)
    return y - np.nanmean(y)


def rank(x):
    known = x[~np.isnan(x)]
    if len(known) < 2:
        return np.zeros_like(x)
    one = lambda v: (np.sum(known < v) + 0.5 * (np.sum(known == v) - 1)) / (len(known) - 1) - 0.5
    return np.array([np.nan if math.isnan(v) else one(v) for v in x])


np.seterr(all="ignore")
import warnings

warnings.simplefilter("ignore")  # Lists without a known price have no mean.

price = np.log1p(np.clip(column(usable, "price"), 100, 5000))
quality = column(usable, "quality")
dense = np.column_stack(
    [
        np.where(np.isnan(price), 0.0, (price - price_mean) / price_sd),
        np.isnan(price).astype(float),
        np.where(np.isnan(quality), quality_fill, quality),
        np.isnan(quality).astype(float),
        (ctr(usable) - ctr_mean) / ctr_sd,
        by_list("price", z),
        by_list("price", log_ratio),
        by_list("price", rank),
        (np.log1p(column(usable, "slot")) - slot_mean) / slot_sd,
    ]
)

# Categorical features: bins first, since they come from `numeric`.
known = column(train, "price")
known = known[~np.isnan(known)]
edges = np.unique(np.quantile(known, np.arange(1, 8) / 8))
edges = edges[edges > known.min()]
raw_price = column(usable, "price")
bins = np.where(np.isnan(raw_price), 0, 1 + np.searchsorted(edges, raw_price, side="right"))


def vocabulary(name, min_count, max_ids=None):
    counts = {}
    for r in train:
        if r[name] is not None:
            counts[r[name]] = counts.get(r[name], 0) + 1
    keep = sorted((v for v in counts if counts[v] >= min_count), key=lambda v: (-counts[v], v))
    return keep[:max_ids]


def fnv(text, buckets):
    h = 0xCBF29CE484222325
    for c in text.encode():
        h = ((h ^ c) * 0x100000001B3) % 2**64
    return 1 + (h ^ (h >> 32)) % buckets


categories = vocabulary("item_category", 8)
items = vocabulary("item_id", 2, 10)
ids = lambda keep, v: keep.index(v) + 1 if v in keep else 0
categorical = [
    [
        int(bins[i]),
        ids(categories, r["item_category"]),
        ids(items, r["item_id"]),
        0 if r["item_category"] is None else fnv(r["item_category"], 5),
    ]
    for i, r in enumerate(usable)
]

print(
    json.dumps(
        dict(
            rows=rows,
            from_=[VALID, CALIBRATE, TEST],
            price=[price_mean, price_sd],
            quality_fill=quality_fill,
            prior=prior,
            ctr=[ctr_mean, ctr_sd],
            edges=edges.tolist(),
            categories=categories,
            items=[str(i) for i in items],
            parts=[part(r) for r in usable],
            impressions=[r["impression_id"] for r in usable],
            dense=dense.tolist(),
            categorical=categorical,
        )
    ).replace('}, {', '},\n{')
)
