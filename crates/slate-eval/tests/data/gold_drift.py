# Golden values of drift: PSI in NumPy, tests and tails from SciPy. Writes drift.json beside itself.
import json, pathlib
import numpy as np
from scipy import special, stats

FLOOR = 1e-4
rng = np.random.default_rng(17)

def psi(p, q):
    p, q = np.maximum(p, FLOOR), np.maximum(q, FLOOR)
    return float(np.sum((q - p) * np.log(q / p)))

def edges(values):
    """Halfway between the value at each tenth (or each distinct one, up to ten) and the one below;
    up to eight distinct ones lie between two empty bins."""
    v = np.sort(values[~np.isnan(values)]); u = np.unique(v)
    starts = u if len(u) <= 10 else v[[k * len(v) // 10 for k in range(1, 10)]]
    inner = np.unique([(u[u < s].max() + s) / 2 for s in starts if (u < s).any()])
    beside = lambda x, side: x + side * max(abs(x), 1.0) * 1e-6
    return np.array([beside(u[0], -1), *inner, beside(u[-1], 1)]) if len(u) <= 8 else inner

def numeric(before, now):
    e = edges(before)
    # A missing value counts as larger than all numbers.
    code = lambda v: np.where(np.isnan(v), len(e) + 1, np.searchsorted(e, v, side="right"))
    a, b = code(before), code(now); n, m = len(a), len(b)
    share = lambda c: np.bincount(c, minlength=len(e) + 2) / len(c)
    d = stats.ks_2samp(a, b, method="asymp").statistic
    full = stats.ks_2samp(np.where(np.isnan(before), np.inf, before), np.where(np.isnan(now), np.inf, now), method="asymp").statistic
    tail = lambda d: float(stats.kstwobign.sf(d * np.sqrt(n * m / (n + m))))
    null = lambda v: [None if np.isnan(x) else float(x) for x in v]
    return dict(before=null(before), now=null(now), edges=e.tolist(), psi=psi(share(a), share(b)), d=float(d), p=tail(d), p_unbinned=tail(full))

def ids(before, now):
    known, count = np.unique(before[before > 0], return_counts=True)
    kept = sorted(known[np.lexsort((known, -count))][:20].tolist())
    cells = lambda v: np.array([np.sum(v == 0), np.sum((v > 0) & ~np.isin(v, kept))] + [np.sum(v == i) for i in kept])
    a, b = cells(before), cells(now)
    table = np.stack([a, b])[:, (a + b) > 0]
    test = stats.chi2_contingency(table, correction=False)
    return dict(before=before.tolist(), now=now.tolist(), kept=kept, psi=psi(a / a.sum(), b / b.sum()), chi2=float(test.statistic), p=float(test.pvalue))

def holes(v, share):
    return np.where(rng.random(len(v)) < share, np.nan, v)

numbers = [
    numeric(rng.normal(0, 1, 400), rng.normal(0, 1, 300)),
    numeric(holes(rng.normal(0, 1, 300), .1), holes(rng.normal(.3, 1.2, 350), .2)),
    numeric(np.round(rng.exponential(2, 400)), np.round(rng.exponential(2.3, 250))),
    numeric(rng.integers(0, 4, 200).astype(float), rng.integers(0, 5, 260).astype(float)),
    numeric(rng.normal(0, 1, 150), holes(rng.normal(4, 1, 90), .5)),
]
zipf = lambda n, a, most: np.minimum(rng.zipf(a, n) - 1, most)
categories = [
    ids(zipf(500, 1.5, 60), zipf(400, 1.5, 60)),
    ids(zipf(500, 1.5, 60), zipf(450, 1.9, 60)),
    ids(rng.integers(0, 5, 120), rng.integers(1, 7, 150)),
    ids(rng.integers(1, 4, 300), rng.integers(1, 4, 300)),
]
chi = [[x, k, float(stats.chi2.sf(x, k))] for k in (1, 2, 3, 7, 13, 21) for x in (.01, .5, 1, 2.5, 6, 13, 21, 40, 90, 300)]
bridge = [[x, float(special.kolmogorov(x))] for x in np.round(np.concatenate([np.arange(.15, 1.5, .05), np.arange(1.5, 4, .25)]), 4).tolist()]
path = pathlib.Path(__file__).with_name("drift.json")
path.write_text(json.dumps(dict(numeric=numbers, ids=categories, tails=dict(chi2=chi, kolmogorov=bridge))) + "\n")
for c in numbers: print(c["psi"], c["d"], c["p"], c["p_unbinned"])
for c in categories: print(c["psi"], c["chi2"], c["p"])
