"""How good Slate's rankers are beside LightGBM, popularity, co-visits and the truth.

    cargo build --release
    pip install lightgbm numpy pandas pyarrow scikit-learn matplotlib
    SLATE_SHARED=... python3 experiments/005-ranker-quality/run.py [--only lists,displays,sessions,simulator]

Every comparison is on the same rows in the same order, which is asserted. Intervals are bootstrap over lists and
seeds together, paired where two rankers are compared. Two threads.
Writes results.json (and gap.svg) beside itself, section by section.
"""

import argparse
import json
import os
import pathlib
import re
import sys
import tempfile

import lightgbm
import numpy as np
import pandas as pd

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "harness"))
import judge  # noqa: E402
import measure  # noqa: E402
import sessions  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--seeds", type=int, default=5)
parser.add_argument("--only", default="lists,displays,sessions,simulator")
parser.add_argument("--slate", default=str(ROOT / "target/release/slate"))
arguments = parser.parse_args()
shared = pathlib.Path(os.environ["SLATE_SHARED"]) / "data"
work = pathlib.Path(tempfile.mkdtemp(prefix="slate-quality-"))
SEEDS = range(1, arguments.seeds + 1)


def slate(*words):
    told = measure.run([arguments.slate, *map(str, words), "--threads", "2", "-q", "--json"], cwd=work)
    return json.loads(told["stdout"])


def train(config, data, out, seed, *flags):
    slate("train", "-c", config, "--data", data, "--out", out, "--seed", seed, *flags)


def score(data, out, *runs):
    """Scores of the test part by a run, or by several as an ensemble."""
    flags = [word for run in runs for word in ("--run", run)]
    slate("score", *flags, "--data", data, "--split", "test", "--out", f"{out}.parquet")
    return pd.read_parquet(work / f"{out}.parquet")


def arrays(data, part):
    """A part of a dataset as LightGBM wants it: rows, the ids among their columns, list lengths."""
    folder = work / data / part
    columns = [np.load(folder / "dense.npy")]
    ids = folder / "categorical.npy"
    if ids.exists():
        columns.append(np.load(ids).astype(np.float32))
    rows = np.column_stack(columns)
    lengths = np.diff(np.load(folder / "list_offsets.npy").astype(np.int64))
    return rows, list(range(columns[0].shape[1], rows.shape[1])), lengths, folder


def boosted(data, label, seed, settings, with_ids=True):
    """LightGBM's lambdarank on a dataset's own arrays, stopped by NDCG@10 on its validation part;
    scores of the test part."""
    parts = {}

    def inputs(part):
        rows, ids, lengths, folder = arrays(data, part)
        if not with_ids:
            rows, ids = rows[:, : rows.shape[1] - len(ids)], []
        return rows, ids, lengths, folder

    for part in ("train", "valid"):
        rows, ids, lengths, folder = inputs(part)
        labels = np.load(folder / f"{label}.npy").astype(int)
        parts[part] = lightgbm.Dataset(rows, labels, group=lengths, categorical_feature=ids,
                                       reference=parts.get("train"), free_raw_data=False)
    model = lightgbm.train(
        {"objective": "lambdarank", "metric": "ndcg", "eval_at": [10], "num_threads": 2, "seed": seed,
         "bagging_freq": 1, "bagging_fraction": 0.9, "verbose": -1, **settings},
        parts["train"], num_boost_round=500, valid_sets=[parts["valid"]],
        callbacks=[lightgbm.early_stopping(40, verbose=False)],
    )
    return model.predict(inputs("test")[0])


def compare(values, *references):
    """A row for each ranker: its mean, the spread over its seeds, and the differences to some, paired by list
    and seed."""
    rows, told = [], {}
    for name, each in values.items():
        each = np.array(each)
        value, low, high = judge.interval(each)
        over = [float(np.nanmean(one)) for one in each]
        row = {"ranker": name, "mean": f"{value:.4f} [{low:.4f}, {high:.4f}]",
               "seeds": f"± {np.std(over, ddof=1):.4f}" if len(over) > 1 else ""}
        told[name] = {"value": value, "low": low, "high": high, "by_seed": over, "differences": {}}
        for reference in references:
            if name != reference:
                value, low, high = judge.interval(each - np.array(values[reference]))
                row[f"− {reference}"] = f"{value:+.4f} [{low:+.4f}, {high:+.4f}]"
                told[name]["differences"][reference] = {"value": value, "low": low, "high": high}
        rows.append(row)
    return rows, told


def lists():
    """LightGBM's own example, LightGBM at the settings it ships for it, on all training queries."""
    from sklearn.datasets import load_svmlight_file

    source = shared / "lightgbm_rank"
    config = HERE / "lists.toml"
    # Nothing is calibrated here: what is not needed for validation trains.
    slate("import", "letor", source, "--out", "lists", "--valid", 0.2, "--calibrate", 0.02)
    train_x, train_y = load_svmlight_file(str(source / "rank.train.gz"), n_features=301)
    test_x, test_y = load_svmlight_file(str(source / "rank.test.gz"), n_features=301)
    sizes = np.loadtxt(source / "rank.train.query", dtype=int)
    names = ["LightGBM", "Slate, MLP of the README", "Slate, transformer", "Slate, trees",
             "Slate, transformer + trees", "Slate, all seeds of both"]
    values = {name: [] for name in names}
    metric = lambda rows: judge.ndcg(rows["score"].to_numpy(), rows["grade"].to_numpy(), 10)
    for seed in SEEDS:
        train(ROOT / "configs/lightgbm_rank.toml", "lists", f"lists-mlp-{seed}", seed)
        train(config, "lists", f"lists-network-{seed}", seed)
        train(config, "lists", f"lists-trees-{seed}", seed, "--ranker", "trees")
        runs = [f"lists-{kind}-{seed}" for kind in ("mlp", "network", "trees")]
        for name, own in zip(names[1:], [runs[:1], runs[1:2], runs[2:], runs[1:]]):
            values[name].append(judge.by_list(score("lists", f"lists-{seed}-{len(own)}-{own[0]}", *own), metric))
        model = lightgbm.train(
            {"objective": "lambdarank", "learning_rate": 0.1, "num_leaves": 31, "max_bin": 255,
             "feature_fraction": 1.0, "bagging_freq": 1, "bagging_fraction": 0.9, "min_data_in_leaf": 50,
             "min_sum_hessian_in_leaf": 5.0, "num_threads": 2, "seed": seed, "verbose": -1},
            lightgbm.Dataset(train_x, train_y, group=sizes), num_boost_round=100,
        )
        rows = pd.read_parquet(next(work.glob("lists-*.parquet")))
        assert (rows["grade"].to_numpy() == test_y).all(), "the test rows differ"
        values["LightGBM"].append(judge.by_list(rows.assign(score=model.predict(test_x)), metric))
    every = [f"lists-{kind}-{seed}" for kind in ("network", "trees") for seed in SEEDS]
    values[names[-1]].append(judge.by_list(score("lists", "lists-all", *every), metric))
    # Held to the program's own metric once.
    own = slate("evaluate", "--scores", "lists-all.parquet", "--label", "grade", "-m", "ndcg@10")
    assert abs(own["metrics"][0]["value"] - np.nanmean(values[names[-1]][0])) < 1e-9
    return compare(values, "LightGBM")


def displays():
    """Outbrain's displays, the features of configs/outbrain.toml for everyone."""
    config = ROOT / "configs/outbrain.toml"
    slate("import", "outbrain", shared / "outbrain_sample", "--out", "displays-logs")
    slate("features", "-c", config, "--logs", "displays-logs", "--out", "displays")
    metric = lambda rows: judge.ndcg(rows["score"].to_numpy(), rows["click"].to_numpy(), 10)
    names = ["LightGBM", "LightGBM without ids", "popular", "Slate, MLP", "Slate, linear", "Slate, trees", "Slate, MLP + trees"]
    values = {name: [] for name in names}
    slate("score", "--baseline", "feature:item_click_rate_30d", "--data", "displays", "--out", "popular.parquet")
    popular = pd.read_parquet(work / "popular.parquet")
    values["popular"].append(judge.by_list(popular, metric))
    trees = ["--ranker", "trees", "--set", 'trees={label="click",leaves=7,learning_rate=0.05,min_rows=20,share=0.9,patience=40}']
    for seed in SEEDS:
        train(config, "displays", f"displays-mlp-{seed}", seed)
        train(config, "displays", f"displays-linear-{seed}", seed, "--set", "train.network.kind=linear")
        train(config, "displays", f"displays-trees-{seed}", seed, *trees)
        runs = {name: f"displays-{name}-{seed}" for name in ("mlp", "linear", "trees")}
        for name, own in zip(names[3:], [["mlp"], ["linear"], ["trees"], ["mlp", "trees"]]):
            scores = score("displays", f"displays-{seed}-{'-'.join(own)}", *[runs[one] for one in own])
            values[name].append(judge.by_list(scores, metric))
        assert (popular["item_id"].to_numpy() == np.load(work / "displays/test/item.npy")).all()
        for name in names[:2]:
            settings = {"learning_rate": 0.05, "num_leaves": 7, "min_data_in_leaf": 20}
            theirs = boosted("displays", "click", seed, settings, name == "LightGBM")
            values[name].append(judge.by_list(popular.assign(score=theirs), metric))
    return compare(values, *names[1::-1])


def next_clicks():
    """Next clicks of Yoochoose sessions, MRR@20; a click that is no candidate counts 0."""
    config = HERE / "sessions.toml"
    counts = sessions.build(shared / "yoochoose100k", work / "sessions-logs")
    slate("features", "-c", config, "--logs", "sessions-logs", "--out", "sessions")
    metric = lambda rows: judge.reciprocal_rank(
        rows["score"].to_numpy(), rows["click"].to_numpy() > 0, 20, missing=0.0)
    names = ["LightGBM", "LightGBM without ids", "co-visits of the last item", "what followed the last item", "Slate, network without history",
             "Slate, history by GRU", "Slate, history by transformer", "Slate, trees", "Slate, GRU + trees"]
    values = {name: [] for name in names}
    placed = pd.read_parquet(work / "sessions-logs/slot_impression.parquet").set_index("impression_id")
    trees = ["--ranker", "trees"]
    for seed in SEEDS:
        for encoder in ("none", "gru", "transformer"):
            train(config, "sessions", f"sessions-{encoder}-{seed}", seed, "--set", f"train.network.history.encoder={encoder}")
        train(config, "sessions", f"sessions-trees-{seed}", seed, *trees)
        for name, own in zip(names[4:], [["none"], ["gru"], ["transformer"], ["trees"], ["gru", "trees"]]):
            scores = score("sessions", f"sessions-{seed}-{'-'.join(own)}", *[f"sessions-{one}-{seed}" for one in own])
            values[name].append(judge.by_list(scores, metric))
        assert (scores["item_id"].to_numpy() == np.load(work / "sessions/test/item.npy")).all()
        for name in names[:2]:
            settings = {"learning_rate": 0.05, "num_leaves": 31, "min_data_in_leaf": 50}
            theirs = boosted("sessions", "click", seed, settings, name == "LightGBM")
            values[name].append(judge.by_list(scores.assign(score=theirs), metric))
    clicks = scores.groupby("list_id")["click"].sum()
    assert len(clicks) == counts["test_pages"] and clicks.sum() == counts["test_pages_with_the_click"]
    for name, column in zip(names[2:4], ["together_last", "after_last"]):
        order = placed.loc[scores["impression"].to_numpy(), column].to_numpy()
        values[name].append(judge.by_list(scores.assign(score=order), metric))
    rows, told = compare(values, *names[1::-1])
    history = np.array(values["Slate, history by GRU"]) - np.array(values["Slate, network without history"])
    told["history by GRU − without"] = dict(zip(("value", "low", "high"), judge.interval(history)))
    print("history by GRU − without: {value:+.4f} [{low:+.4f}, {high:+.4f}]".format(**told["history by GRU − without"]))
    told["pages"] = counts
    return rows, told


def market():
    """The simulator: each order's share of what the oracle's order gains, by rows of the log. Once of the purchases that
    happened (NDCG@10), and once of the probabilities they were drawn with (DCG@10), which no luck is in."""
    config, no_trend, no_taste = HERE / "simulator.toml", work / "no-trend.toml", work / "no-taste.toml"
    without = re.sub(r", trend = {[^}]*}", "", config.read_text())
    for file, column in [(no_trend, '"trend"'), (no_taste, '"taste"')]:
        without = "".join(line for line in without.splitlines(keepends=True) if column not in line)
        file.write_text(without)
    rows, told = [], {}
    for pages in (4_000, 12_000, 40_000, 140_000):
        logs, data = f"market-{pages}-logs", f"market-{pages}"
        slate("simulate", "-c", config, "--pages", pages, "--out", logs)
        sets = {data: config, f"{data}-no-trend": no_trend, f"{data}-no-taste": no_taste}
        for own, of in sets.items():
            slate("features", "-c", of, "--logs", logs, "--out", own)
        slate("score", "--baseline", f"oracle:{logs}/truth.parquet", "--data", data, "--out", f"{data}-oracle.parquet")
        oracle = pd.read_parquet(work / f"{data}-oracle.parquet")
        truth = pd.read_parquet(work / logs / "truth.parquet").set_index("impression_id")["p_purchase"]
        orders = {"oracle": oracle}
        for name, own, flags in [("transformer", data, []), ("without trend", f"{data}-no-trend", []),
                                 ("without both", f"{data}-no-taste", []),
                                 ("linear", data, ["--set", 'train.network={kind="linear"}']),
                                 ("trees", data, ["--ranker", "trees"])]:
            run = f"{own}-{name.split()[0]}"
            train(sets[own], own, run, 1, *flags)
            orders[name] = score(own, run, run)
            assert (orders[name]["impression"].to_numpy() == oracle["impression"].to_numpy()).all()
        orders["taught by the truth"] = oracle.assign(score=taught(logs, data))
        happened, drawn = {}, {}
        for name, order in orders.items():
            order = order.assign(drawn=truth.loc[order["impression"].to_numpy()].to_numpy())
            scores = lambda rows: rows["score"].to_numpy()
            happened[name] = judge.by_list(order, lambda rows: judge.ndcg(scores(rows), rows["purchase"].to_numpy(), 10))
            drawn[name] = judge.by_list(order, lambda rows: judge.dcg(scores(rows), rows["drawn"].to_numpy(), 10)[0])
        placements = len(pd.read_parquet(work / logs / "slot_impression.parquet", columns=["impression_id"]))
        told[placements] = {"oracle": judge.interval(happened["oracle"])}
        for of, values in {"purchases": happened, "probabilities": drawn}.items():
            row = {"rows": f"{placements:,}", "of": of}
            for name in list(values)[1:]:
                share = judge.gap(values[name], values["oracle"])
                row[name] = f"{100 * share[0]:+.1f} % [{100 * share[1]:+.1f}, {100 * share[2]:+.1f}]"
                told[placements].setdefault(name, {})[of] = share
            rows.append(row)
    plot(told)
    return rows, told


def taught(logs, data):
    """An estimate of what the same inputs can say: trees taught the true probabilities themselves."""
    truth = pd.read_parquet(work / logs / "truth.parquet").set_index("impression_id")["p_purchase_examined"]
    rows, ids, _, folder = arrays(data, "train")
    target = np.log(truth.loc[np.load(folder / "impression.npy")].to_numpy())
    model = lightgbm.train(
        {"objective": "l2", "num_leaves": 63, "learning_rate": 0.1, "min_data_in_leaf": 50, "num_threads": 2,
         "verbose": -1, "seed": 1},
        lightgbm.Dataset(rows, target, categorical_feature=ids), num_boost_round=300,
    )
    return model.predict(arrays(data, "test")[0])


def plot(told):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "slate"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.5, 4))
    rows = sorted(told)
    for name in [name for name in told[rows[0]] if name != "oracle"]:
        shares = np.array([told[count][name]["purchases"] for count in rows]) * 100
        axes.errorbar(rows, shares[:, 0], yerr=[shares[:, 0] - shares[:, 1], shares[:, 2] - shares[:, 0]],
                      marker="o", capsize=3, label=name)
    axes.axhline(-3, color="grey", linestyle=":", label="goal")
    axes.set_xscale("log")
    axes.set_xlabel("rows of the log")
    axes.set_ylabel("purchase NDCG@10 beside the oracle's, %")
    axes.legend()
    figure.tight_layout()
    figure.savefig(HERE / "gap.svg", metadata={"Date": None})


results_file = HERE / "results.json"
results = json.loads(results_file.read_text()) if results_file.exists() else {}
sections = {"lists": lists, "displays": displays, "sessions": next_clicks, "simulator": market}
for name in arguments.only.split(","):
    if name not in sections:
        sys.exit(f"--only {name}, expected some of {', '.join(sections)}")
    rows, told = sections[name]()
    results["machine"], results["lightgbm"] = measure.machine(), lightgbm.__version__
    results[name] = told
    measure.write(results_file, results)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    print(f"\n{name}: {sections[name].__doc__.splitlines()[0]}\n")
    print(measure.table(rows, columns), flush=True)
