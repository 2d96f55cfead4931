"""Slate's ranker beside LightGBM on LightGBM's own lambdarank example.

    cargo build --release
    pip install lightgbm scikit-learn pandas pyarrow
    SLATE_SHARED=... python3 experiments/002-lightgbm-rank/run.py [--seeds 5]

Both see the same training file and the same 50 test queries, on 2 threads. LightGBM trains on all 201
training queries with the settings of its own train.conf and 100 trees, without looking at the test
file; Slate sets 60 of the 201 aside for early stopping and calibration. `slate evaluate` judges both,
after checking that the rows are the same. Writes results.json beside itself.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile
import time

import lightgbm
import numpy as np
import pandas as pd
from sklearn.datasets import load_svmlight_file

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "harness"))
import measure  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--seeds", type=int, default=5)
parser.add_argument("--slate", default=str(ROOT / "target/release/slate"))
arguments = parser.parse_args()
source = pathlib.Path(os.environ["SLATE_SHARED"]) / "data/lightgbm_rank"
work = pathlib.Path(tempfile.mkdtemp(prefix="slate-lightgbm-"))
config = str(ROOT / "configs/lightgbm_rank.toml")
METRICS = "ndcg@1,ndcg@3,ndcg@5,ndcg@10"


def slate(*words):
    return measure.run([arguments.slate, *words, "--threads", "2", "-q", "--json"], cwd=work)


slate("import", "letor", str(source), "--out", "data")
slate("score", "--baseline", "random", "--data", "data", "--out", "random.parquet")
rows = pd.read_parquet(work / "random.parquet")

train_x, train_y = load_svmlight_file(str(source / "rank.train.gz"), n_features=301)
test_x, test_y = load_svmlight_file(str(source / "rank.test.gz"), n_features=301)
sizes = np.loadtxt(source / "rank.train.query", dtype=int)
# Equal rows in equal order, or the comparison means nothing.
assert (rows["grade"].to_numpy() == test_y).all(), "the test rows differ"

results = []
for seed in range(1, arguments.seeds + 1):
    began = time.perf_counter()
    model = lightgbm.train(
        {
            "objective": "lambdarank", "learning_rate": 0.1, "num_leaves": 31, "max_bin": 255,
            "feature_fraction": 1.0, "bagging_freq": 1, "bagging_fraction": 0.9,
            "min_data_in_leaf": 50, "min_sum_hessian_in_leaf": 5.0, "num_threads": 2,
            "seed": seed, "verbose": -1,
        },
        lightgbm.Dataset(train_x, train_y, group=sizes),
        num_boost_round=100,
    )
    lightgbm_s = time.perf_counter() - began
    rows.assign(score=model.predict(test_x)).to_parquet(work / f"lightgbm-{seed}.parquet")
    ran = slate("train", "-c", config, "--data", "data", "--out", f"run-{seed}", "--seed", str(seed))
    slate("score", "--run", f"run-{seed}", "--data", "data", "--out", f"slate-{seed}.parquet")
    judge = ["-c", config, "--label", "grade", "-m", METRICS]
    ours = json.loads(slate("evaluate", "--scores", f"slate-{seed}.parquet", "--against",
                            f"lightgbm-{seed}.parquet", *judge)["stdout"])
    theirs = json.loads(slate("evaluate", "--scores", f"lightgbm-{seed}.parquet", *judge)["stdout"])
    results.append({
        "seed": seed, "slate": ours["metrics"], "lightgbm": theirs["metrics"],
        "difference": ours["against"], "slate_train_s": ran["wall_s"],
        "lightgbm_train_s": round(lightgbm_s, 3),
    })

table = []
for at, name in enumerate(METRICS.split(",")):
    row = {"metric": name}
    for who in ("slate", "lightgbm"):
        values = [result[who][at]["value"] for result in results]
        row[who] = f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
    first = results[0]["difference"][at]
    row["seed 1, slate − lightgbm"] = f"{first['difference']:+.3f} [{first['low']:+.3f}, {first['high']:+.3f}]"
    table.append(row)
measure.write(HERE / "results.json", {
    "machine": measure.machine(), "lightgbm": lightgbm.__version__, "seeds": arguments.seeds,
    "runs": results,
})
print(measure.table(table, ["metric", "slate", "lightgbm", "seed 1, slate − lightgbm"]))
for who in ("slate", "lightgbm"):
    print(f"{who}: training took {np.median([r[f'{who}_train_s'] for r in results]):.2f} s (median)")
