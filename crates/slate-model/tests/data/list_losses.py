"""List losses and their gradients of `tests/data/list_losses.json`, from NumPy in float64, written
from the formulas and not from the Rust code.  Run: python3 list_losses.py > list_losses.json

Every value is sum(loss) / sum(mass) over lists, 0 where the mass is 0. A gradient is the derivative
of that value by each score, taken by complex step (f(x + ih) = f(x) + ih f'(x), exact to rounding,
|x| having derivative 0 at 0), so what a loss reads off the real scores (ranks, ties) stays fixed.
Numbers have 10 significant digits; a gradient below 1e-15 is 0. None is padding."""

import json
import sys

import numpy as np

rng = np.random.default_rng(20260317)


def softplus(x):
    return x + np.log1p(np.exp(-x)) if x.real > 0 else np.log1p(np.exp(x))


def logsumexp(x):
    m = x.real.max()
    return m + np.log(np.exp(x - m).sum())


def value_mass(y, w):
    """V: the mean weight of the labels, 0 (and so the loss) without a positive label."""
    return (w * y).sum() / y.sum() if y.sum() > 0 else 0.0


def ideal_dcg(y, w):
    """1 without a positive label, where V is 0."""
    g = np.sort(w * (2**y - 1))[::-1]
    return sum(g[k] / np.log2(2 + k) for k in range(len(g))) or 1.0


def ranknet(s, y, w, counts={}):
    loss = mass = 0.0
    for i in range(len(s)):
        for j in range(len(s)):
            if y[i] > y[j]:
                weight = w[i] * counts.get(y[i], 1.0)
                loss += weight * softplus(s[j] - s[i])
                mass += weight
    return loss, mass


def ranknet_grades(s, y, w):
    return ranknet(s, y, w, {1.0: 6.0, 2.0: 15.0, 3.0: 38.0, 4.0: 8.0})


def listmle(s, y, w):
    """Tied labels share their denominator; the lowest label has no term."""
    terms = [i for i in range(len(s)) if y[i] > y.min()]
    loss = sum(w[i] * (logsumexp(s[y <= y[i]]) - s[i]) for i in terms)
    return loss, w[terms].mean() if terms else 0.0


def approx_ndcg(s, y, w, t=0.1):
    dcg = 0.0
    for i in range(len(s)):
        rank = 1 + sum(np.exp(-softplus((s[i] - s[j]) / t)) for j in range(len(s)) if j != i)
        dcg += w[i] * (2 ** y[i] - 1) / np.log2(1 + rank)
    return value_mass(y, w) * (1 - dcg / ideal_dcg(y, w)), value_mass(y, w)


def lambda_(s, y, w, mu=10.0, sigma=1.0):
    """NDCG-Loss2++. Ranks: highest score first, then lowest label, then first in the list."""
    n, loss = len(s), 0.0
    rank = dict(zip(sorted(range(n), key=lambda i: (-s[i].real, y[i], i)), range(1, n + 1)))
    g = w * (2**y - 1) / ideal_dcg(y, w)
    D = lambda k: np.log2(1 + k)
    for i in range(n):
        for j in range(n):
            if y[i] > y[j]:
                d = abs(rank[i] - rank[j])
                delta = mu * abs(1 / D(d) - 1 / D(d + 1)) + abs(1 / D(rank[i]) - 1 / D(rank[j]))
                loss += abs(g[i] - g[j]) * delta * softplus(sigma * (s[j] - s[i])) / np.log(2)
    return value_mass(y, w) * loss, value_mass(y, w)


def neural_ndcg(s, y, w, t=1.0, rounds=50, floor=1e-10):
    n = len(s)
    B = [sum((s[j] - s[k]) * np.sign((s[j] - s[k]).real) for k in range(n)) for j in range(n)]
    P = np.zeros((n, n), s.dtype)
    for i in range(n):
        row = np.array([((n + 1 - 2 * (i + 1)) * s[j] - B[j]) / t for j in range(n)])
        P[i] = np.exp(row - logsumexp(row))
    floored = lambda x: np.where(x.real < floor, floor, x)
    for _ in range(rounds):
        P = P / floored(P.sum(axis=0))[None, :]
        P = P / floored(P.sum(axis=1))[:, None]
    dcg = sum((P[i] * w * (2**y - 1)).sum() / np.log2(2 + i) for i in range(n))
    return value_mass(y, w) * (1 - dcg / ideal_dcg(y, w)), value_mass(y, w)


def ordinal(z, y, w):
    loss = 0.0
    for i in range(len(z)):
        for k in range(z.shape[1]):
            loss += w[i] * (softplus(z[i, k]) - (y[i] >= k + 1) * z[i, k])
    return loss, w.sum()


def regression_compatible(s, y, w, alpha=0.5):
    b = (y > 0) * 1.0
    point = sum(w[i] * (softplus(s[i]) - b[i] * s[i]) for i in range(len(s))) / w.sum()
    logs = np.array([-softplus(-x) for x in s])
    listwise = -(w * b * (logs - logsumexp(logs))).sum() / (w * b).sum() if b.any() else 0.0
    return w.mean() * ((1 - alpha) * point + alpha * listwise), w.mean()


def jrc(f, y, w, alpha=0.5):
    point = listwise = 0.0
    for i in range(len(f)):
        b = int(y[i] > 0)
        point += w[i] * (logsumexp(f[i]) - f[i, b])
        listwise += w[i] * (logsumexp(f[:, b]) - f[i, b])
    return w.mean() * (alpha * point + (1 - alpha) * listwise) / w.sum(), w.mean()


def calibrated_softmax(s, y, w, v=0.1):
    log_z = logsumexp(np.append(s, 0.0))
    return (w * y * (log_z - s)).sum() + w.mean() * v * log_z, w.mean()


LOSSES = [ranknet, ranknet_grades, listmle, approx_ndcg, lambda_, neural_ndcg, ordinal]
LOSSES += [regression_compatible, jrc, calibrated_softmax]


def value(loss, s, y, w, dtype=float):
    total = mass = 0.0
    for si, yi, wi in zip(s, y, w):
        n = sum(x is not None for x in yi)
        l, m = loss(np.array(si[:n], dtype), np.array(yi[:n]), np.array(wi[:n]))
        total, mass = total + l, mass + m
    return total / mass if mass else 0.0


def digits(x):
    return float(f"{x:.9e}") if abs(x) >= 1e-15 else 0.0


def gradient(loss, s, y, w, h=1e-30):
    tied = any(r.count(x) > 1 for r in s for x in r if x is not None)

    def walk(x, put):
        if isinstance(x, list):
            return [walk(v, lambda r, a=a: put(x[:a] + [r] + x[a + 1 :])) for a, v in enumerate(x)]
        if x is None:
            return None
        d = np.imag(value(loss, put(x + 1j * h), y, w, complex)) / h
        # Central differences agree; a step from tied scores would change the ranks of lambda.
        near = (value(loss, put(x + 1e-6), y, w) - value(loss, put(x - 1e-6), y, w)) / 2e-6
        assert abs(d - near) < 1e-7 * (1 + abs(d)) or (tied and loss is lambda_), (d, near)
        return digits(d)

    return walk(s, lambda r: r)


def case(name, lengths, weighted, scale=1.0, labels=None):
    """Normal scores (all 0.25 if scale is 0), drawn grades and weights unless given or 1."""
    pad = lambda rows: [row + [None] * (max(lengths) - len(row)) for row in rows]
    score = lambda *shape: (rng.normal(0, scale, shape) if scale else np.full(shape, 0.25)).round(4)
    grade = lambda n: rng.choice(5, n, p=[0.4, 0.25, 0.15, 0.1, 0.1]).astype(float).tolist()
    weight = lambda n: (rng.uniform(0.2, 3, n).round(4) if weighted else np.ones(n)).tolist()
    out = {"name": name}
    for key, columns in [("scores", []), ("pair", [2]), ("ordinal_scores", [4])]:
        out[key] = pad([score(n, *columns).tolist() for n in lengths])
    y = out["labels"] = pad(labels or [grade(n) for n in lengths])
    w = out["weights"] = pad([weight(n) for n in lengths])
    for loss in LOSSES:
        s = out[{ordinal: "ordinal_scores", jrc: "pair"}.get(loss, "scores")]
        key = loss.__name__.rstrip("_")
        out[key], out[key + "_gradient"] = digits(value(loss, s, y, w)), gradient(loss, s, y, w)
    return out


clicks = [[0.0, 1.0, 0.0, 0.0, 1.0], [0.0] * 4, [1.0] * 3, [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]
cases = [
    case("full", [5, 5, 5], False),
    case("masked", [6, 2, 4, 1], False, 0.5),
    case("weighted", [6, 3, 4], True, 3.0),
    case("all zero", [3, 4], False, 1.0, [[0.0] * 3, [0.0] * 4]),
    case("one slot", [1, 1, 1], True, 1.0, [[0.0], [1.0], [3.0]]),
    case("all tied", [5, 4], False, 0.0, [[0.0, 2.0, 1.0, 0.0, 4.0], [1.0, 1.0, 0.0, 3.0]]),
    case("binary", [5, 4, 3, 6], False, 1.0, clicks),
    case("long", [40], True, 1.5),
]

# Untied labels: the usual ListMLE, by sorting and summing from the end, a mean over lists.
s, y = rng.normal(0, 2, (3, 7)), rng.permuted([range(7)] * 3, axis=1) * 1.0
ordered = [si[np.argsort(-yi)] for si, yi in zip(s, y)]
usual = np.mean([(np.log(np.cumsum(np.exp(r[::-1]))[::-1]) - r).sum() for r in ordered])
assert abs(value(listmle, s.tolist(), y.tolist(), np.ones((3, 7)).tolist()) - usual) < 1e-12

# The examples in TF-Ranking's documentation of tfr.keras.losses: ours = published * factor + shift.
# Sigmoid and pairwise: its mean is over slots, padding too (ours: real slots, pairs).
softmax = lambda s, y, w: ((w * y * (logsumexp(s) - s)).sum() / y.sum(), value_mass(y, w))
bce = lambda s, y, w: ordinal(s[:, None], y, w)
inputs = [([[0.6, 0.8]], [[1.0, 0.0]])]
inputs += [([[0.6, 0.8, None], [0.5, 0.8, 0.4]], [[1.0, 0.0, None], [0.0, 1.0, 0.0]])]
examples = [
    ("SoftmaxLoss", "softmax", softmax, 0.0, (0.7981389, 1.0), (0.83911896, 1.0)),
    ("SigmoidCrossEntropyLoss", "bce", bce, 0.0, (0.8042943, 1.0), (0.64446354, 1.2)),
    ("ApproxNDCGLoss", "approx_ndcg", approx_ndcg, 1.0, (-0.655107, 1.0), (-0.80536866, 1.0)),
    ("ListMLELoss", "listmle", listmle, 0.0, (0.7981389, 1.0)),
    ("PairwiseLogisticLoss", "ranknet", ranknet, 0.0, (0.39906943, 2.0), (0.3109182, 2.0)),
    ("CalibratedSoftmaxLoss", "calibrated_softmax", calibrated_softmax, 0.0, (1.1808171, 1.0)),
]
documented = []
for name, key, loss, shift, *shown in examples:
    for (published, factor), (s, y) in zip(shown, inputs):
        ours = value(loss, s, y, [[1.0] * len(r) for r in y])
        print(name, published, "->", published * factor + shift, "ours", ours, file=sys.stderr)
        assert abs(published * factor + shift - ours) < 2e-7
        out = {"name": name, "loss": key, "published": published}
        documented.append(out | {"factor": factor, "shift": shift, "scores": s, "labels": y})
print(json.dumps({"cases": cases, "documented": documented}, indent=1))
