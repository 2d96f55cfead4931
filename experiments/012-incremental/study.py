"""Never, from nothing, or by updates: policies of retraining over twelve simulated months.

    python study.py --slate SLATE --work DIR --seed 5 --out results-5.json
    python study.py --slate SLATE --work DIR --seed 1 --tune --last 7 --out tuning.json

With --tune, the full retrain and the candidates of `CANDIDATES` instead of the policies.
"""

import argparse
import hashlib
import json
import resource
import shutil
import subprocess
import sys
import time
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "harness"))
from measure import machine, short  # noqa: E402

YEAR = 2025
FIRST = 3  # last training month of the first run
SLICE = 0.25  # of the pages of month 3, which no policy trains on
LAG = 8  # days after a month's end at which its labels are read

# Chosen on seed 1: see README.
UPDATE = {"epochs": 1, "learning_rate": 1.0, "optimizer": "kept"}
POLICIES = {
    "update": {**UPDATE},
    "replay": {**UPDATE, "replay": 0.05},
    "replay+distil": {**UPDATE, "replay": 0.05, "distil": 0.05},
}
CANDIDATES = [
    {"epochs": 1, "learning_rate": 0.5, "optimizer": "kept"},
    {"epochs": 1, "learning_rate": 1.0, "optimizer": "kept"},
    {"epochs": 1, "learning_rate": 2.0, "optimizer": "kept"},
    {"epochs": 1, "learning_rate": 0.5, "optimizer": "kept", "replay": 0.1},
    {"epochs": 1, "learning_rate": 1.0, "optimizer": "kept", "replay": 0.1},
    {"epochs": 1, "learning_rate": 2.0, "optimizer": "kept", "replay": 0.1},
    {"epochs": 1, "learning_rate": 1.0, "optimizer": "kept", "replay": 0.25},
    {"epochs": 1, "learning_rate": 1.0, "optimizer": "kept", "replay": 0.1, "distil": 0.05},
]


def first(month):
    """First day of a month counted from 1; 13 is the next January."""
    return date(YEAR + (month - 1) // 12, (month - 1) % 12 + 1, 1)


def day(month, of_month):
    return first(month).replace(day=of_month)


def known(month):
    """When the labels of a month are read."""
    return str(first(month + 1) + timedelta(days=LAG))


class Study:
    def __init__(self, args):
        self.args = args
        self.work = Path(args.work) / f"seed-{args.seed}"
        self.work.mkdir(parents=True, exist_ok=True)
        self.config = HERE / "market.toml"
        self.lists = {}

    def slate(self, *words):
        """Runs one command, and says how long the process took."""
        command = [self.args.slate, *map(str, words), "--config", str(self.config), "--quiet", "--force"]
        command += ["--seed", str(self.args.seed), "--threads", str(self.args.threads), "--json"]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        wall = time.perf_counter() - began
        if done.returncode != 0:
            sys.exit(f"exit code {done.returncode} from {' '.join(command)}\n{done.stderr}")
        return wall, json.loads(done.stdout) if done.stdout.strip() else {}

    def logs(self):
        """All logs, and those to train on: without a share of the pages of month 3."""
        self.all_logs = self.work / "logs"
        self.train_logs = self.work / "train-logs"
        size = ["--pages", self.args.pages] if self.args.pages else []
        self.slate("simulate", "--out", self.all_logs, *size)
        shutil.rmtree(self.train_logs, ignore_errors=True)
        shutil.copytree(self.all_logs, self.train_logs, ignore=shutil.ignore_patterns("manifest.json", "truth*"))
        part = f"month={YEAR}-03/part-0.parquet"
        pages = pq.read_table(self.all_logs / "page_impression" / part)
        ids = pages["page_id"].to_numpy()
        out = np.random.default_rng(self.args.seed).random(len(ids)) < SLICE
        gone = ids[out]
        slots = pq.read_table(self.all_logs / "slot_impression" / part)
        leaves = np.isin(slots["page_id"].to_numpy(), gone)
        self.slice_lists = np.unique(slots["list_id"].to_numpy()[leaves])
        pq.write_table(pages.filter(~out), self.train_logs / "page_impression" / part)
        pq.write_table(slots.filter(~leaves), self.train_logs / "slot_impression" / part)
        # The month in which an item was first shown on a page, for what is cold.
        self.seen = {}
        for month in range(1, 13):
            shown = pq.read_table(self.all_logs / "slot_impression" / f"month={YEAR}-{month:02}", columns=["item_id"])
            for item in np.unique(shown["item_id"].to_numpy()):
                self.seen.setdefault(int(item), month)

    def features(self, out, logs, split, as_of, more=()):
        split = ", ".join(f'{key} = "{value}"' for key, value in split.items())
        wall, _ = self.slate(
            "features", "--logs", logs, "--out", out, "--as-of", as_of, "--set", f"split={{{split}}}", *more
        )
        return wall

    def training(self, month, begins, name, more=()):
        """A dataset to train on whose last month is `month`; the judged month is in no part of it."""
        split = {
            "from": begins,
            "valid_from": day(month, 24),
            "calibrate_from": day(month, 27),
            "test_from": first(month + 1) - timedelta(days=1),
            "until": first(month + 1),
        }
        return self.features(self.work / name, self.train_logs, split, known(month), more)

    def judging(self, month, run, name):
        """A dataset whose test part is the whole month, by the feature map of a run."""
        begin = first(month)
        split = {
            "from": begin - timedelta(days=3),
            "valid_from": begin - timedelta(days=2),
            "calibrate_from": begin - timedelta(days=1),
            "test_from": begin,
            "until": first(month + 1),
        }
        more = ["--feature-map", self.work / run / "feature_map.json"]
        return self.features(self.work / name, self.all_logs, split, known(month), more)

    def train(self, data, run, settings=None, before=None, more=()):
        more = list(more)
        if before:
            more += ["--update-from", self.work / before]
        for key, value in (settings or {}).items():
            more += ["--set", f"train.update.{key}={json.dumps(value)}"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall, _ = self.slate("train", "--data", self.work / data, "--out", self.work / run, *more)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"train_s": wall, "train_cpu_s": cpu}

    def ndcg(self, scores, keep=None):
        """NDCG@10 of each list with a purchase, by list id: gain 1, logarithmic discount, purchase as label."""
        table = pq.read_table(scores, columns=["list_id", "score", "purchase", "item_id"])
        lists, score = table["list_id"].to_numpy(), table["score"].to_numpy()
        bought, items = table["purchase"].to_numpy() > 0, table["item_id"].to_numpy()
        order = np.lexsort((-score, lists))
        lists, bought, items = lists[order], bought[order], items[order]
        starts = np.flatnonzero(np.r_[True, lists[1:] != lists[:-1]])
        rank = np.arange(len(lists)) - np.repeat(starts, np.diff(np.r_[starts, len(lists)]))
        gain = np.where(bought & (rank < 10), 1 / np.log2(rank + 2), 0.0)
        ideal = np.r_[0.0, np.cumsum(1 / np.log2(np.arange(10) + 2))]
        sold = np.add.reduceat(bought.astype(int), starts)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = np.add.reduceat(gain, starts) / ideal[np.minimum(sold, 10)]
        result = {int(i): float(v) for i, v, n in zip(lists[starts], value, sold) if n > 0}
        if keep is not None:
            result = {i: v for i, v in result.items() if i in keep}
        cold = {}
        for i, item in zip(lists[bought], items[bought]):
            cold.setdefault(int(i), set()).add(self.seen[int(item)])
        return result, cold

    def judge(self, policy, month, run, tail, data, old):
        """Scores the judged month `month` and the slice of month 3 with `run`."""
        w = self.work
        self.slate("score", "--run", w / run, "--data", w / tail, "--split", "calibrate", "--out", w / "tail.parquet")
        self.slate("score", "--run", w / run, "--data", w / data, "--split", "test", "--out", w / "test.parquet")
        self.slate("calibrate", "--scores", w / "tail.parquet", "--out", w / "calibrators")
        apply = w / "calibrators" / "sigmoid.json"
        final = w / "calibrated.parquet"
        self.slate("calibrate", "--apply", apply, "--scores", w / "test.parquet", "--out", final)
        _, found = self.slate("evaluate", "--scores", final, "-m", "ndcg@10,logloss,pcoc")
        found = {each["name"]: each["value"] for each in found["metrics"]}
        per_list, sold = self.ndcg(final)
        mine = float(np.mean(list(per_list.values())))
        if abs(mine - found["ndcg@10"]) > 1e-3:
            sys.exit(f"NDCG@10 is {mine} here and {found['ndcg@10']} by slate evaluate")
        cold = [i for i, months in sold.items() if month in months]
        row = {"policy": policy, "month": month, **found, "ndcg_python": mine}
        row["cold"] = float(np.mean([per_list[i] for i in cold]))
        row["cold_lists"] = len(cold)
        self.slate("score", "--run", w / run, "--data", w / old, "--split", "test", "--out", w / "old.parquet")
        kept, _ = self.ndcg(w / "old.parquet", set(self.slice_lists.tolist()))
        row["month_3"], row["month_3_lists"] = float(np.mean(list(kept.values()))), len(kept)
        self.lists[(policy, month)] = (per_list, set(cold), kept)
        return row

    def go(self):
        policies = POLICIES
        if self.args.tune:
            policies = {json.dumps(settings): settings for settings in CANDIDATES}
        self.logs()
        rows = []
        features_s = self.training(FIRST, first(1), "window-3")
        seconds = self.train("window-3", "base")
        self.judging(FIRST, "base", "old-base")
        run = dict.fromkeys(policies, "base")
        for last in range(FIRST, self.args.last + 1):
            self.judging(last + 1, "base", "judge-base")
            row = self.judge("never", last + 1, "base", "window-3", "judge-base", "old-base")
            spent = {"train_s": 0.0, "train_cpu_s": 0.0, "features_s": 0.0}
            if last == FIRST:
                spent = {**seconds, "features_s": features_s}
            rows.append({**row, **spent})
            if last == FIRST:  # all policies begin with the same run
                for policy in ["full", "short", *policies]:
                    rows.append({**row, "policy": policy, **spent})
                    self.lists[(policy, last + 1)] = self.lists[("never", last + 1)]
                continue
            window, new = f"window-{last}", f"new-{last}"
            feature_s = self.training(last, first(last - 2), window)
            wall = self.train(window, f"full-{last}")
            self.judging(last + 1, f"full-{last}", "judge-full")
            self.judging(FIRST, f"full-{last}", "old-full")
            row = self.judge("full", last + 1, f"full-{last}", window, "judge-full", "old-full")
            rows.append({**row, **wall, "features_s": feature_s})
            # The same lists, and the whole schedule in two epochs: on seed 1 eight overfit.
            wall = self.train(window, f"short-{last}", more=["--set", "train.epochs=2"])
            row = self.judge("short", last + 1, f"short-{last}", window, "judge-full", "old-full")
            rows.append({**row, **wall, "features_s": feature_s})
            # One extended map for all who update: it depends on the logs, not on the weights.
            before = self.work / next(iter(run.values())) / "feature_map.json"
            feature_s = self.training(last, day(last - 1, 24), new, ["--feature-map", before, "--extend"])
            for at, (policy, settings) in enumerate(policies.items()):
                name = f"update-{at}-{last}"
                wall = self.train(new, name, settings, run[policy])
                run[policy] = name
                if at == 0:
                    self.judging(last + 1, name, "judge-new")
                    self.judging(FIRST, name, "old-new")
                row = self.judge(policy, last + 1, name, new, "judge-new", "old-new")
                rows.append({**row, **wall, "features_s": feature_s})
            for row in rows[-len(policies) - 3 :]:
                print(f"{row['month']:3} {row['policy']:40} {row['ndcg@10']:.4f} {row['train_s']:.2f} s", flush=True)
        return {
            "seed": self.args.seed,
            "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
            "machine": machine(),
            "program": hashlib.sha256(Path(self.args.slate).read_bytes()).hexdigest()[:16],
            "settings": policies,
            "rows": rows,
        }

    def save_lists(self, path):
        """NDCG@10 list by list, for paired intervals in summary.py."""
        out = {}
        for (policy, month), (values, cold, old) in self.lists.items():
            ids = sorted(values)
            out[f"{policy}|{month}|all"] = np.array([values[i] for i in ids])
            out[f"{policy}|{month}|cold"] = np.array([i in cold for i in ids])
            out[f"{policy}|{month}|old"] = np.array([old[i] for i in sorted(old)])
        np.savez_compressed(path, **out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slate", required=True, help="the program")
    parser.add_argument("--work", required=True, help="scratch folder")
    parser.add_argument("--out", required=True, help="results, JSON")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pages", type=int, help="fewer pages than market.toml says, for a try")
    parser.add_argument("--last", type=int, default=11, help="the last month that is trained on")
    parser.add_argument("--tune", action="store_true")
    args = parser.parse_args()
    study = Study(args)
    began = time.perf_counter()
    result = study.go()
    result["wall_s"] = time.perf_counter() - began
    Path(args.out).write_text(json.dumps(short(result), indent=1) + "\n")
    study.save_lists(study.work / "lists.npz")


main()
