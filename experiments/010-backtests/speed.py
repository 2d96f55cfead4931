"""`slate backtest` beside Open Bandit Pipeline 0.5.5 on one log of lists, in alternating rounds, and on ten million rows.

    cargo build --release
    pip install numpy pyarrow
    python experiments/010-backtests/speed.py --scratch DIR --obp-python OBP/bin/python --rounds 3

OBP is an environment of Python 3.9 with obp 0.5.5 and what it pins. The lists have five items, logged in uniformly random
order; the policy orders by a softmax of a column. Its exact probabilities are summed here over the sets of items that
stand above, and given to obp ready made; Slate computes them itself. Values have to agree to 1e-9 before anything is
timed. obp is timed inside its process, on arrays in memory, after its imports; Slate is the whole process, from Parquet
to verdict. Prints the tables of README.md.
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
from common import known, measure, policy, program, results, words  # noqa: E402

SEED, LENGTH, TEMPERATURE, DRAWS, CHUNK = 10, 5, 0.7, 1000, 20_000
# Lists, and rounds for one of --rounds: obp gathers the rows of each list by a mask over all rows.
SIZES = {5_000: 1, 20_000: 1, 200_000: 1 / 3}
SHARE = 0.3  # of lists in any order, of the second policy
LONG = (1_000_000, 10)


# obp, as `speed.py peer ...` under its own Python; prints one line of JSON.
def peer(folder, target, draws):
    import logging
    import warnings

    warnings.filterwarnings("ignore")
    logging.disable(logging.INFO)
    from obp.ope import SelfNormalizedSlateIndependentIPS, SlateIndependentIPS
    from obp.utils import estimate_confidence_interval_by_bootstrap

    columns = {path.stem: np.load(path) for path in pathlib.Path(folder).glob("*.npy")}
    log = {"slate_id": columns["list_id"], "reward": columns["click"].astype(float), "position": columns["slot"],
           "pscore_item_position": columns["propensity"], "evaluation_policy_pscore_item_position": columns[target]}
    judges = [kind(len_list=LENGTH) for kind in (SlateIndependentIPS, SelfNormalizedSlateIndependentIPS)]
    began = time.perf_counter()
    values = [float(judge.estimate_policy_value(**log)) for judge in judges]
    told = {"values": values, "values_s": time.perf_counter() - began}
    if draws == "0":
        return told
    draws, totals = int(draws), []
    for judge in judges:
        rows = judge._estimate_round_rewards(
            reward=log["reward"], position=log["position"], behavior_policy_pscore=log["pscore_item_position"],
            evaluation_policy_pscore=log["evaluation_policy_pscore_item_position"])
        totals.append(np.bincount(log["slate_id"], rows))
    began = time.perf_counter()
    for total in totals:
        estimate_confidence_interval_by_bootstrap(samples=total, n_bootstrap_samples=draws, random_state=SEED)
    told["resampling_s"] = time.perf_counter() - began
    began = time.perf_counter()
    told["intervals"] = [judge.estimate_interval(**log, n_bootstrap_samples=draws, random_state=SEED)
                         for judge in judges]
    told["intervals_s"] = time.perf_counter() - began
    return told


def make_log(folder, lists, length, order):
    """Has a log made, in a process of its own: a child's peak memory counts that of its parent."""
    measure.run(words([sys.executable, __file__, "make", folder, lists, length, order]))
    return folder / "log.parquet"


def make(folder, lists, length, order):
    """A log as Parquet, and where the order is uniform its columns as arrays for obp."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder, lists, length = pathlib.Path(folder), int(lists), int(length)
    rng = np.random.default_rng([SEED, lists])
    folder.mkdir(parents=True, exist_ok=True)
    value, usual = rng.normal(size=(2, lists, length))
    if order == "uniform":
        keys, share = rng.random((lists, length)), 1.0
    else:
        share = 0.2
        keys = np.where(rng.random((lists, 1)) < share, rng.random((lists, length)), usual)
    items = np.argsort(-keys, 1)
    here = lambda column: np.take_along_axis(column, items, 1)  # noqa: E731
    slots = np.broadcast_to(np.arange(length), (lists, length))
    ranks = np.argsort(np.argsort(-usual, 1), 1)
    propensity = share / length + (1 - share) * (here(ranks) == slots)
    chance = 0.3 / (1 + np.exp(-here(value))) / np.sqrt(1 + slots)
    log = {"list_id": np.repeat(np.arange(lists), length), "slot": slots, "item_id": items,
           "click": (rng.random((lists, length)) < chance).astype(np.int8), "propensity": propensity,
           "value": here(value)}
    pq.write_table(pa.table({key: np.ravel(column) for key, column in log.items()}), folder / "log.parquet")
    if order == "uniform":
        from coverage import softmax_chances

        log["softmax"] = np.concatenate([
            softmax_chances(log["value"][at:at + CHUNK], TEMPERATURE)[:, np.arange(length), np.arange(length)]
            for at in range(0, lists, CHUNK)])
        ranks = np.argsort(np.argsort(-log["value"], 1), 1)
        log["epsilon"] = SHARE / length + (1 - SHARE) * (ranks == slots)
        for key in ("list_id", "slot", "click", "propensity", "softmax", "epsilon"):
            np.save(folder / f"{key}.npy", np.ascontiguousarray(np.ravel(log[key])))


def slate(args, log, b, threads, *more):
    """Seconds, peak memory and answer of one whole process; exit code 1 is an answer too."""
    out = log.with_suffix(f".{threads}.json")
    command = [args.slate, "backtest", "--log", log, "--a", args.scratch / "logged.toml", "--b", b, "--reward", "click",
               "--threads", threads, "--json", "-q", *more]
    line = " ".join(words(command)) + f" > {out} || [ $? = 1 ]"
    told = measure.run(["sh", "-c", line])
    return told | {"answer": json.loads(out.read_text())}


def obp(args, folder, target, draws):
    told = measure.run(words([args.obp_python, __file__, "peer", folder, target, draws]))
    return json.loads(told["stdout"])


def beside(args, lists, rounds):
    folder = args.scratch / f"lists-{lists}"
    log = make_log(folder, lists, LENGTH, "uniform")
    more = ["--estimators", "ips,snips", "--main", "snips", "--interval", "percentile",
            "--set", f"evaluate.draws={DRAWS}"]
    run = lambda kind, threads: slate(args, log, args.scratch / f"{kind}.toml", threads, *more)  # noqa: E731
    told = {"lists": lists, "rows": lists * LENGTH, "apart": {}, "rounds": []}
    for kind in ("softmax", "epsilon"):
        ours, theirs = run(kind, 2)["answer"], obp(args, folder, kind, 0)["values"]
        found = {each["estimator"]: each for each in ours["estimates"] if each["policy"] == kind}
        told["apart"][kind] = [abs(found[name]["value"] - value) for name, value in zip(("ips", "snips"), theirs)]
        print(f"{lists} lists, {kind}: values differ by {told['apart'][kind]}", file=sys.stderr)
        if max(told["apart"][kind]) > 1e-9:
            sys.exit("the values differ")
        told[kind] = {name: [found[name][key] for key in ("value", "low", "high")] for name in found}
    for _ in range(rounds):
        one = {}
        for kind in ("softmax", "epsilon"):
            for threads in (1, 2):
                ran = run(kind, threads)
                one |= {f"{kind}_{threads}": ran["wall_s"], "peak_mib": ran["peak_mib"]}
        peer = obp(args, folder, "softmax", DRAWS)
        told["rounds"].append(one | {key: peer[key] for key in peer if key.endswith("_s")})
    told["obp_softmax"] = [[each[key] for key in sorted(each)] for each in peer["intervals"]]
    return told


def ratio(rounds, theirs, ours):
    each = [theirs(one) / one[ours] for one in rounds]
    return f"{statistics.median(each):.2f} ({min(each):.2f}-{max(each):.2f})"


def long_log(args):
    """Ten million rows: one estimator, whole lists resampled."""
    log = make_log(args.scratch / "long", *LONG, "mostly-usual")
    b = policy(args.scratch / "order.toml", "column:value")
    told = []
    for name, more in {"snips": [], "dr": [], "snips, intervals by Student's t": ["--interval", "delta"]}.items():
        main = name.split(",")[0]
        for _ in range(args.long_rounds):
            one = slate(args, log, b, 2, "--estimators", main, "--main", main, "--set", f"evaluate.draws={DRAWS}", *more)
            told.append({"work": name, "wall_s": one["wall_s"], "cpu_s": one["cpu_s"], "peak_mib": one["peak_mib"],
                         "verdict": one["answer"]["verdict"]})
            print(told[-1], file=sys.stderr)
    return told


def ten(args):
    """What a softmax costs where lists have ten rows: the same log and work, and the order by the same column."""
    log = make_log(args.scratch / "ten", 20_000, LONG[1], "mostly-usual")
    kinds = {"softmax": args.scratch / "softmax.toml", "order": policy(args.scratch / "order.toml", "column:value")}
    told = []
    for _ in range(2):
        one = {}
        for kind, b in kinds.items():
            ran = slate(args, log, b, 2, "--estimators", "dr", "--main", "dr")
            one |= {f"{kind}_wall_s": ran["wall_s"], f"{kind}_cpu_s": ran["cpu_s"]}
        told.append(one)
    print(told, file=sys.stderr)
    return told


def main():
    parser = argparse.ArgumentParser()
    program(parser)
    parser.add_argument("--obp-python", type=pathlib.Path, required=True, help="a Python that has obp 0.5.5")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--long-rounds", type=int, default=2)
    parser.add_argument("--lists", type=int, nargs="*", default=list(SIZES),
                        help="sizes to run; what results.json has of others stays")
    args = parser.parse_args()
    args.scratch.mkdir(parents=True, exist_ok=True)
    policy(args.scratch / "logged.toml", "logged")
    policy(args.scratch / "softmax.toml", "column:value", kind="softmax", temperature=TEMPERATURE)
    policy(args.scratch / "epsilon.toml", "column:value", kind="epsilon", share=SHARE)
    before = known("speed")
    found = {one["lists"]: one for one in before.get("beside", [])}
    for lists in args.lists:
        found[lists] = beside(args, lists, max(1, round(args.rounds * SIZES.get(lists, 1))))
    found = [found[lists] for lists in sorted(found)]
    long = long_log(args) if args.long_rounds else before.get("long", [])
    results("speed", {"machine": measure.machine(), "draws": DRAWS, "beside": found, "long": long,
                      "lists of ten": ten(args)})

    rows = []
    full = lambda one: one["values_s"] + one["intervals_s"]  # noqa: E731
    least = lambda one: one["values_s"] + one["resampling_s"]  # noqa: E731
    for one in found:
        rounds = one["rounds"]
        for kind in ("softmax", "epsilon"):
            row = {"lists": f"{one['lists']:,}", "policy": kind, "rounds": len(rounds)}
            for threads in (1, 2):
                row[f"slate s, {threads}"] = f"{statistics.median(each[f'{kind}_{threads}'] for each in rounds):.2f}"
            row["obp s"] = f"{statistics.median(map(full, rounds)):.2f}"
            row["without grouping"] = f"{statistics.median(map(least, rounds)):.2f}"
            for threads in (1, 2):
                row[f"obp / slate, {threads}"] = ratio(rounds, full, f"{kind}_{threads}")
            row["without grouping, 1"] = ratio(rounds, least, f"{kind}_1")
            rows.append(row)
    print(measure.table(rows, list(rows[0])))
    rows = []
    for name in dict.fromkeys(each["work"] for each in long):
        of = [each for each in long if each["work"] == name]
        rows.append({"main": name, "median s": f"{statistics.median(each['wall_s'] for each in of):.1f}",
                     "best s": f"{min(each['wall_s'] for each in of):.1f}",
                     "processor s": f"{min(each['cpu_s'] for each in of):.1f}",
                     "peak MiB": f"{max(each['peak_mib'] for each in of):,.0f}"})
    print("\n" + measure.table(rows, list(rows[0])))


if __name__ == "__main__":
    if sys.argv[1:2] == ["peer"]:
        print(json.dumps(peer(*sys.argv[2:])))
    elif sys.argv[1:2] == ["make"]:
        make(*sys.argv[2:])
    else:
        main()
