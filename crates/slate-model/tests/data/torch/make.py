"""Makes the files beside it: rankers with random weights in PyTorch, and their scores of one batch.

    python make.py        # needs torch 2.15, safetensors 0.8, numpy
"""

import json
import sys
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parents[4] / "scripts"))
from slate_torch import Ranker, save_state_dict  # noqa: E402

LENGTHS, SLOTS = [5, 1, 3, 2], 5
SHAPE = {"dense": 3, "categorical": [5], "multi_valued": [4]}
COMMON = {"hidden": 8, "layers": 2, "heads": 2, "feed_forward": 12, "dropout": 0.0, "activation": "relu",
          "norm": "pre", "embedding_width": 3, "bidirectional": False, "input_norm": False, "position_slots": 0}
CASES = {
    "transformer-pre": {"kind": "transformer", "input_norm": True},
    "transformer-post": {"kind": "transformer", "norm": "post", "activation": "gelu"},
    "linear": {"kind": "linear"},
    "mlp": {"kind": "mlp", "layers": 3},
    "gru": {"kind": "gru", "bidirectional": True},
    "mlp-batch": {"kind": "mlp", "input_norm": "batch"},
}


def batch():
    """Inputs of every case; each slot has the ids up to the third of its own length."""
    mask = torch.arange(SLOTS) < torch.tensor(LENGTHS)[:, None]
    dense = torch.randn(len(LENGTHS), SLOTS, SHAPE["dense"]) * mask[..., None]
    categorical = torch.randint(0, SHAPE["categorical"][0], (len(LENGTHS), SLOTS, 1)) * mask[..., None]
    ids = torch.randint(0, SHAPE["multi_valued"][0], (len(LENGTHS), SLOTS, 3))
    counts = torch.randint(0, 4, (len(LENGTHS), SLOTS)) * mask
    return dense, categorical, [(ids, torch.arange(3) < counts[..., None])], mask


def main():
    torch.manual_seed(20)
    dense, categorical, several, mask = inputs = batch()
    (ids, real), = several
    golden = {
        "lengths": LENGTHS, "slots": SLOTS, "dense": dense.flatten().tolist(),
        "categorical": categorical.flatten().tolist(),
        "ids": [row[kept].tolist() for row, kept in zip(ids.flatten(0, 1), real.flatten(0, 1))],
        "cases": [],
    }
    heads = [{"head": head, "form": "score"} for head in ("click", "purchase")]
    for name, own in CASES.items():
        network = COMMON | own
        ranker = Ranker({"format": 2, "network": network, "shape": SHAPE,
                         "outputs": {"heads": heads, "entire_space": False}}).eval()
        with torch.no_grad():
            for weight in ranker.parameters():
                weight.add_(torch.randn_like(weight) * 0.4)
            if ranker.batch_norm is not None:
                ranker.batch_norm.running_mean.normal_()
                ranker.batch_norm.running_var.uniform_(0.5, 2.0)
            scores = ranker.scores(ranker(*inputs))
        save_state_dict(ranker, HERE / f"{name}.safetensors")
        golden["cases"].append({"name": name, "network": own, **{
            head: scores[head][mask].tolist() for head in ("click", "purchase")}})
    (HERE / "scores.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
