"""Slate's rankers as PyTorch modules. Copy this file into your project; it needs torch and safetensors alone.

    ranker = load_slate("run")                                    # model.json and model.safetensors of a run
    columns = ranker(dense, categorical, multi_valued, mask)      # [lists, slots, columns]
    purchase = ranker.scores(columns)["purchase"]                 # [lists, slots]
    save_state_dict(ranker, "ranker.safetensors")                 # under the names on the left below

`Ranker` is made of PyTorch's own modules, so its state dict has PyTorch's own names. N counts from 0.

| PyTorch name, shape                               | Slate name, in model.safetensors                 | transposed |
|---------------------------------------------------|--------------------------------------------------|------------|
| every kind                                        |                                                  |            |
| `embeddings.N.weight` [ids, width]                | `embeddings.N.weight`                            | no         |
| `several.N.weight` [ids, width]                   | `several.N.weight`                               | no         |
| `input_norm.weight` [dense]                       | `input_norm.gamma`                               | no         |
| `input_norm.bias` [dense]                         | `input_norm.beta`                                | no         |
| `batch_norm.weight`, `.bias` [dense]              | `batch_norm.gamma`, `.beta`                      | no         |
| `batch_norm.running_mean`, `.running_var` [dense] | `batch_norm.mean`, `.variance`                   | no         |
| `input.weight` [hidden, inputs]                   | `input.weight`                                   | yes        |
| `input.bias` [hidden]                             | `input.bias`                                     | no         |
| `heads.weight` [columns, hidden]                  | `heads.weight`                                   | yes        |
| `heads.bias` [columns]                            | `heads.bias`                                     | no         |
| `position.weight` [slots, columns]                | `position.weight`                                | no         |
| kind `transformer`                                | with L = `body.transformer.layers.N`             |            |
| `body.layers.N.self_attn.in_proj_weight` [3 h, h] | `L.attention.{query,key,value}.weight`, stacked  | yes, each  |
| `body.layers.N.self_attn.in_proj_bias` [3 h]      | `L.attention.{query,key,value}.bias`, stacked    | no         |
| `body.layers.N.self_attn.out_proj.weight` [h, h]  | `L.attention.output.weight`                      | yes        |
| `body.layers.N.self_attn.out_proj.bias` [h]       | `L.attention.output.bias`                        | no         |
| `body.layers.N.linear1.weight` [feed_forward, h]  | `L.inner.weight`                                 | yes        |
| `body.layers.N.linear1.bias` [feed_forward]       | `L.inner.bias`                                   | no         |
| `body.layers.N.linear2.weight` [h, feed_forward]  | `L.outer.weight`                                 | yes        |
| `body.layers.N.linear2.bias` [h]                  | `L.outer.bias`                                   | no         |
| `body.layers.N.norm1.weight`, `.bias` [h]         | `L.attention_norm.gamma`, `.beta`                | no         |
| `body.layers.N.norm2.weight`, `.bias` [h]         | `L.feed_forward_norm.gamma`, `.beta`             | no         |
| `body.norm.weight`, `.bias` [h]; `pre` alone      | `body.transformer.norm.gamma`, `.beta`           | no         |
| kind `mlp`                                        |                                                  |            |
| `body.N.weight` [hidden, hidden]                  | `body.mlp.layers.N.weight`                       | yes        |
| `body.N.bias` [hidden]                            | `body.mlp.layers.N.bias`                         | no         |
| kind `gru`                                        | with C = `body.gru.layers.N.forward`             |            |
| `body.weight_ih_lN` [3 own, inputs]               | `C.input.weight`                                 | yes        |
| `body.weight_hh_lN` [3 own, own]                  | `C.hidden.weight`                                | yes        |
| `body.bias_ih_lN` [3 own]                         | `C.input.bias`                                   | no         |
| `body.bias_hh_lN` [3 own]                         | `C.hidden.bias`                                  | no         |
| the same four with `_reverse` at the end          | with C = `body.gru.layers.N.backward`            |            |

A network of kind `linear` has neither `input` nor a body: its heads read the inputs.
h is `hidden`; own is `hidden`, or half of it where a GRU goes both ways. What is stacked follows each other along the
first axis of PyTorch's tensor. The gates of a GRU stand in the same order, r, z, n, on both sides. `input` reads dense
inputs, then categorical embeddings, then means of several ids. An MLP of `layers` hidden layers has `layers - 1` in its
body, `input` being the first. What `model.json` does not ask for is on neither side; nor is `num_batches_tracked`.
"""

import json
import math
import re
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

NEWEST_FORMAT = 2  # of model.json
NORM_EPSILON = 1e-5
UNTOLD = "num_batches_tracked"  # PyTorch counts batches; its momentum is fixed, so nothing depends on it

# The table above: a pattern of PyTorch's name, Slate's names for it, and whether each is transposed.
LAYER = r"body.transformer.layers.\1"
NAMES = [
    (r"(embeddings|several)\.(\d+)\.weight", [r"\1.\2.weight"], False),
    (r"position\.weight", ["position.weight"], False),
    (r"input_norm\.weight", ["input_norm.gamma"], False),
    (r"input_norm\.bias", ["input_norm.beta"], False),
    (r"batch_norm\.weight", ["batch_norm.gamma"], False),
    (r"batch_norm\.bias", ["batch_norm.beta"], False),
    (r"batch_norm\.running_mean", ["batch_norm.mean"], False),
    (r"batch_norm\.running_var", ["batch_norm.variance"], False),
    (r"(input|heads)\.weight", [r"\1.weight"], True),
    (r"(input|heads)\.bias", [r"\1.bias"], False),
    (
        r"body\.layers\.(\d+)\.self_attn\.in_proj_weight",
        [f"{LAYER}.attention.{part}.weight" for part in ("query", "key", "value")],
        True,
    ),
    (
        r"body\.layers\.(\d+)\.self_attn\.in_proj_bias",
        [f"{LAYER}.attention.{part}.bias" for part in ("query", "key", "value")],
        False,
    ),
    (r"body\.layers\.(\d+)\.self_attn\.out_proj\.weight", [f"{LAYER}.attention.output.weight"], True),
    (r"body\.layers\.(\d+)\.self_attn\.out_proj\.bias", [f"{LAYER}.attention.output.bias"], False),
    (r"body\.layers\.(\d+)\.linear1\.weight", [f"{LAYER}.inner.weight"], True),
    (r"body\.layers\.(\d+)\.linear1\.bias", [f"{LAYER}.inner.bias"], False),
    (r"body\.layers\.(\d+)\.linear2\.weight", [f"{LAYER}.outer.weight"], True),
    (r"body\.layers\.(\d+)\.linear2\.bias", [f"{LAYER}.outer.bias"], False),
    (r"body\.layers\.(\d+)\.norm1\.weight", [f"{LAYER}.attention_norm.gamma"], False),
    (r"body\.layers\.(\d+)\.norm1\.bias", [f"{LAYER}.attention_norm.beta"], False),
    (r"body\.layers\.(\d+)\.norm2\.weight", [f"{LAYER}.feed_forward_norm.gamma"], False),
    (r"body\.layers\.(\d+)\.norm2\.bias", [f"{LAYER}.feed_forward_norm.beta"], False),
    (r"body\.norm\.weight", ["body.transformer.norm.gamma"], False),
    (r"body\.norm\.bias", ["body.transformer.norm.beta"], False),
    (r"body\.(\d+)\.weight", [r"body.mlp.layers.\1.weight"], True),
    (r"body\.(\d+)\.bias", [r"body.mlp.layers.\1.bias"], False),
    (r"body\.weight_ih_l(\d+)", [r"body.gru.layers.\1.forward.input.weight"], True),
    (r"body\.weight_hh_l(\d+)", [r"body.gru.layers.\1.forward.hidden.weight"], True),
    (r"body\.bias_ih_l(\d+)", [r"body.gru.layers.\1.forward.input.bias"], False),
    (r"body\.bias_hh_l(\d+)", [r"body.gru.layers.\1.forward.hidden.bias"], False),
    (r"body\.weight_ih_l(\d+)_reverse", [r"body.gru.layers.\1.backward.input.weight"], True),
    (r"body\.weight_hh_l(\d+)_reverse", [r"body.gru.layers.\1.backward.hidden.weight"], True),
    (r"body\.bias_ih_l(\d+)_reverse", [r"body.gru.layers.\1.backward.input.bias"], False),
    (r"body\.bias_hh_l(\d+)_reverse", [r"body.gru.layers.\1.backward.hidden.bias"], False),
]


class Ranker(nn.Module):
    """A ranker over the slots of lists, built from a parsed `model.json`, with PyTorch's initial weights.

    Raises NotImplementedError where it reads users' histories.
    """

    def __init__(self, description):
        super().__init__()
        if description["format"] > NEWEST_FORMAT:
            raise ValueError(f"model.json has format {description['format']}, expected at most {NEWEST_FORMAT}")
        network, shape = description["network"], description["shape"]
        if shape.get("history") and network.get("history"):
            raise NotImplementedError("a ranker that reads histories; train with `history = { encoder = \"none\" }`")
        # Models of format 1 name no outputs.
        plain = [{"head": head, "form": "score"} for head in ("click", "purchase")]
        self.outputs = description.get("outputs", {"heads": plain, "entire_space": False})
        columns = sum(_columns_of(output["form"]) for output in self.outputs["heads"])

        self.kind, hidden, layers = network["kind"], network["hidden"], network["layers"]
        self.activation = {"relu": F.relu, "gelu": F.gelu}[network["activation"]]
        self.dropout = nn.Dropout(network["dropout"])
        tables = [nn.Embedding(ids, _embedding_width(network, ids)) for ids in shape["categorical"]]
        several = [nn.Embedding(ids, _embedding_width(network, ids)) for ids in shape.get("multi_valued", [])]
        inputs = shape["dense"] + sum(table.embedding_dim for table in tables + several)
        self.embeddings, self.several = nn.ModuleList(tables), nn.ModuleList(several)
        norm = network.get("input_norm", False) if shape["dense"] > 0 else False
        self.input_norm = nn.LayerNorm(shape["dense"], eps=NORM_EPSILON) if norm is True else nn.Identity()
        self.batch_norm = nn.BatchNorm1d(shape["dense"], eps=NORM_EPSILON) if norm == "batch" else None
        if self.kind == "linear":
            self.input, self.body, hidden = nn.Identity(), nn.Identity(), inputs
        else:
            self.input = nn.Linear(inputs, hidden)
        if self.kind == "transformer":
            self.body = _transformer(network)
        elif self.kind == "mlp":
            self.body = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers - 1))
        elif self.kind == "gru":
            both = network.get("bidirectional", False)
            between = network["dropout"] if layers > 1 else 0.0
            own = hidden // 2 if both else hidden
            self.body = nn.GRU(hidden, own, layers, batch_first=True, dropout=between, bidirectional=both)
        elif self.kind != "linear":
            raise NotImplementedError(f"a network of kind `{self.kind}`")
        self.heads = nn.Linear(hidden, columns)
        slots = network.get("position_slots", 0)
        self.position = nn.Embedding(slots, columns) if slots else None

    def forward(self, dense, categorical, multi_valued, mask, slot=None):
        """The raw columns `[lists, slots, columns]` of every place, without meaning on padding.

        They are what Slate's network gives, before sigmoid or anything else: `scores` makes scores of them.

        - dense: float `[lists, slots, width]`
        - categorical: int `[lists, slots, columns]`, ids from 0, the unknown
        - multi_valued: for each such input a pair of `[lists, slots, most]`, int ids and bool, true where there is one;
          places without any have the mean 0
        - mask: bool `[lists, slots]`, true on slots, which stand before the padding
        - slot: int `[lists, slots]`, where each stood when it was shown, from 0. For training with a position tower
          alone: leave it out to score.
        """
        if self.batch_norm is not None:
            # Over slots alone: padding has no part in a mean.
            dense = torch.zeros_like(dense).masked_scatter(mask[..., None], self.batch_norm(dense[mask]))
        parts = [self.input_norm(dense)]
        parts += [table(ids) for table, ids in zip(self.embeddings, categorical.unbind(-1), strict=True)]
        for table, (ids, real) in zip(self.several, multi_valued, strict=True):
            real = real.unsqueeze(-1)
            parts.append((table(ids) * real).sum(-2) / real.sum(-2).clamp(min=1))
        hidden = self.input(torch.cat(parts, -1))
        if self.kind == "transformer":
            # Padding is no key. Lists without slots keep theirs: a softmax over nothing is NaN.
            padding = ~mask & mask.any(1, keepdim=True)
            hidden = self.body(hidden, src_key_padding_mask=padding)
        elif self.kind == "mlp":
            hidden = self.dropout(self.activation(hidden))
            for layer in self.body:
                hidden = self.dropout(self.activation(layer(hidden)))
        elif self.kind == "gru":
            lengths = mask.sum(1).clamp(min=1).cpu()
            packed = nn.utils.rnn.pack_padded_sequence(hidden, lengths, batch_first=True, enforce_sorted=False)
            states, _ = self.body(packed)
            hidden, _ = nn.utils.rnn.pad_packed_sequence(states, batch_first=True, total_length=mask.shape[1])
        columns = self.heads(hidden)
        if slot is not None and self.position is not None:
            columns = columns + self.position(slot.clamp(max=self.position.num_embeddings - 1))
        return columns

    def scores(self, columns):
        """The score of each head, `[lists, slots]`, from raw columns, by the head's name.

        Log-odds where a loss on log-odds trained the head (a sigmoid makes them probabilities), the expected grade
        under an ordinal loss, and otherwise comparable inside a list alone.
        """
        scores, start = {}, 0
        for output in self.outputs["heads"]:
            head, form = output["head"], output["form"]
            own = columns[..., start : start + _columns_of(form)]
            start += own.shape[-1]
            if form == "score":
                scores[head] = own[..., 0]
            elif form == "pair":
                scores[head] = own[..., 1] - own[..., 0]
            else:
                scores[head] = own.sigmoid().sum(-1)
        if self.outputs["entire_space"]:
            # The log-odds of P(click) P(purchase | click): the odds are 1 / (e^-a + e^-b + e^-(a+b)).
            a, b = scores["click"], scores["purchase"]
            scores["purchase"] = -torch.stack([-a, -b, -(a + b)]).logsumexp(0)
        return scores


def load_slate(folder):
    """The ranker of a run's folder, ready to score (`eval`); call `train()` on it to train it further."""
    ranker = Ranker(json.loads((Path(folder) / "model.json").read_text()))
    tensors, state = load_file(Path(folder) / "model.safetensors"), {}
    for name, own in ranker.state_dict().items():
        if name.endswith(UNTOLD):
            state[name] = own
            continue
        sources, transposed = slate_names(name)
        parts = [tensors.pop(source) for source in sources]
        state[name] = torch.cat([part.T if transposed else part for part in parts])
    if tensors:
        raise ValueError(f"{folder}: tensors that model.json does not ask for: {sorted(tensors)}")
    ranker.load_state_dict(state)
    return ranker.eval()


def save_state_dict(ranker, path):
    """Writes the state dict as safetensors in f32, under PyTorch's names."""
    kept = {name: value for name, value in ranker.state_dict().items() if not name.endswith(UNTOLD)}
    state = {name: value.detach().float().cpu().contiguous() for name, value in kept.items()}
    save_file(state, path, metadata={"format": "pt"})


def slate_names(name):
    """Slate's names of what PyTorch's state dict has as `name`, and whether each is transposed."""
    for pattern, names, transposed in NAMES:
        if match := re.fullmatch(pattern, name):
            return [match.expand(source) for source in names], transposed
    raise KeyError(name)


def _transformer(network):
    """Encoder layers, and a last normalisation where the layers normalise first."""
    first, hidden = network["norm"] == "pre", network["hidden"]
    layer = nn.TransformerEncoderLayer(
        hidden,
        network["heads"],
        network["feed_forward"],
        network["dropout"],
        network["activation"],  # its GELU is the exact one, as Slate's
        layer_norm_eps=NORM_EPSILON,
        batch_first=True,
        norm_first=first,
    )
    # Slate drops none of the attention's weights.
    layer.self_attn.dropout = 0.0
    norm = nn.LayerNorm(hidden, eps=NORM_EPSILON) if first else None
    # Nested tensors would give fewer places where every list of a batch has padding.
    return nn.TransformerEncoder(layer, network["layers"], norm, enable_nested_tensor=False)


def _embedding_width(network, ids):
    """Width of the embedding of an input with so many ids."""
    return network["embedding_width"] or max(1, min(32, math.ceil(1.6 * ids**0.56)))


def _columns_of(form):
    """Columns of a head: its score, a pair of scores, or one for each grade above 0."""
    return {"score": 1, "pair": 2}[form] if isinstance(form, str) else form["ordinal"]["levels"]
