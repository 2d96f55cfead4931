"""Cold items on the simulated marketplace: what a title, a picture and both are worth for items nobody has seen.

    cargo build --release
    pip install numpy pandas pyarrow
    python experiments/009-similar-items/simulator.py --slate target/release/slate --scratch DIR [--pages N] [--seeds N]

One log; items that are first listed after the training window are cold: they have no click, no purchase and no
placement in training. Networks of kind `similar` see the titles, the pictures or both of seed and candidate (encoder
`hashed`), and nothing else; `everything` also sees category, price and page. Each is trained with --seeds seeds.

ranking: purchase NDCG@10 over the cold candidates of every test page that has two of them or more and sold one.
retrieval: recall@20 of the cold item that was bought, among all cold items, by the cosine of the towers' vectors.
Intervals are 95 % and resample pages; differences are paired by page, scores averaged over seeds. Prints Markdown
tables and writes simulator.json beside itself.
"""

import argparse
import pathlib
import sys

import numpy as np
import pandas as pd

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "harness"))
import measure  # noqa: E402

CONFIG = ROOT / "configs" / "similar_item.toml"
DRAWS = 2000
TOP = 20
TEST_FROM = "2026-06-01"
SPLIT = {"valid_from": "2026-05-01", "calibrate_from": "2026-05-16", "test_from": TEST_FROM}
SIDES = {
    "title": ["title"],
    "picture": ["image"],
    "both": ["title", "image"],
    "everything": ["title", "image", "item_category", "item_price"],
}


def quoted(names):
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def write_config(scratch, args):
    """The shipped configuration with more pages, more new items and dates that part the months."""
    text = CONFIG.read_text()
    text = text.replace("pages = 24000", f"pages = {args.pages}")
    text = text.replace("users = 12000", f"users = {args.pages // 2}")
    # More is bought than in most markets, so that enough of what is new is.
    rates = "click_rate = 0.2\npurchase_rate = 0.06"
    text = text.replace("new_items_per_month = 0.2", f"new_items_per_month = {args.new_items}\n{rates}")
    begin = text.index("valid = 0.08")
    end = text.index("[train]")
    dates = "".join(f'{key} = "{date}"\n' for key, date in SPLIT.items())
    path = scratch / "similar.toml"
    path.write_text(text[:begin] + dates + "\n" + text[end:])
    return path


def towers(name):
    """Overrides that leave the towers of a variant with its own inputs."""
    own = SIDES[name]
    seed = [side.replace("item_", "seed_") if side.startswith("item_") else f"seed_{side}" for side in own]
    sets = [f"train.network.towers.seed={quoted(seed)}", f"train.network.towers.candidate={quoted(own)}"]
    return sets if name == "everything" else sets + ["train.network.towers.context=[]"]


def gains(labels, scores):
    """NDCG@10 of one list, ties in the order of rows."""
    order = np.argsort(-scores, kind="stable")[:10]
    discount = 1 / np.log2(np.arange(len(order)) + 2)
    ideal = np.sort(labels)[::-1][: len(order)]
    return float((labels[order] * discount).sum() / (ideal * discount).sum())


def interval(values, rng):
    """Mean and 95 % interval over pages."""
    draws = rng.integers(0, len(values), (DRAWS, len(values)))
    means = values[draws].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {"mean": round(float(values.mean()), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def shown(found):
    return f"{found['mean']:.4f} ({found['low']:.4f} to {found['high']:.4f})"


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--slate", default=str(ROOT / "target" / "release" / "slate"))
    options.add_argument("--scratch", required=True, type=pathlib.Path)
    options.add_argument("--pages", type=int, default=150_000)
    options.add_argument("--new-items", type=float, default=0.5)
    options.add_argument("--seeds", type=int, default=1)
    args = options.parse_args()
    scratch = args.scratch
    scratch.mkdir(parents=True, exist_ok=True)
    config = write_config(scratch, args)
    seconds = {}

    def slate(*words, out=None):
        words = [str(word) for word in words]
        if out is not None and (scratch / out).exists():
            return
        command = [args.slate, words[0], *words[1:], "-c", str(config), "-q"]
        if out is not None:
            command += ["--out", out]
        ran = measure.run(command, cwd=scratch)
        seconds[" ".join(words[:1] + ([out] if out else []))] = ran["wall_s"]

    slate("simulate", out="logs")
    slate("embed", "--items", "logs", out="vectors")
    slate("features", "--logs", "logs", out="dataset")
    for name in SIDES:
        sets = [word for override in towers(name) for word in ("--set", override)]
        for seed in range(args.seeds):
            run = f"run-{name}-{seed}"
            slate("train", "--data", "dataset", "--seed", seed + 1, *sets, out=run)
            slate("score", "--run", run, "--data", "dataset", "--split", "test", out=f"scores-{name}-{seed}.parquet")
            slate("similar", "export", "--run", run, "--items", "logs", out=f"catalogue-{name}-{seed}")

    items = pd.read_parquet(scratch / "logs" / "item.parquet", columns=["item_id", "category", "start"])
    begin = pd.Timestamp(SPLIT["valid_from"], tz="UTC")
    starts = pd.to_datetime(items["start"], unit="us", utc=True)
    cold = set(items["item_id"][starts >= begin])
    pages = pd.read_parquet(scratch / "logs" / "page_impression.parquet", columns=["page_id", "ts", "seed_item_id"])
    slots = pd.read_parquet(scratch / "logs" / "slot_impression.parquet", columns=["page_id", "list_id", "item_id"])
    slots = slots.merge(pages, on="page_id")
    trained = slots[pd.to_datetime(slots["ts"], unit="us", utc=True) < begin]
    assert not set(trained["item_id"]) & cold, "a cold item was shown in training"
    category = items.set_index("item_id")["category"]
    shown_by_category = trained["item_id"].map(category).value_counts()

    rows = pd.read_parquet(scratch / "scores-both-0.parquet", columns=["list_id", "item_id", "purchase"])
    for name in SIDES:
        columns = []
        for seed in range(args.seeds):
            scored = pd.read_parquet(scratch / f"scores-{name}-{seed}.parquet", columns=["list_id", "item_id", "score"])
            assert (scored["item_id"] == rows["item_id"]).all()
            columns.append(scored["score"].to_numpy())
        rows[name] = np.mean(columns, axis=0)
    rng = np.random.default_rng(7)
    rows["random"] = rng.random(len(rows))
    # A cold item's own popularity is 0, so what is left is that of its category.
    rows["popularity"] = rows["item_id"].map(category).map(shown_by_category).fillna(0) + 1e-6 * rows["random"]
    rows["cold"] = rows["item_id"].isin(cold)
    only = rows[rows["cold"]]
    systems = ["random", "popularity", *SIDES]
    ranking = {name: [] for name in systems}
    for _, page in only.groupby("list_id", sort=True):
        labels = page["purchase"].to_numpy(dtype=float)
        if len(page) < 2 or labels.sum() == 0:
            continue
        for name in systems:
            ranking[name].append(gains(labels, page[name].to_numpy()))
    ranking = {name: np.array(values) for name, values in ranking.items()}

    seeds = slots.drop_duplicates("list_id").set_index("list_id")["seed_item_id"]
    bought = only[only["purchase"] > 0]
    retrieval = {}
    for name in SIDES:
        hits = np.zeros(len(bought))
        for seed in range(args.seeds):
            folder = scratch / f"catalogue-{name}-{seed}"
            ids = np.load(folder / "item_id.npy")
            seed_vectors, vectors = np.load(folder / "seed.npy"), np.load(folder / "candidate.npy")
            is_cold = np.isin(ids, list(cold))
            cold_ids, cold_vectors = ids[is_cold], vectors[is_cold]
            for at, (list_id, item) in enumerate(zip(bought["list_id"], bought["item_id"])):
                query = seed_vectors[np.searchsorted(ids, seeds[list_id])]
                near = np.argpartition(-(cold_vectors @ query), TOP)[:TOP]
                hits[at] += item in cold_ids[near]
        retrieval[name] = hits / args.seeds
    count = len(cold_ids)
    retrieval["random"] = np.full(len(bought), TOP / count)
    popular = items[items["item_id"].isin(cold)].assign(shown=lambda t: t["category"].map(shown_by_category).fillna(0))
    popular = set(popular.sort_values("shown", ascending=False, kind="stable")["item_id"][:TOP])
    retrieval["popularity"] = bought["item_id"].isin(popular).to_numpy(dtype=float)

    results = {"machine": measure.machine(), "pages": args.pages, "seeds": args.seeds, "cold_items": count}
    results |= {"lists": len(ranking["both"]), "purchases": len(bought), "seconds": seconds, "systems": {}}
    lines = []
    for name in systems:
        found = {"ndcg@10": interval(ranking[name], rng), "recall@20": interval(retrieval[name], rng)}
        results["systems"][name] = found
        lines.append({"seen": name} | {key: shown(value) for key, value in found.items()})
    print(f"{results['lists']} pages, {len(bought)} purchases of cold items, {count} cold items\n")
    print(measure.table(lines, ["seen", "ndcg@10", "recall@20"]))
    results["differences"], lines = {}, []
    for name, other in [("both", "title"), ("both", "picture"), ("both", "popularity"), ("everything", "both")]:
        found = {
            "ndcg@10": interval(ranking[name] - ranking[other], rng),
            "recall@20": interval(retrieval[name] - retrieval[other], rng),
        }
        results["differences"][f"{name} less {other}"] = found
        lines.append({"difference": f"{name} less {other}"} | {key: shown(value) for key, value in found.items()})
    print("\n" + measure.table(lines, ["difference", "ndcg@10", "recall@20"]))
    measure.write(HERE / "simulator.json", results)


if __name__ == "__main__":
    main()
