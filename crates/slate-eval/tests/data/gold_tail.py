"""Shapes of the largest weights by ArviZ -> tail.json.

Needs numpy, arviz < 1. Run: venv/bin/python gold_tail.py
"""

import json
import os
import warnings

import numpy as np

warnings.simplefilter("ignore")
import arviz  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(17)
LAWS = {
    "uniform": rng.random(60),
    "exponential": rng.exponential(size=300),
    "lognormal, sigma 1": np.exp(rng.normal(size=250)),
    "lognormal, sigma 3": np.exp(3 * rng.normal(size=250)),
    "pareto, shape 0.3": rng.random(400) ** -0.3,
    "pareto, shape 1.2": rng.random(400) ** -1.2,
    "ties": rng.integers(1, 30, 200).astype(float),
    "mostly small": np.where(rng.random(300) < 0.06, rng.exponential(40, 300), 1e-3),
}


def shape(weights):
    _, k = arviz.psislw(np.log(weights))
    return float(k)


cases = []
for law, weights in LAWS.items():
    weights = np.round(weights, 6)
    cases.append({"law": law, "weights": weights.tolist(), "shape": shape(weights)})
    print(law, cases[-1]["shape"])
document = {"arviz": arviz.__version__, "numpy": np.__version__, "cases": cases}
with open(os.path.join(HERE, "tail.json"), "w") as file:
    file.write(json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n")
