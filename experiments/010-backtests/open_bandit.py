"""Two real policies judged on each other's logs: uniform and Bernoulli Thompson sampling (BTS) of Open Bandit.

    cargo build --release
    SLATE_SHARED=... python experiments/010-backtests/open_bandit.py --scratch DIR

Standard library only. IPS, SNIPS, mean, largest and effective weights of `slate backtest` are held against those of
Open Bandit Pipeline 0.5.5 (golden/obp_obd_small.json), and the script ends where they differ. The truth is the click
rate of the other policy's own log, with its interval. Prints the tables of README.md.
"""

import argparse
import json
import os
import pathlib

from common import answer, interval, measure, policy, program, results

CAMPAIGNS = ["all", "men", "women"]
TRAFFIC = {"random": "random", "bts": "prod"}
# The clicks of a log of seven days are known; without --as-of, purchases could still follow for 14 more.
AS_OF = "2020-06-01"


def label(args, shared):
    logs, out = args.scratch / "open-bandit", args.scratch / "open-bandit-shown"
    measure.run([str(args.slate), "import", "open-bandit", str(shared / "data" / "obd"), "--out", str(logs), "--force"])
    columns = "propensity,traffic_class,site"
    measure.run([str(args.slate), "label", "--logs", str(logs), "--out", str(out), "--with", columns,
                 "--as-of", AS_OF, "--force", "-q"])
    return out / "labels.parquet"


def bts_table(run, path):
    """Probability of each item in each slot, as BTS showed them."""
    first = 1000 * CAMPAIGNS.index(run["campaign"])
    with open(path, "w") as file:
        file.write("item_id,slot,probability\n")
        for item, chances in enumerate(run["pi_e"]):
            file.writelines(f"{first + item},{slot},{chance!r}\n" for slot, chance in enumerate(chances))
    return path


def close(what, ours, theirs, bound):
    """Ends the script where the difference is more than this share."""
    if abs(ours - theirs) > bound * abs(theirs):
        raise SystemExit(f"{what}: {ours} here, {theirs} there")


def judge(args, log, run, logged, other):
    """One direction: the answer, and the numbers of README.md."""
    direction = f"{run['behavior']} for {run['evaluation']}"
    told = answer(args.slate, "backtest", "--log", log, "--where", f"site={run['campaign']}",
                  "--where", f"traffic_class={TRAFFIC[run['behavior']]}", "--a", logged, "--b", other,
                  "--reward", "click", "--out", args.scratch / "backtest", "--force")
    name = other.stem
    values = {each["estimator"]: each for each in told["estimates"] if each["policy"] == name}
    peer = run["qtable"]
    for ours, theirs in (("ips", "ipw"), ("snips", "snipw")):
        close(f"{run['campaign']}, {direction}, {ours}", values[ours]["value"], peer[theirs], 1e-6)
    close("largest weight", values["ips"]["max_weight"], run["w_max"], 1e-6)
    close("effective placements", values["ips"]["ess"], run["ess"], 1e-6)
    document = json.loads((args.scratch / "backtest" / "manifest.json").read_text())
    close("mean weight", document["weights"][1]["mean"], run["w_mean"], 1e-6)
    truth, error = run["on_policy_value_eval"], run["on_policy_value_eval_se"]
    return {
        "campaign": run["campaign"], "direction": direction, "clicks": run["clicks_logged"],
        "values": {key: [each["value"], each["low"], each["high"]] for key, each in values.items()},
        "obp": {key: peer[key] for key in ("ipw", "snipw", "dm", "dr", "sndr")},
        "obp_regression": {key: run["logreg_3fold"][key] for key in ("dm", "dr", "sndr")},
        "truth": [truth, truth - 1.96 * error, truth + 1.96 * error],
        "difference": {key: told["difference"][key] for key in ("value", "low", "high")},
        "verdict": told["verdict"], "doubts": told["doubts"][0],
        "weights": {"mean": document["weights"][1]["mean"], "effective": run["ess"], "largest": run["w_max"]},
    }


def main():
    parser = argparse.ArgumentParser()
    program(parser)
    args = parser.parse_args()
    args.scratch.mkdir(parents=True, exist_ok=True)
    shared = pathlib.Path(os.environ["SLATE_SHARED"])
    runs = json.loads((shared / "golden" / "obp_obd_small.json").read_text())["runs"]
    log = label(args, shared)
    logged = policy(args.scratch / "logged.toml", "logged")
    uniform = policy(args.scratch / "uniform.toml", "random")
    judged = []
    for run in runs:
        if run["evaluation"] == "bts":
            table = bts_table(run, args.scratch / f"bts_{run['campaign']}.csv")
            other = policy(args.scratch / f"bts_{run['campaign']}.toml", f"table:{table.name}")
        else:
            other = uniform
        judged.append(judge(args, log, run, logged, other))
    results("open_bandit", {"runs": judged})

    rows = []
    for one in judged:
        cell = lambda name: "{:.4f} {}".format(one["values"][name][0], interval(*one["values"][name][1:], 4))  # noqa: E731,B023
        rows.append({"campaign, log for": f"{one['campaign']}, {one['direction']}", "clicks": one["clicks"],
                     "IPS": cell("ips"), "SNIPS": cell("snips"), "DR": cell("dr"),
                     "on-policy": "{:.4f} {}".format(one["truth"][0], interval(*one["truth"][1:], 4)),
                     "DR's interval holds it": "yes" if one["values"]["dr"][1] <= one["truth"][0] <= one["values"]["dr"][2]
                     else "no"})
    print(measure.table(rows, list(rows[0])))
    rows = []
    for one in judged:
        found = one["difference"]
        rows.append({"campaign, log for": f"{one['campaign']}, {one['direction']}",
                     "other − logged, DR": f"{found['value']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}]",
                     "on-policy": f"{one['truth'][0] - one['clicks'] / 10_000:+.4f}", "verdict": one["verdict"],
                     "doubts": ", ".join(doubt["kind"] for doubt in one["doubts"]),
                     "effective placements": f"{one['weights']['effective']:,.0f}",
                     "mean weight": f"{one['weights']['mean']:.3f}", "largest": f"{one['weights']['largest']:.1f}"})
    print("\n" + measure.table(rows, list(rows[0])))
    rows = []
    for one in judged:
        row = {"campaign, log for": f"{one['campaign']}, {one['direction']}"}
        for name, theirs in (("dm", "dm"), ("dr", "dr"), ("sndr", "sndr")):
            row[f"{name} here"] = f"{one['values'][name][0]:.5f}"
            row[f"{name} there, table"] = f"{one['obp'][theirs]:.5f}"
            row[f"{name} there, regression"] = f"{one['obp_regression'][theirs]:.5f}"
        rows.append(row)
    print("\n" + measure.table(rows, list(rows[0])))


if __name__ == "__main__":
    main()
