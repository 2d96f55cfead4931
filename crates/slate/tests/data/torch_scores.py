"""Scores of a run by PyTorch: python torch_scores.py RUN SPLIT OUT.npy STATE.safetensors

RUN is the folder of a trained run, SPLIT that of one part of a dataset of `.npy` arrays, as `dataset/test`, made with
the same feature map. OUT.npy receives the network's raw columns, f32 `[rows, columns]`, in the order of the rows,
STATE.safetensors the weights under PyTorch's names.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

sys.dont_write_bytecode = True  # the sources stay as they are
sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "scripts"))
from slate_torch import load_slate, save_state_dict  # noqa: E402

LISTS_PER_BATCH = 256


class Part:
    """One part of a dataset in memory, and its lists as padded tensors."""

    def __init__(self, folder):
        def array(name):
            return np.load(folder / f"{name}.npy")

        features = json.loads((folder.parent / "feature_map.json").read_text())
        self.offsets = array("list_offsets").astype(np.int64)
        # Vectors of items follow the dense inputs.
        names = [feature["name"] for feature in features.get("embedding", [])]
        tables = [np.load(folder.parent / f"embedding_{name}.npy")[array(f"embedding_{name}_row")] for name in names]
        self.dense = np.concatenate([array("dense"), *tables], axis=1)
        self.categorical = array("categorical").astype(np.int64)
        names = [feature["name"] for feature in features.get("multi_valued", [])]
        self.several = [_padded(array(f"multi_{name}"), array(f"multi_{name}_offsets")) for name in names]

    def batch(self, start, end):
        """Lists `start` up to `end`: the ranker's inputs, the last of them the mask."""
        lengths = np.diff(self.offsets[start : end + 1])
        slots = np.arange(lengths.max(initial=0))
        mask = slots < lengths[:, None]
        # Padding reads row 0, whose numbers must not matter.
        rows = np.where(mask, self.offsets[start:end, None] + slots, 0)
        several = [tuple(torch.from_numpy(part[rows]) for part in parts) for parts in self.several]
        dense, categorical = torch.from_numpy(self.dense[rows]), torch.from_numpy(self.categorical[rows])
        return dense, categorical, several, torch.from_numpy(mask)


def _padded(values, offsets):
    """Ids `[rows, most]`, 0 behind the last of a row, and where there are some."""
    offsets = offsets.astype(np.int64)
    lengths = np.diff(offsets)
    real = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]
    ids = np.zeros(real.shape, np.int64)
    ids[real] = values[offsets[0] : offsets[-1]]
    return ids, real


@torch.inference_mode()
def columns_of(ranker, part):
    """The raw columns of every row, in order."""
    found, lists = [], len(part.offsets) - 1
    for start in range(0, lists, LISTS_PER_BATCH):
        *inputs, mask = part.batch(start, min(start + LISTS_PER_BATCH, lists))
        found.append(ranker(*inputs, mask)[mask])
    return torch.cat(found).numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("run", "split", "out", "state"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    ranker = load_slate(arguments.run)
    np.save(arguments.out, columns_of(ranker, Part(arguments.split)))
    save_state_dict(ranker, arguments.state)


if __name__ == "__main__":
    main()
