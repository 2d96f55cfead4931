"""Scores of the ranker in this folder for the list in `tests/it/formats.rs`, from NumPy in float64,
written from the description of the network.  Run: python3 scores.py"""

import json
import math
import struct
from pathlib import Path

import numpy as np

here = Path(__file__).parent
data = (here / "model.safetensors").read_bytes()
size = struct.unpack("<Q", data[:8])[0]
header = json.loads(data[8 : 8 + size])
header.pop("__metadata__")
w = {}
for name, info in header.items():
    start, end = info["data_offsets"]
    values = np.frombuffer(data[8 + size + start : 8 + size + end], "<f4")
    w[name] = values.reshape(info["shape"]).astype(float)

dense = np.array([[0.5, -1.0, 0.25], [1.0, 0.0, -0.5], [-0.75, 0.5, 2.0]])
ids = [0, 4, 2]
heads, layer = 2, "body.transformer.layers.0."


def linear(name, x):
    return x @ w[name + ".weight"] + w[name + ".bias"]


def norm(name, x):
    centred = x - x.mean(1, keepdims=True)
    var = (centred**2).mean(1, keepdims=True)
    return centred / np.sqrt(var + 1e-5) * w[name + ".gamma"] + w[name + ".beta"]


h = linear("input", np.hstack([dense, w["embeddings.0.weight"][ids]]))
x = norm(layer + "attention_norm", h)
q, k, v = (linear(layer + "attention." + part, x) for part in ("query", "key", "value"))
width = q.shape[1] // heads
mixed = []
for head in range(heads):
    part = slice(head * width, (head + 1) * width)
    e = np.exp(q[:, part] @ k[:, part].T / math.sqrt(width))
    mixed.append(e / e.sum(1, keepdims=True) @ v[:, part])
h = h + linear(layer + "attention.output", np.hstack(mixed))
x = norm(layer + "feed_forward_norm", h)
h = h + linear(layer + "outer", np.maximum(linear(layer + "inner", x), 0))
scores = linear("heads", norm("body.transformer.norm", h))
print("purchase", scores[:, 1], "click", scores[:, 0])
