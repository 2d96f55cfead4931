"""Pools the seeds of study.py: tables with paired intervals, summary.json and ndcg.svg.

    python plot.py --work DIR results-2.json results-3.json
"""

import argparse
import json
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

HERE = Path(__file__).resolve().parent
NAMES = ["never", "full", "short", "update", "replay", "replay+distil"]
SHOWN = {
    "never": "never updated",
    "full": "from nothing",
    "short": "from nothing, 2 epochs",
    "update": "update",
    "replay": "update + replay",
    "replay+distil": "update + replay + distillation",
}
STYLES = {
    "never": ("0.45", ":", "x"),
    "full": ("black", "-", "o"),
    "short": ("0.3", (0, (5, 1, 1, 1)), "v"),
    "update": ("#d55e00", "-.", "^"),
    "replay": ("#0072b2", "--", "s"),
    "replay+distil": ("#009e73", (0, (1, 1)), "D"),
}
SHOCK = 8
DRAWS = 2000


def interval(parts, draws, rng):
    """Mean over all lists of all parts, and its 95 % interval: lists drawn anew within each part."""
    total = sum(len(part) for part in parts)
    means = sum(rng.multinomial(len(p), np.full(len(p), 1 / len(p)), size=draws) @ p for p in parts) / total
    low, high = np.quantile(means, [0.025, 0.975])
    return float(sum(p.sum() for p in parts) / total), float(low), float(high)


def text(value, digits=4):
    mean, low, high = value
    return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, help="scratch folder of study.py")
    parser.add_argument("results", nargs="+", help="what study.py wrote, a file for each seed")
    args = parser.parse_args()
    results = [json.loads(Path(path).read_text()) for path in args.results]
    lists = {r["seed"]: np.load(Path(args.work) / f"seed-{r['seed']}" / "lists.npz") for r in results}
    rng = np.random.default_rng(1)
    rows = [{**row, "seed": r["seed"]} for r in results for row in r["rows"]]
    # Month 4 is judged with the same run by all.
    months = sorted({row["month"] for row in rows if row["month"] > 4})

    def mean(policy, key, where=lambda row: True, weight=None):
        chosen = [row for row in rows if row["policy"] == policy and row["month"] > 4 and where(row)]
        weights = [row[weight] if weight else 1.0 for row in chosen]
        return float(np.average([row[key] for row in chosen], weights=weights))

    def difference(policy, other, months, which="all", only=None):
        parts = []
        for seed, values in lists.items():
            if only not in (None, seed):
                continue
            for month in months:
                kind = "old" if which == "old" else "all"
                gap = values[f"{policy}|{month}|{kind}"] - values[f"{other}|{month}|{kind}"]
                parts.append(gap[values[f"{policy}|{month}|cold"]] if which == "cold" else gap)
        return interval(parts, DRAWS, rng)

    full_s = mean("full", "train_s")
    out = {"seeds": sorted(lists), "months": months, "policies": {}, "by_month": {}}
    print("| policy | NDCG@10 | log loss | cold | month 3 | train s | of full | processor, of full | features s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for policy in NAMES:
        row = {key: mean(policy, key) for key in ["ndcg@10", "logloss", "pcoc", "month_3"]}
        row.update({key: mean(policy, key) for key in ["train_s", "train_cpu_s", "features_s"]})
        row["cold"] = mean(policy, "cold", weight="cold_lists")
        row["of_full"] = row["train_s"] / full_s
        row["cpu_of_full"] = row["train_cpu_s"] / mean("full", "train_cpu_s")
        out["policies"][policy] = row
        print(
            f"| {policy} | {row['ndcg@10']:.4f} | {row['logloss']:.5f} | {row['cold']:.4f} "
            f"| {row['month_3']:.4f} | {row['train_s']:.2f} | {row['of_full']:.3f} | {row['cpu_of_full']:.3f} "
            f"| {row['features_s']:.2f} |"
        )
    print("\n| − full | NDCG@10 | relative, % | without months 8 and 9 |\n|---|---|---|---|")
    base = out["policies"]["full"]["ndcg@10"]
    calm = [month for month in months if month not in (SHOCK, SHOCK + 1)]
    for policy in [name for name in NAMES if name != "full"]:
        row = out["policies"][policy]
        row["against_full"] = difference(policy, "full", months)
        row["against_full_cold"] = difference(policy, "full", months, "cold")
        row["against_full_month_3"] = difference(policy, "full", months, "old")
        row["against_full_calm"] = difference(policy, "full", calm)
        relative = [100 * value / base for value in row["against_full"]]
        print(
            f"| {policy} | {text(row['against_full'])} | {text(relative, 2)} | {text(row['against_full_calm'])} |"
        )
    print("\n| − full | cold | month 3 |\n|---|---|---|")
    for policy in [name for name in NAMES if name != "full"]:
        row = out["policies"][policy]
        print(f"| {policy} | {text(row['against_full_cold'])} | {text(row['against_full_month_3'])} |")
    print("\n| difference | NDCG@10 |\n|---|---|")
    out["others"] = {}
    pairs = [("replay", "short"), ("update", "replay"), ("replay+distil", "replay")]
    pairs += [(policy, "never") for policy in ["short", "update", "replay", "replay+distil"]]
    for policy, other in pairs:
        out["others"][f"{policy} - {other}"] = value = difference(policy, other, months)
        print(f"| {policy} − {other} | {text(value)} |")
    print("\n| month | " + " | ".join(NAMES) + " | replay − never |\n" + "|---" * 8 + "|")
    for month in [4, *months]:
        means = {}
        for name in NAMES:
            here = [row["ndcg@10"] for row in rows if row["policy"] == name and row["month"] == month]
            means[name] = float(np.mean(here))
        gap = difference("replay", "never", [month])
        out["by_month"][month] = {**means, "replay - never": gap}
        cells = " | ".join(f"{means[name]:.4f}" for name in NAMES)
        print(f"| {month} | {cells} | {text(gap)} |")
    print("\nseed by seed: months below never; mean relative difference to full, at which share of its time")
    for seed in sorted(lists):
        at = {(row["policy"], row["month"]): row["ndcg@10"] for row in rows if row["seed"] == seed}
        below = {p: [m for m in months if at[(p, m)] < at[("never", m)]] for p in NAMES}
        out.setdefault("below_never", {})[seed] = below
        gaps = {p: float(np.mean([at[(p, m)] / at[("full", m)] - 1 for m in months])) for p in NAMES}
        spent = {p: sum(row["train_s"] for row in rows if row["seed"] == seed and row["policy"] == p
                        and row["month"] > 4) for p in NAMES}
        out.setdefault("seed_by_seed", {})[seed] = {
            p: {"relative": gaps[p], "of_full": spent[p] / spent["full"]} for p in NAMES
        }
        print(seed, below, {p: f"{100 * g:+.2f} % at {spent[p] / spent['full']:.3f}" for p, g in gaps.items()})
    print("\nbelow never, with intervals")
    for seed, below in out["below_never"].items():
        for policy in ["update", "replay", "replay+distil"]:
            for month in below[policy]:
                gap = difference(policy, "never", [month], only=seed)
                out.setdefault("below_never_by", {})[f"{seed}|{policy}|{month}"] = gap
                print(seed, policy, month, text(gap))
        sure = [m for m in months if difference("replay", "never", [m], only=seed)[1] > 0]
        print(seed, "replay above never by its interval in months", sure)
        for policy in ["never", "update", "replay", "replay+distil"]:
            print(seed, policy, "- short", text(difference(policy, "short", months, only=seed)))
    # Whether validation took an update's epoch, or kept the run before.
    print("\nupdates taken, by training month from 4")
    for result in results:
        for at, policy in enumerate(result["settings"]):
            taken = []
            for last in range(4, 12):
                log = Path(args.work) / f"seed-{result['seed']}" / f"update-{at}-{last}" / "metrics.jsonl"
                lines = [json.loads(line) for line in log.read_text().splitlines()]
                taken.append(any(line.get("event") == "epoch" and line["best"] for line in lines))
            out.setdefault("taken", {}).setdefault(result["seed"], {})[policy] = taken
            print(result["seed"], policy, sum(taken), taken)
    (HERE / "summary.json").write_text(json.dumps(out, indent=1) + "\n")

    plt.rcParams.update({"svg.hashsalt": "012", "svg.fonttype": "none", "font.size": 10})
    figure, axes = plt.subplots(figsize=(8, 4.2))
    axes.axvspan(SHOCK - 0.5, SHOCK + 0.5, color="0.9", zorder=0)
    axes.annotate("shock", (SHOCK, 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom")
    for name in NAMES:
        color, line, marker = STYLES[name]
        values = [out["by_month"][month][name] for month in [4, *months]]
        axes.plot([4, *months], values, color=color, linestyle=line, marker=marker, markersize=5, label=SHOWN[name])
    axes.set_xlabel("month judged; trained until the month before")
    axes.set_ylabel("purchase NDCG@10")
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(HERE / "ndcg.svg", metadata={"Date": None})


main()
