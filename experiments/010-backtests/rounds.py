"""`slate backtest` beside Open Bandit Pipeline 0.5.5 on single placements, in alternating rounds.

    cargo build --release
    pip install numpy pyarrow
    python experiments/010-backtests/rounds.py --scratch DIR --obp-python OBP/bin/python --rounds 3

A million rounds of ten actions, a logger and a policy that depend on the round. Both compute IPS and SNIPS of the policy and
their intervals from 1,000 resamples, on one thread; values have to agree to 1e-9. obp is timed inside its process, on arrays
in memory; Slate is the whole process, from Parquet to verdict, and also values the logger and the difference. Prints the
table of README.md.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import time

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402
from common import answer, measure, policy, program, results, words  # noqa: E402

SEED, ACTIONS, DRAWS = 10, 10, 1000


def make(folder, rows):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(SEED)
    logits = rng.normal(size=(2, rows, ACTIONS))
    laws = np.exp(logits)
    laws /= laws.sum(2, keepdims=True)
    at = np.arange(rows)
    action = np.minimum((rng.random((rows, 1)) > np.cumsum(laws[0], 1)).sum(1), ACTIONS - 1)
    click = (rng.random(rows) < 0.1 + 0.02 * action).astype(np.int8)
    folder.mkdir(parents=True, exist_ok=True)
    columns = {"list_id": at, "slot": np.zeros(rows, int), "item_id": action, "click": click,
               "propensity": laws[0, at, action], "target": laws[1, at, action]}
    pq.write_table(pa.table(columns), folder / "rounds.parquet")
    np.save(folder / "action_dist.npy", laws[1][:, :, None])
    for key in ("item_id", "click", "propensity"):
        np.save(folder / f"{key}.npy", columns[key])
    return folder / "rounds.parquet"


def peer(folder):
    import logging
    import warnings

    warnings.filterwarnings("ignore")
    logging.disable(logging.INFO)
    from obp.ope import InverseProbabilityWeighting, SelfNormalizedInverseProbabilityWeighting

    column = {path.stem: np.load(path) for path in pathlib.Path(folder).glob("*.npy")}
    log = {"reward": column["click"].astype(float), "action": column["item_id"], "pscore": column["propensity"],
           "position": np.zeros(len(column["click"]), int), "action_dist": column["action_dist"]}
    judges = [InverseProbabilityWeighting(), SelfNormalizedInverseProbabilityWeighting()]
    began = time.perf_counter()
    values = [float(judge.estimate_policy_value(**log)) for judge in judges]
    intervals = [judge.estimate_interval(**log, n_bootstrap_samples=DRAWS, random_state=SEED) for judge in judges]
    return {"values": values, "seconds": time.perf_counter() - began, "intervals": intervals}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    program(parser)
    parser.add_argument("--obp-python", type=pathlib.Path, required=True, help="a Python that has obp 0.5.5")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1_000_000)
    args = parser.parse_args()
    folder = args.scratch / "rounds"
    log = make(folder, args.rows)
    logged, target = policy(folder / "logged.toml", "logged"), policy(folder / "target.toml", "chances:target")
    command = [args.slate, "backtest", "--log", log, "--a", logged, "--b", target, "--reward", "click", "--main", "snips",
               "--estimators", "ips,snips", "--interval", "percentile", "--set", f"evaluate.draws={DRAWS}"]
    told = {one["estimator"]: one["value"] for one in answer(*command)["estimates"] if one["policy"] == "target"}
    times = {"slate, 1 thread": [], "slate, 2 threads": [], "obp": []}
    for _ in range(args.rounds):
        for threads in (1, 2):
            began = time.perf_counter()
            answer(*command, "--threads", threads)
            name = f"slate, {threads} thread{'s' if threads > 1 else ''}"
            times[name].append(time.perf_counter() - began)
        theirs = json.loads(measure.run(words([args.obp_python, __file__, "peer", folder]))["stdout"])
        times["obp"].append(theirs["seconds"])
        for ours, value in zip((told["ips"], told["snips"]), theirs["values"]):
            assert abs(ours - value) < 1e-9, (ours, value)
    ratios = {name: [b / a for a, b in zip(seconds, times["obp"])] for name, seconds in times.items() if name != "obp"}
    results("rounds", {"rows": args.rows, "times": times, "ratios": ratios, "values": told})
    print(f"| {args.rows:,} rounds | median s | obp / slate |\n|---|---|---|")
    for name, seconds in times.items():
        of = ratios.get(name)
        ratio = f"{statistics.median(of):.1f} ({min(of):.1f}-{max(of):.1f})" if of else ""
        print(f"| {name} | {statistics.median(seconds):.2f} | {ratio} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["peer"]:
        print(json.dumps(peer(sys.argv[2])))
    else:
        main()
