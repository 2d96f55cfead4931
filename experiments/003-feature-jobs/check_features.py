"""A dataset of Slate against a peer's features, row by row: python check_features.py DATASET OUT/features.parquet"""

import json
import sys
from pathlib import Path

import duckdb
import numpy as np

from rules import CATEGORICAL, DENSE, ROW

SPLITS = ["train", "valid", "calibrate", "test"]


def of_slate(dataset):
    """The columns of the four splits, one after the other; times grow from each to the next."""
    inputs = json.loads((dataset / "feature_map.json").read_text())
    for kind, names in (("dense", DENSE), ("categorical", CATEGORICAL)):
        found = [f"x_{feature['name']}" for feature in inputs[kind]]
        if found != names:
            sys.exit(f"inputs differ: {found} and {names}")
    parts = []
    for split in SPLITS:
        array = lambda name: np.load(dataset / split / f"{name}.npy")  # noqa: E731
        lengths = np.diff(array("list_offsets").astype(np.int64))
        part = {"list_id": np.repeat(array("list_id"), lengths)}
        part |= {"impression_id": array("impression"), "item_id": array("item")}
        part |= {name: array(name) for name in ("grade", "click", "purchase")}
        part |= dict(zip(DENSE, array("dense").T)) | dict(zip(CATEGORICAL, array("categorical").T))
        parts.append(part | {"split": np.full(len(part["item_id"]), split)})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def of_peer(path):
    """The columns of a file, or of the files of a folder in the order of their names."""
    files = sorted(str(file) for file in path.glob("*.parquet")) if path.is_dir() else [str(path)]
    return duckdb.execute("SELECT * FROM read_parquet(?)", [files]).fetchnumpy()


if __name__ == "__main__":
    slate, peer = of_slate(Path(sys.argv[1])), of_peer(Path(sys.argv[2]))
    if sorted(slate) != sorted(peer) or len(slate["split"]) != len(peer["split"]):
        sys.exit(f"{len(slate['split'])} rows of {sorted(slate)} and {len(peer['split'])} rows of {sorted(peer)}")
    wrong = []
    for name, ours in slate.items():
        theirs = peer[name]
        same = np.isclose(ours, theirs, rtol=1e-5, atol=1e-5) if name in DENSE else ours == theirs
        if not same.all():
            first = same.argmin()
            row = {key: slate[key][first].item() for key in ROW}
            wrong.append(f"{name}: {(~same).sum()} rows; first {ours[first]} and {theirs[first]} in {row}")
    if wrong:
        sys.exit("features differ:\n" + "\n".join(wrong))
    print(f"equal: {len(slate['split'])} rows, {len(slate)} columns")
