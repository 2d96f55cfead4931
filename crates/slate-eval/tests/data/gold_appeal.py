"""Position-based models with an appeal that numbers tell, by maximising the likelihood at once -> appeal.json.

Needs numpy, scipy. Run: venv/bin/python gold_appeal.py
"""

import json
import os

import numpy as np
import scipy
from scipy import optimize, special

HERE = os.path.dirname(os.path.abspath(__file__))


def case(seed, rows, theta, beta, sorted_by_appeal, counted):
    rng = np.random.default_rng(seed)
    width = len(beta) - 1
    x = np.round(rng.normal(size=(rows, width)) * [1.0, 3.0, 0.2][:width], 4)
    z = beta[0] + x @ np.array(beta[1:])
    noise = rng.normal(size=rows)
    rank = np.argsort(np.argsort(-(z if sorted_by_appeal else 0 * z) - noise))
    slots = rank * len(theta) // rows
    clicks = (rng.random(rows) < np.array(theta)[slots] * special.expit(z)).astype(int)
    counts = rng.integers(0, 4, rows).astype(float) if counted else np.ones(rows)
    scaled = (x - x.mean(0)) / x.std(0)
    all_ = counts.sum()
    mean = ((counts * clicks).sum() + 0.5) / (all_ + 1)
    base = np.log(mean / (1 - mean))

    def parts(free, most):
        th = np.insert(free[: len(theta) - 1], most, 1.0)
        return th, free[len(theta) - 1 :]

    def log_likelihood(free, most):
        th, b = parts(free, most)
        p = th[slots] * special.expit(base + b[0] + scaled @ b[1:])
        return (counts * np.where(clicks > 0, np.log(p), np.log1p(-p))).sum()

    def loss(free, most):
        return -log_likelihood(free, most) + 0.5 * (free[len(theta) - 1 :] ** 2).sum()

    # One slot is looked at always, none more often: whichever it is.
    bounds = [(1e-9, 1.0)] * (len(theta) - 1) + [(None, None)] * (1 + width)
    best = None
    for most in range(len(theta)):
        start = np.r_[np.full(len(theta) - 1, 0.5), np.zeros(1 + width)]
        found = optimize.minimize(
            loss, start, (most,), method="L-BFGS-B", bounds=bounds,
            options={"ftol": 1e-16, "gtol": 1e-10, "maxiter": 20000},
        )
        # Differences in the gradient leave the last digits to a search without one.
        found = optimize.minimize(
            loss, found.x, (most,), method="Nelder-Mead", bounds=bounds,
            options={"xatol": 1e-10, "fatol": 1e-12, "maxiter": 40000, "maxfev": 40000},
        )
        if best is None or found.fun < best[0].fun:
            best = found, most
    found, most = best
    th, b = parts(found.x, most)
    print(seed, most, th / th[0], b, found.fun, clicks.mean())
    return {
        "features": x.ravel().tolist(), "slots": slots.tolist(), "clicks": clicks.tolist(),
        "counts": counts.tolist(), "theta": (th / th[0]).tolist(), "beta": b.tolist(),
    }


document = {
    "scipy": scipy.__version__,
    "numpy": np.__version__,
    "cases": [
        case(1, 900, [1.0, 0.6, 0.3], [-1.0, 0.8], True, False),
        case(2, 600, [1.0, 0.5, 0.4, 0.2], [-0.5, 0.5, 0.2], False, True),
        case(3, 500, [0.7, 1.0, 0.1], [-1.5, 0.4, -0.1, 2.0], True, False),
    ],
}
with open(os.path.join(HERE, "appeal.json"), "w") as file:
    file.write(json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n")
