"""Trees grown and asked by XGBoost itself, for `tests/it/xgboost.rs`.

    python make.py        # with xgboost 3 and numpy; rewrites the files beside it

Two rankers in the files a run holds, and the rows and scores of thirty lists.
"""

import json
import pathlib

import numpy as np
import xgboost

HERE = pathlib.Path(__file__).parent
LISTS, SLOTS, DENSE, IDS = 30, 6, 3, 5

rng = np.random.default_rng(11)
rows = LISTS * SLOTS
dense = rng.normal(size=(rows, DENSE)).astype(np.float32)
ids = rng.integers(0, IDS, size=rows)
truth = dense[:, 0] - 0.7 * dense[:, 1] * dense[:, 2] + np.array([0, 1, -1, 0.5, -2])[ids]
truth = truth + rng.normal(scale=0.3, size=rows)
grade = np.zeros(rows, dtype=int)
for start in range(0, rows, SLOTS):
    order = np.argsort(-truth[start : start + SLOTS])
    grade[start + order[0]], grade[start + order[1]] = 3, 1
data = xgboost.DMatrix(
    np.column_stack([dense, ids.astype(np.float32)]),
    label=grade,
    group=[SLOTS] * LISTS,
    feature_types=["q"] * DENSE + ["c"],
    enable_categorical=True,
)
clicks = xgboost.DMatrix(
    np.column_stack([dense, ids.astype(np.float32)]),
    label=(grade > 0).astype(int),
    feature_types=["q"] * DENSE + ["c"],
    enable_categorical=True,
)
common = {"max_leaves": 7, "grow_policy": "lossguide", "tree_method": "hist", "eta": 0.3, "nthread": 1}
for name, objective, label, matrix in [
    ("lambdamart", "rank:ndcg", "grade", data),
    ("logistic", "binary:logitraw", "click", clicks),
]:
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    booster = xgboost.train({**common, "objective": objective}, matrix, num_boost_round=12)
    booster.save_model(folder / "model.ubj")
    description = {
        "format": 1,
        "kind": "trees",
        "objective": name,
        "label": label,
        "trees": 12,
        "shape": {"dense": DENSE, "categorical": [IDS]},
        "columns": [{"dense": at} for at in range(DENSE)] + [{"categorical": 0}],
    }
    (folder / "model.json").write_text(json.dumps(description, indent=2) + "\n")
    scores = booster.predict(matrix, output_margin=True)
    (folder / "scores.json").write_text(json.dumps([float(s) for s in scores]) + "\n")
given = {"lists": LISTS, "slots": SLOTS, "dense": [float(x) for x in dense.ravel()], "ids": ids.tolist()}
(HERE / "rows.json").write_text(json.dumps(given) + "\n")
print("xgboost", xgboost.__version__)
