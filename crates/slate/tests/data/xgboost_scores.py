"""Scores the test split of a dataset with a run of trees in XGBoost, for `tests/it/trees.rs`.

    python xgboost_scores.py RUN SPLIT SCORES.csv

Prints the largest difference to the scores in the file, and the number of splits on ids.
"""

import csv
import json
import pathlib
import sys

import numpy as np
import xgboost

run, split, scores = map(pathlib.Path, sys.argv[1:])
columns = json.loads((run / "model.json").read_text())["columns"]
arrays = {kind: np.load(split / f"{kind}.npy") for kind in ["dense", "categorical"]}
rows, types = [], []
for column in columns:
    ((kind, at),) = column.items()
    rows.append(arrays[kind][:, at].astype(np.float32))
    types.append("c" if kind == "categorical" else "q")
booster = xgboost.Booster(model_file=run / "model.ubj")
data = xgboost.DMatrix(np.column_stack(rows), feature_types=types, enable_categorical=True)
theirs = booster.predict(data, output_margin=True)
own = np.array([float(row["score"]) for row in csv.DictReader(scores.open())])
booster.feature_types = types
splits = sum(tree.count(":{") for tree in booster.get_dump())
print(np.abs(theirs - own).max(), splits)
