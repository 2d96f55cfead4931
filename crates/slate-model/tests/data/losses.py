"""Losses of `tests/data/losses.json`, from NumPy in float64, written from the formulas and not from
the Rust code.  Run: python3 losses.py > losses.json"""

import json

import numpy as np

rng = np.random.default_rng(20260301)


def softmax_loss(s, y, w):
    """Mean over lists with a positive label of -sum v log softmax(s) with v = w y / sum y, each
    list weighted by sum v. None is padding."""
    loss = mass = 0.0
    for si, yi, wi in zip(s, y, w):
        si, yi, wi = (np.array([x for x in r if x is not None]) for r in (si, yi, wi))
        if yi.sum() == 0:
            continue
        v = wi * yi / yi.sum()
        loss -= (v * (si - np.logaddexp.reduce(si))).sum()
        mass += v.sum()
    return loss / mass if mass else 0.0


def bce_loss(s, y, w):
    """Weighted mean over slots of -y log p - (1 - y) log(1 - p), p the logistic of s."""
    s, y, w = (np.array([x for r in a for x in r if x is not None]) for a in (s, y, w))
    return float((w * (np.logaddexp(0, -s) * y + np.logaddexp(0, s) * (1 - y))).sum() / w.sum())


def case(name, lengths, width, weighted, tied=False, zero=False):
    s, y, w = [], [], []
    for n in lengths:
        pad = [None] * (width - n)
        s.append(([0.25] * n if tied else list(rng.normal(0, 3, n).round(4))) + pad)
        y.append([0.0 if zero else float(v) for v in rng.integers(0, 2, n)] + pad)
        w.append(list(rng.uniform(0.2, 3, n).round(4) if weighted else np.ones(n)) + pad)
    return {
        "name": name,
        "scores": s,
        "labels": y,
        "weights": w,
        "softmax": float(softmax_loss(s, y, w)),
        "bce": bce_loss(s, y, w),
    }


print(
    json.dumps(
        [
            case("full", [4, 4, 4], 4, False),
            case("masked", [5, 2, 3, 1], 5, False),
            case("weighted", [5, 2, 3, 4], 5, True),
            case("all zero", [3, 3], 3, False, zero=True),
            case("one slot", [1, 1, 1], 1, True),
            case("all tied", [4, 3], 4, False, tied=True),
        ],
        indent=1,
    )
)
