"""Cold items on the simulated marketplace: what a title, a picture and both are worth for items nobody has seen.

    cargo build --release
    pip install numpy pandas pyarrow
    python experiments/009-similar-items/simulator.py --slate target/release/slate --scratch DIR [--pages N] [--seeds N]

One log; items that are first listed after the training window are cold: they have no click, no purchase and no
placement in training. Networks of kind `similar` see the titles, the pictures or both of seed, of candidate and of what
the page's visitor chose before (encoder `hashed`), and nothing else; `everything` also sees category, price and page.
`both, visitor unknown` are the scores and vectors of `both` as if nobody had chosen anything. Each is trained with
--seeds seeds.

ranking: NDCG@10 over the cold candidates of every test page that has two of them or more.
retrieval: recall@20 of cold items among all cold items, by the exported vectors: the cosine of the towers, and the
product of tastes as `slate similar query --chosen` adds it.
Both twice. Of what was bought: pages that sold a cold candidate, the item that was bought. And of the truth, which a
simulator knows: the gain of a candidate is its true probability of being bought once it is looked at, so that every
page counts and luck does not. Intervals are 95 % and resample pages; differences are paired by page, scores
averaged over seeds. Prints Markdown tables and writes simulator.json beside itself.
"""

import argparse
import json
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
UNKNOWN = "both, visitor unknown"
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
    text = text.replace("users = 1500", f"users = {args.pages // 16}")
    text = text.replace("items = 3000", f"items = {args.items}")
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
    past = [f"history_{side}" for side in own if not side.startswith("item_")]
    sides = {"seed": seed, "candidate": own, "visitor": past}
    sets = [f"train.network.towers.{side}={quoted(names)}" for side, names in sides.items()]
    return sets if name == "everything" else sets + ["train.network.towers.context=[]"]


def chosen_before(part):
    """Rows of the items that each list's visitor chose before, from 0, as the feature job found them."""
    lists, offsets = np.load(part / "list_id.npy"), np.load(part / "history_offsets.npy")
    # Every item has a title and a picture, and tables are in the order of ids after the row of unknown items.
    rows, others = (np.load(part / f"history_{kind}_row.npy").astype(int) - 1 for kind in ["title", "image"])
    assert (rows >= 0).all() and (rows == others).all(), "an item without a title or a picture"
    return {list_id: rows[offsets[at] : offsets[at + 1]] for at, list_id in enumerate(lists)}


class Shop:
    """The vectors of an export, and the cold items among them."""

    def __init__(self, folder, cold):
        self.ids = np.load(folder / "item_id.npy")
        self.seeds, vectors, self.taste = (np.load(folder / f"{name}.npy") for name in ["seed", "candidate", "taste"])
        self.of_taste = json.loads((folder / "manifest.json").read_text())["taste"]
        is_cold = np.isin(self.ids, list(cold))
        self.cold_ids, self.cold, self.cold_taste = self.ids[is_cold], vectors[is_cold], self.taste[is_cold]

    def nearest(self, seed_item, chosen):
        """The TOP cold items for a page of this item and a visitor who chose these rows."""
        score = self.cold @ self.seeds[np.searchsorted(self.ids, seed_item)]
        if len(chosen):
            visitor = self.taste[chosen].sum(0) / (len(chosen) + self.of_taste["prior_events"])
            score = score + self.of_taste["weight"] * (self.cold_taste @ visitor)
        return self.cold_ids[np.argpartition(-score, TOP)[:TOP]]


def gains(labels, scores):
    """NDCG@10 of one list, ties in the order of rows."""
    order = np.argsort(-scores, kind="stable")[:10]
    discount = 1 / np.log2(np.arange(len(order)) + 2)
    ideal = np.sort(labels)[::-1][: len(order)]
    return float((labels[order] * discount).sum() / (ideal * discount).sum())


def interval(sums, weights, rng):
    """Sum of `sums` ÷ that of `weights`, each of one page, and its 95 % interval over pages."""
    means = []
    for _ in range(DRAWS):
        draw = rng.integers(0, len(sums), len(sums))
        means.append(sums[draw].sum() / weights[draw].sum())
    low, high = np.quantile(means, [0.025, 0.975])
    mean = float(sums.sum() / weights.sum())
    return {"mean": round(mean, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def shown(found):
    return f"{found['mean']:.4f} ({found['low']:.4f} to {found['high']:.4f})"


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--slate", default=str(ROOT / "target" / "release" / "slate"))
    options.add_argument("--scratch", required=True, type=pathlib.Path)
    options.add_argument("--pages", type=int, default=150_000)
    options.add_argument("--items", type=int, default=3_000)
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
    past = ",".join(f"history_{side}" for side in SIDES["both"])
    for seed in range(args.seeds):
        rest = ["--run", f"run-both-{seed}", "--data", "dataset", "--split", "test", "--without", past]
        slate("score", *rest, out=f"scores-{UNKNOWN}-{seed}.parquet")

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
    for name in [*SIDES, UNKNOWN]:
        columns = []
        for seed in range(args.seeds):
            scored = pd.read_parquet(scratch / f"scores-{name}-{seed}.parquet", columns=["list_id", "item_id", "score"])
            assert (scored["item_id"] == rows["item_id"]).all()
            columns.append(scored["score"].to_numpy())
        rows[name] = np.mean(columns, axis=0)
    truth = pd.read_parquet(scratch / "logs" / "truth.parquet", columns=["list_id", "item_id", "p_purchase_examined"])
    rows = rows.merge(truth, on=["list_id", "item_id"], validate="one_to_one")
    rng = np.random.default_rng(7)
    rows["random"] = rng.random(len(rows))
    # A cold item's own popularity is 0, so what is left is that of its category.
    rows["popularity"] = rows["item_id"].map(category).map(shown_by_category).fillna(0) + 1e-6 * rows["random"]
    rows["oracle"] = rows["p_purchase_examined"]
    only = rows[rows["item_id"].isin(cold)].reset_index(drop=True)
    systems = ["random", "popularity", *SIDES, UNKNOWN]
    found = {name: {} for name in [*systems, "oracle"]}

    groups = [page.index.to_numpy() for _, page in only.groupby("list_id", sort=True) if len(page) > 1]
    for gain, key in [("purchase", "ndcg@10, bought"), ("p_purchase_examined", "ndcg@10, truth")]:
        gained = only[gain].to_numpy(dtype=float)
        counted = [group for group in groups if gained[group].sum() > 0]
        for name, of in found.items():
            scores = only[name].to_numpy()
            sums = np.array([gains(gained[group], scores[group]) for group in counted])
            of[key] = (sums, np.ones(len(sums)))

    seeds = slots.drop_duplicates("list_id").set_index("list_id")["seed_item_id"]
    chosen = chosen_before(scratch / "dataset" / "test")
    hits = {}
    for name in [*SIDES, UNKNOWN]:
        hits[name] = np.zeros(len(only))
        for seed in range(args.seeds):
            own = "both" if name == UNKNOWN else name
            shop = Shop(scratch / f"catalogue-{own}-{seed}", cold)
            for list_id, page in only.groupby("list_id"):
                visitor = [] if name == UNKNOWN else chosen[list_id]
                near = shop.nearest(seeds[list_id], visitor)
                hits[name][page.index] += np.isin(page["item_id"], near)
        hits[name] /= args.seeds
    count = len(shop.cold_ids)
    hits["random"] = np.full(len(only), TOP / count)
    popular = items[items["item_id"].isin(cold)].assign(shown=lambda t: t["category"].map(shown_by_category).fillna(0))
    popular = set(popular.sort_values("shown", ascending=False, kind="stable")["item_id"][:TOP])
    hits["popularity"] = only["item_id"].isin(popular).to_numpy(dtype=float)
    page_of_row = only["list_id"].factorize()[0]
    for gain, key in [("purchase", "recall@20, bought"), ("p_purchase_examined", "recall@20, truth")]:
        weight = only[gain].to_numpy(dtype=float)
        weights = np.bincount(page_of_row, weight)
        for name in systems:
            found[name][key] = (np.bincount(page_of_row, weight * hits[name]), weights)

    results = {"machine": measure.machine(), "pages": args.pages, "seeds": args.seeds, "cold_items": count}
    results |= {"lists": len(groups), "purchases": int(only["purchase"].sum()), "seconds": seconds, "systems": {}}
    keys = list(found["random"])
    lines = []
    for name, of in found.items():
        results["systems"][name] = {key: interval(*pair, rng) for key, pair in of.items()}
        told = {key: shown(value) for key, value in results["systems"][name].items()}
        lines.append({"seen": name} | {key: told.get(key, "–") for key in keys})
    print(f"{len(groups)} pages, {results['purchases']} purchases of cold items, {count} cold items\n")
    print(measure.table(lines, ["seen", *keys]))
    results["differences"], lines = {}, []
    pairs = [("both", "title"), ("both", "picture"), ("both", "popularity"), ("title", "popularity")]
    pairs += [("both", UNKNOWN)]
    for name, other in [*pairs, ("picture", "popularity"), ("everything", "both")]:
        of = {}
        for key in keys:
            (sums, weights), (others, _) = found[name][key], found[other][key]
            of[key] = interval(sums - others, weights, rng)
        results["differences"][f"{name} less {other}"] = of
        lines.append({"difference": f"{name} less {other}"} | {key: shown(value) for key, value in of.items()})
    print("\n" + measure.table(lines, ["difference", *keys]))
    measure.write(HERE / "simulator.json", results)


if __name__ == "__main__":
    main()
