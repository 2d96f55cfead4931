"""Slate's transformer or GRU ranker in PyTorch: python torch_rank.py DIR MODE [--threads 2] [--steps 100] [--device cpu]

DIR is what Slate writes: meta.json, dense.f32 [batches, lists, slots, dense], purchase.f32 [batches, lists, slots],
length.u32 [batches, lists] and init/model.safetensors, the weights before the first step. Prints JSON:

- losses: the first ten losses, each before its step;
- train, compile: the median training step, the latter with torch.compile;
- ragged: as train, each batch cut to its longest list;
- infer: the median batch scored; one: the median list scored alone, without its padding.

A step begins with the copy of its batch. Ten steps before the timed ones warm up. `import_mib` is the peak memory
once PyTorch is imported: its build for CUDA maps more than one for CPUs alone. With `--device cuda` a step ends
when the card has done it; `--amp` computes in bfloat16 where autocast does.
"""

import argparse
import json
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

WARM_UP = 10


class Layer(nn.Module):
    """Self-attention and feed-forward, normalised first."""

    def __init__(self, hidden, heads, wide):
        super().__init__()
        self.heads = heads
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(hidden, eps=1e-5), nn.LayerNorm(hidden, eps=1e-5)
        self.packed, self.output = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.inner, self.outer = nn.Linear(hidden, wide), nn.Linear(wide, hidden)

    def forward(self, x, real):
        lists, slots, hidden = x.shape
        packed = self.packed(self.attention_norm(x)).view(lists, slots, 3, self.heads, hidden // self.heads)
        query, key, value = packed.permute(2, 0, 3, 1, 4).unbind(0)
        mask = None if real is None else real[:, None, None, :]
        context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + self.output(context.transpose(1, 2).reshape(lists, slots, hidden))
        return x + self.outer(F.relu(self.inner(self.feed_forward_norm(x))))


class Ranker(nn.Module):
    """Purchase scores [lists, slots]; `real` [lists, slots] is None where no list has padding."""

    def __init__(self, meta):
        super().__init__()
        hidden, layers = meta["hidden"], meta["layers"]
        self.input, self.heads = nn.Linear(meta["dense"], hidden), nn.Linear(hidden, 2)
        self.is_gru = meta["kind"] == "gru"
        if self.is_gru:
            self.gru = nn.GRU(hidden, hidden, layers, batch_first=True)
        else:
            sizes = (hidden, meta["heads"], meta["feed_forward"])
            self.layers, self.norm = nn.ModuleList(Layer(*sizes) for _ in range(layers)), nn.LayerNorm(hidden, eps=1e-5)

    def forward(self, dense, real):
        x = self.input(dense)
        if self.is_gru:
            # States run forwards and padding stands behind, so it needs no mask.
            return self.heads(self.gru(x)[0])[..., 1]
        for layer in self.layers:
            x = layer(x, real)
        return self.heads(self.norm(x))[..., 1]


def state(tensors, meta):
    """Slate's tensors under PyTorch's names; ends where some are left over."""
    found, kind = {}, meta["kind"]

    def linear(name, *sources):
        found[f"{name}.weight"] = torch.cat([tensors.pop(f"{source}.weight") for source in sources], 1).T
        found[f"{name}.bias"] = torch.cat([tensors.pop(f"{source}.bias") for source in sources])

    def norm(name, source):
        found[f"{name}.weight"], found[f"{name}.bias"] = tensors.pop(f"{source}.gamma"), tensors.pop(f"{source}.beta")

    linear("input", "input")
    linear("heads", "heads")
    for at in range(meta["layers"]):
        if kind == "gru":
            for part, letters in (("input", "ih"), ("hidden", "hh")):
                source = f"body.gru.layers.{at}.forward.{part}"
                found[f"gru.weight_{letters}_l{at}"] = tensors.pop(f"{source}.weight").T
                found[f"gru.bias_{letters}_l{at}"] = tensors.pop(f"{source}.bias")
            continue
        name, source = f"layers.{at}", f"body.transformer.layers.{at}"
        linear(f"{name}.packed", *(f"{source}.attention.{part}" for part in ("query", "key", "value")))
        linear(f"{name}.output", f"{source}.attention.output")
        for part in ("inner", "outer"):
            linear(f"{name}.{part}", f"{source}.{part}")
        for part in ("attention_norm", "feed_forward_norm"):
            norm(f"{name}.{part}", f"{source}.{part}")
    if kind == "transformer":
        norm("norm", "body.transformer.norm")
    if tensors:
        sys.exit(f"tensors of another network: {sorted(tensors)}")
    return found


def loss_of(model, dense, purchase, real):
    """Listwise softmax, the mean over the lists with a purchase."""
    scores = model(dense, real)
    if real is not None:
        scores, purchase = scores.masked_fill(~real, -1e9), purchase * real
    total = purchase.sum(1, keepdim=True)
    per_list = -(purchase / total.clamp(min=1) * F.log_softmax(scores, 1)).sum(1)
    return per_list.sum() / (total > 0).sum().clamp(min=1)


class Data:
    """The batches on the host, and a copy of one as tensors."""

    def __init__(self, folder, meta, device):
        self.device = device
        lists, slots = meta["lists"], meta["slots"]
        self.batches = meta["batches"]
        self.dense = np.fromfile(folder / "dense.f32", "<f4").reshape(self.batches, lists, slots, meta["dense"])
        self.purchase = np.fromfile(folder / "purchase.f32", "<f4").reshape(self.batches, lists, slots)
        self.length = np.fromfile(folder / "length.u32", "<u4").astype(np.int64).reshape(self.batches, lists)
        if self.length.min() < 1 or self.length.max() > slots:
            sys.exit(f"lists of {self.length.min()} to {self.length.max()} slots, not of 1 to {slots}")

    def batch(self, step, cut=False):
        at = step % self.batches
        slots = self.length[at].max() if cut else self.dense.shape[2]
        dense, purchase = (torch.from_numpy(part[at, :, :slots]).clone() for part in (self.dense, self.purchase))
        real = None
        if self.length[at].min() < slots:
            real = torch.arange(slots) < torch.from_numpy(self.length[at])[:, None]
        on = lambda part: part if part is None else part.to(self.device)
        return on(dense), on(purchase), on(real)

    def one(self, step):
        at = step % self.batches
        return torch.from_numpy(self.dense[at, :1, : self.length[at, 0]]).clone().to(self.device)


def peak_mib():
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("mode", choices=["losses", "train", "compile", "ragged", "infer", "one"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--amp", action="store_true")
    arguments = parser.parse_args()
    mode, import_mib = arguments.mode, peak_mib()
    torch.set_num_threads(arguments.threads)
    meta = json.loads((arguments.folder / "meta.json").read_text())
    data, model = Data(arguments.folder, meta, arguments.device), Ranker(meta)
    model.load_state_dict(state(load_file(arguments.folder / "init/model.safetensors"), meta))
    model.to(arguments.device)
    rate, decay = meta["learning_rate"], meta["weight_decay"]
    # On CPUs too, `fused` is the fastest.
    optimizer = torch.optim.AdamW(model.parameters(), rate, (0.9, 0.999), 1e-8, decay, fused=True)
    objective = torch.compile(loss_of) if mode == "compile" else loss_of

    def train(at):
        with torch.autocast(arguments.device, torch.bfloat16, enabled=arguments.amp):
            loss = objective(model, *data.batch(at, cut=mode == "ragged"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    @torch.inference_mode()
    def score(at):
        dense, _, real = data.batch(at)
        return model(dense, real).cpu()

    @torch.inference_mode()
    def score_one(at):
        return model(data.one(at), None).cpu()

    if mode == "losses":
        print(json.dumps([train(at) for at in range(10)]))
        return
    step = {"infer": score, "one": score_one}.get(mode, train)
    seconds = []
    for at in range(WARM_UP + arguments.steps):
        began = time.perf_counter()
        step(at)
        seconds.append(time.perf_counter() - began)
    median = statistics.median(seconds[WARM_UP:])
    lists = 1 if mode == "one" else meta["lists"]
    result = {"lists_per_second": round(lists / median, 1), "ms": round(1000 * median, 4)}
    print(json.dumps(result | {"peak_mib": peak_mib(), "import_mib": import_mib}))


if __name__ == "__main__":
    main()
