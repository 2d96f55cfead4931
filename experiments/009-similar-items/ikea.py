"""Cold start on real titles and pictures: which products of data/ikea_rooms go into a room together.

    cargo build --release
    pip install lightgbm numpy pyarrow
    python datasets/fetch_weights.py minilm --out weights/minilm
    python datasets/fetch_weights.py opennsfw --out weights/opennsfw
    SLATE_SHARED=... python experiments/009-similar-items/ikea.py --weights weights [--side valid] [--frozen-only]

Rooms, not pairs, are divided into train, valid and test, and pictures of one scene stay together. The rooms become a
log: a page for each product of a room, whose list has other products of the room, bought, among sampled ones. Networks
and LightGBM learn from the pages of January (train). Networks stop by the pages of February (valid), LightGBM by the
same rankings of the whole catalogue that are judged, on the valid side: the numbers of popularity and of types differ
too much between sampled lists and the catalogue.

A query is a product of a test room, and relevant is what shares a test room with it. All other products are ranked;
`cold` ranks only products that no training room has. Intervals draw scenes of the test side anew.

`--side valid` judges on the rooms of the valid side, which rankers stop by, to choose settings; it writes no results.
`--frozen-only` leaves the networks out; with `--vectors` beside it, a folder that `slate embed` wrote, no slate is
needed.
Prints Markdown tables and writes the section `ikea` of results.json beside itself.
"""

import argparse
import dataclasses
import itertools
import json
import os
import pathlib
import re
import sys

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "harness"))
import measure  # noqa: E402

SEED = 7
FIELDS = ["name", "type", "color", "size", "desc"]

# The split.
SHARES = {"test": 0.25, "valid": 0.15}  # of the rooms, scene by scene; training has the rest
SAME_SCENE = 0.3  # Jaccard index of two rooms' products from which on they are one scene

# The pages.
POSITIVES = 8  # at most
NEGATIVES = {"uniform": 12, "popular": 12, "type": 0}  # `type`: of the seed's own type, as far as there are any
TEST_PAGES = 400  # nothing is judged on them, but a dataset has all parts
# First day and number of days; calibration is the first half of March.
MONTHS = {"train": ("2026-01-01", 31), "valid": ("2026-02-01", 28), "test": ("2026-03-01", 31)}

# The judging.
TOP_NDCG, TOP_RECALL = 10, 20
DRAWS = 2000

# The rankers.
BOOSTED = {"learning_rate": 0.05, "num_leaves": 15, "min_data_in_leaf": 50, "lambda_l2": 1.0,
           "bagging_freq": 1, "bagging_fraction": 0.9, "feature_fraction": 0.9}
ROUNDS, PATIENCE = 300, 50
VARIANTS = {"title": ["title"], "picture": ["image"], "both": ["title", "image"]}
CATEGORY = ["item_category"]  # beside the vectors in every variant; empty: vectors alone
TRAIN = """
epochs = 30
batch_lists = 64
learning_rate = 1e-3
weight_decay = 0.01
patience = 5
losses = [{ head = "purchase", loss = "softmax" }]
"""
NETWORK = """
kind = "similar"
hidden = 64
layers = 2
dropout = 0.1
"""
TOWERS = """
width = 64
shared = true
modality_dropout = 0.2
"""
IN_BATCH = """
label = "purchase"
weight = 0.5
temperature = 0.05
"""

RANDOM, POPULAR, SAME_TYPE = "random", "popularity", "same type, then popularity"
TITLE, PICTURE, BOTH = "title cosine, MiniLM", "picture cosine, opennsfw", "mean of both cosines"
TREES = "LightGBM on pairs"
NETWORKS = {variant: f"Slate, two towers, {variant}" for variant in VARIANTS}
DIFFERENCES = [(BOTH, TITLE), (TREES, BOTH), (NETWORKS["title"], TITLE), (NETWORKS["picture"], PICTURE),
               (NETWORKS["both"], BOTH), (NETWORKS["both"], TREES), (NETWORKS["both"], NETWORKS["title"]),
               (NETWORKS["both"], NETWORKS["picture"])]


@dataclasses.dataclass
class Shop:
    products: list  # a row each; its item id is the row + 1
    shown: np.ndarray  # [rooms, products]
    scene: np.ndarray  # of each room, a number
    side: np.ndarray  # of each room: train, valid or test

    def rooms(self, side):
        return self.shown[self.side == side]

    def column(self, field):
        return np.array([product[field] for product in self.products])


@dataclasses.dataclass
class Page:
    side: str
    scene: int
    seed: int
    items: np.ndarray
    bought: np.ndarray


def read_shop(folder):
    with open(folder / "items.jsonl", encoding="utf-8") as lines:
        products = [json.loads(line) for line in lines]
    rooms = sorted({room for product in products for room in product["rooms"]})
    place = {room: at for at, room in enumerate(rooms)}
    shown = np.zeros((len(rooms), len(products)), bool)
    for row, product in enumerate(products):
        shown[[place[room] for room in product["rooms"]], row] = True
    scene = scenes(rooms, shown)
    return Shop(products, shown, scene, sides(scene))


def stem(room):
    """The name of a room without the numbers in which pictures of one scene differ."""
    name = room.removesuffix(".jpg").split("__")[0]
    name = re.sub(r"(-s\d+|-?\d{6,})+$", "", name)
    return re.sub(r"^(ikea-|[a-z]+_)", "", name).strip("-. ")


def scenes(rooms, shown):
    """A number for each room, the same for rooms with one stem or much the same products, and for what these join."""
    number, stems = np.arange(len(rooms)), np.array([stem(room) for room in rooms])
    sizes, common = shown.sum(1), shown.astype(np.float32) @ shown.T.astype(np.float32)
    alike = (common >= SAME_SCENE * (sizes[:, None] + sizes - common)) | (stems[:, None] == stems)
    for a, b in zip(*np.nonzero(np.triu(alike, 1))):
        number[number == number[b]] = number[a]
    return np.unique(number, return_inverse=True)[1]


def sides(scene):
    """Scenes in a random order: the first are for testing, the next for validation."""
    side, order = np.full(len(scene), "train"), np.random.default_rng(SEED).permutation(scene.max() + 1)
    for name, share in SHARES.items():
        while (side == name).sum() < share * len(scene):
            side[scene == order[0]] = name
            order = order[1:]
    return side


def share_a_room(shown):
    """Pairs of products that some room has both of."""
    counts = shown.astype(np.float32)
    shared = counts.T @ counts > 0
    np.fill_diagonal(shared, False)
    return shared


def make_pages(shop):
    """Pages of all parts. What shares a room with the seed in training or on the page's own side is no negative."""
    rng, types, pages = np.random.default_rng(SEED), shop.column("type"), []
    known = shop.rooms("train")
    for side in MONTHS:
        seen = known if side == "train" else np.vstack([known, shop.rooms(side)])
        popularity, partners, made = seen.sum(0), share_a_room(seen), []
        for room in np.flatnonzero(shop.side == side):
            inside = np.flatnonzero(shop.shown[room])
            for seed in inside if len(inside) > 1 else []:
                others = inside[inside != seed]
                positives = rng.choice(others, min(POSITIVES, len(others)), replace=False)
                free = (popularity > 0) & ~partners[seed]
                free[seed] = False
                negatives = sample_negatives(rng, free, popularity, types == types[seed])
                items = rng.permutation(np.concatenate([positives, negatives]))
                made.append(Page(side, shop.scene[room], seed, items, np.isin(items, positives)))
        order = rng.permutation(len(made))
        pages += [made[at] for at in (order[:TEST_PAGES] if side == "test" else order)]
    return pages


def sample_negatives(rng, free, popularity, same_type):
    free, chosen = free.copy(), []
    for how, count in NEGATIVES.items():
        weights = {"uniform": free * 1.0, "popular": free * popularity, "type": free * same_type * 1.0}[how]
        count = min(count, np.count_nonzero(weights))
        if count:
            some = rng.choice(len(free), count, replace=False, p=weights / weights.sum())
            free[some] = False
            chosen.append(some)
    return np.concatenate(chosen)


def write_log(shop, pages, pictures, folder):
    """The tables of Slate's log; pictures lie in it, as their bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    micro = lambda text: int(np.datetime64(text, "us").astype(int))  # noqa: E731
    many = {side: sum(page.side == side for page in pages) for side in MONTHS}
    told, page_rows, slot_rows, event_rows = dict.fromkeys(MONTHS, 0), [], [], []
    for number, page in enumerate(pages, 1):
        first, days = MONTHS[page.side]
        ts = micro(first) + told[page.side] * days * 86_400_000_000 // many[page.side]
        told[page.side] += 1
        page_rows.append((number, ts, number, number, "product", int(page.seed) + 1))
        for slot, (item, bought) in enumerate(zip(page.items.tolist(), page.bought.tolist())):
            impression = number * 64 + slot
            slot_rows.append((impression, number, number, slot, item + 1))
            for seconds, kind in ((5, "click"), (20, "purchase")) if bought else ():
                event = len(event_rows) + 1
                event_rows.append((event, ts + seconds * 1_000_000, kind, item + 1, number, number, impression))
    read = lambda product: (pictures / product["image"]).read_bytes() if product["image"] else None  # noqa: E731
    item_rows = [(row, title_of(product), read(product), product["type"] or None)
                 for row, product in enumerate(shop.products, 1)]
    names = {
        "page_impression": ("page_id ts user_id session_id page_type seed_item_id", page_rows),
        "slot_impression": ("impression_id page_id list_id slot item_id", slot_rows),
        "event": ("event_id ts type item_id user_id session_id impression_id", event_rows),
        "item": ("item_id title image category", item_rows),
    }
    kinds = {"ts": pa.timestamp("us", "UTC"), "image": pa.binary()}
    kinds |= dict.fromkeys(["page_type", "type", "title", "category"], pa.string())
    for table, (columns, rows) in names.items():
        columns = columns.split()
        arrays = [pa.array(values, kinds.get(column, pa.int64())) for column, values in zip(columns, zip(*rows))]
        pq.write_table(pa.table(arrays, columns), folder / f"{table}.parquet")


def title_of(product):
    return " ".join(product[field] for field in FIELDS if product[field])


def cosines(vectors, part):
    """Of all pairs of products; 0 where one has no vector."""
    table = by_row(vectors, part).astype(np.float64)
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    table /= np.where(lengths > 0, lengths, 1)
    return table @ table.T


def by_row(folder, part):
    """A table of vectors in the order of the products."""
    ids, table = np.load(folder / "item_id.npy"), np.load(folder / f"{part}.npy")
    order = np.argsort(ids)
    if not np.array_equal(ids[order], np.arange(1, len(ids) + 1)):
        sys.exit(f"{folder}: the ids are not 1 to {len(ids)}")
    return table[order]


class Pairs:
    """What LightGBM learns about a seed and a candidate.

    A page's own scene would tell its labels, so popularity and types beside each other are counted without it. For a
    product that was not bought, popularity leaves out one of its own scenes instead: else 0 would mean bought.
    """

    NAMES = ["title cosine", "picture cosine", "same type", "same name", "same colour", "popularity",
             "share of the seed type's rooms", "lift of the types"]

    def __init__(self, shop, title, picture):
        self.title, self.picture = title, picture
        self.types, self.codes = np.unique(shop.column("type"), return_inverse=True)
        self.name, self.colour = shop.column("name"), shop.column("color")
        self.shown, self.scene = shop.rooms("train"), shop.scene[shop.side == "train"]
        of_type = (self.codes[:, None] == np.arange(len(self.types))).astype(np.float32)
        self.counts = (self.shown.astype(np.float32) @ of_type).astype(int)
        self.popularity = self.shown.sum(0)
        self.by_scene = np.zeros((shop.scene.max() + 1, len(shop.products)), int)
        np.add.at(self.by_scene, self.scene, self.shown)

    def features(self, seed, items, popularity, without=None):
        counts = self.counts if without is None else self.counts[self.scene != without]
        kind, kinds = self.codes[seed], self.codes[items]
        has = counts[counts[:, kind] > 0]
        beside = (has > 0).sum(0)
        beside[kind] = (has[:, kind] > 1).sum()
        # All rooms: how often a type is there in others would tell what was bought.
        expected = len(has) * (self.counts > 0).sum(0) / len(self.counts)
        colour = (self.colour[items] == self.colour[seed]) & (self.colour[seed] != "")
        return np.column_stack([
            self.title[seed, items], self.picture[seed, items], kinds == kind, self.name[items] == self.name[seed],
            colour, popularity, beside[kinds] / max(len(has), 1), ((beside + 1) / (expected + 1))[kinds],
        ])

    def of_page(self, page, rng):
        own = [page.scene if bought else self.scene[rng.choice(np.flatnonzero(self.shown[:, item]))]
               for item, bought in zip(page.items, page.bought)]
        popularity = self.popularity[page.items] - self.by_scene[own, page.items]
        return self.features(page.seed, page.items, popularity, page.scene)

    def of_query(self, seed, items=slice(None)):
        return self.features(seed, np.arange(len(self.codes))[items], self.popularity[items])


def boosted(pairs, pages, valid, queries, seeds, threads):
    """Scores of LightGBM's lambdarank for every query and product, seed by seed, and the gain of each feature."""
    rng, pages = np.random.default_rng(SEED), [page for page in pages if page.side == "train"]
    rows, labels = (np.concatenate(each) for each in zip(*((pairs.of_page(page, rng), page.bought) for page in pages)))
    train = lightgbm.Dataset(rows, labels.astype(int), group=[len(page.items) for page in pages])
    rows = np.concatenate([pairs.of_query(query, ranked) for query, ranked in zip(valid.queries, valid.ranked)])
    valid = lightgbm.Dataset(rows, valid.relevant[valid.ranked].astype(int), group=valid.ranked.sum(1), reference=train)
    fixed = {"objective": "lambdarank", "metric": "ndcg", "eval_at": [TOP_NDCG], "num_threads": threads, "verbose": -1}
    models = [lightgbm.train(fixed | BOOSTED | {"seed": seed}, train, ROUNDS, valid_sets=[valid],
                             callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)]) for seed in seeds]
    scores = np.empty((len(seeds), len(queries), len(pairs.codes)))
    for at, query in enumerate(queries):
        scores[:, at] = [model.predict(pairs.of_query(query), num_threads=threads) for model in models]
    gains = np.mean([model.feature_importance("gain") for model in models], axis=0)
    told = {"trees": [model.best_iteration for model in models]}
    return scores, told | {"gain": dict(zip(pairs.NAMES, (gains / gains.sum()).round(4).tolist()))}


def config(variant, vectors):
    """The configuration of a variant: each table of vectors for the candidate and for the page's own item."""
    seeds = [f"seed_{name.removeprefix('item_')}" for name in CATEGORY]
    columns = ", ".join(f'{{ column = "{column}" }}' for column in CATEGORY)
    alike = ", ".join(f'{{ column = "{seed}", to = "{column}" }}' for seed, column in zip(seeds, CATEGORY))
    text = f"""format = 1
seed = {SEED}
[attribution]
click_minutes = 30
purchase_days = 30
history_days = []
label_as_of = "2026-06-01"
[split]
valid_from = "2026-02-01"
calibrate_from = "2026-03-01"
test_from = "2026-03-16"
[features]
categorical = [{columns}]
alike = [{alike}]
"""
    for part in VARIANTS[variant]:
        for name, column in ((part, "item_id"), (f"seed_{part}", "seed_item_id")):
            text += f'[[features.embedding]]\nname = "{name}"\ncolumn = "{column}"\n'
            text += f'path = "{vectors / part}.npy"\nids = "{vectors}/item_id.npy"\n'
    towers = {"seed": [f"seed_{part}" for part in VARIANTS[variant]] + seeds,
              "candidate": VARIANTS[variant] + CATEGORY}
    named = "".join(f"{key} = {json.dumps(names)}\n" for key, names in towers.items())
    text += f"[train]{TRAIN}[train.network]{NETWORK}[train.network.towers]{TOWERS}{named}[train.in_batch]{IN_BATCH}"
    return text


class Slate:
    def __init__(self, program, threads):
        self.program, self.threads = str(program), str(threads)

    def __call__(self, *words):
        told = measure.run([self.program, *map(str, words), "--threads", self.threads, "-q", "--json"])
        return json.loads(told["stdout"])

    def embed(self, log, weights, work):
        path, out = work / "embed.toml", work / "vectors"
        path.write_text("format = 1\n")
        self("embed", "-c", path, "--items", log / "item.parquet", "--out", out,
             "--title", weights / "minilm", "--image", weights / "opennsfw")
        return out

    def towers(self, variant, log, vectors, queries, seeds, work):
        """Scores of trained networks for every query and product, seed by seed."""
        path, data, scores = work / f"{variant}.toml", work / f"{variant}-dataset", []
        path.write_text(config(variant, vectors))
        self("features", "-c", path, "--logs", log, "--out", data, "--force")
        for seed in seeds:
            run, out = work / f"{variant}-run-{seed}", work / f"{variant}-export-{seed}"
            self("train", "-c", path, "--data", data, "--out", run, "--seed", seed, "--force")
            self("similar", "export", "-c", path, "--run", run, "--items", log, "--out", out, "--force")
            seed_side, candidate_side = (by_row(out, part).astype(np.float64) for part in ("seed", "candidate"))
            scores.append(seed_side[queries] @ candidate_side.T)
        return np.stack(scores)


def judge(scores, relevant, ranked):
    """NDCG and recall of each query, `[queries, 2]`; equal scores share the mean over their orders.

    Of `ranked` products `relevant` ones gain 1, and at least one is there; discounts are 1 / log2(rank + 1).
    """
    most, values = scores.shape[1], np.empty((len(scores), 2))
    discounts = 1 / np.log2(np.arange(2, most + 2)) * (np.arange(most) < TOP_NDCG)
    ndcg, recall = (np.r_[0, np.cumsum(each)] for each in (discounts, np.arange(most) < TOP_RECALL))
    for at in range(len(scores)):
        ordered, mine = np.sort(scores[at, ranked[at]]), scores[at, relevant[at]]
        to, above = (len(ordered) - np.searchsorted(ordered, mine, end) for end in ("left", "right"))
        gain, found = (((summed[to] - summed[above]) / (to - above)).sum() for summed in (ndcg, recall))
        values[at] = gain / ndcg[len(mine)], found / len(mine)
    return values


def check_judge():
    """`judge` beside a loop over all orders of a few products with ties."""
    rng = np.random.default_rng(SEED)
    for _ in range(20):
        scores, relevant = rng.integers(0, 3, 6), rng.random(6) < 0.4
        relevant[rng.integers(6)] = True
        orders = [order for order in itertools.permutations(range(6)) if (np.diff(scores[list(order)]) <= 0).all()]
        gains = [sum(relevant[item] / np.log2(rank + 2) for rank, item in enumerate(order)) for order in orders]
        ideal = sum(1 / np.log2(rank + 2) for rank in range(relevant.sum()))
        value = judge(scores[None], relevant[None], np.ones((1, 6), bool))[0]
        assert np.allclose(value, [np.mean(gains) / ideal, 1.0]), (value, scores, relevant)
    # Of 40 equal products 20 are relevant: on the mean half of the first 10, and 10 of the first 20.
    value = judge(np.zeros((1, 40)), np.arange(40)[None] < 20, np.ones((1, 40), bool))[0]
    assert np.allclose(value, [0.5, 0.5]), value


class Task:
    """Queries, what is relevant to each, what is ranked, and how the scenes are drawn anew."""

    def __init__(self, shop, side, cold):
        rooms, unseen = shop.rooms(side), ~shop.rooms("train").any(0)
        ranked = np.ones(len(shop.products), bool) if not cold else unseen
        relevant = share_a_room(rooms) & ranked
        self.queries = np.flatnonzero(relevant.any(1))
        self.relevant = relevant[self.queries]
        self.ranked = np.tile(ranked, (len(self.queries), 1))
        self.ranked[np.arange(len(self.queries)), self.queries] = False
        # A query belongs in equal parts to the scenes it is in.
        numbers, scene = np.unique(shop.scene[shop.side == side], return_inverse=True)
        belongs = np.zeros((len(self.queries), len(numbers)))
        np.maximum.at(belongs.T, scene, rooms[:, self.queries])
        self.belongs = belongs / belongs.sum(1, keepdims=True)
        drawn = np.random.default_rng(SEED).multinomial(len(numbers), np.full(len(numbers), 1 / len(numbers)), DRAWS)
        self.drawn = drawn @ self.belongs.T

    def values(self, scores, queries):
        """Of scores `[seeds, queries, products]`, whose queries are these: `[seeds, own queries, 2]`."""
        rows = np.searchsorted(queries, self.queries)
        return np.stack([judge(each[rows], self.relevant, self.ranked) for each in scores])

    def interval(self, values):
        """Mean over seeds and queries of one metric, and its 95 % interval over scenes."""
        values = values.mean(0)
        low, high = np.quantile(self.drawn @ values / self.drawn.sum(1), [0.025, 0.975])
        return {"value": float(values.mean()), "low": float(low), "high": float(high)}


def tables(tasks, queries, systems):
    """Results of every system and the paired differences, as numbers and as Markdown."""
    told, rows, apart = {}, {name: {"ranker": name} for name in systems}, []
    metrics = [f"NDCG@{TOP_NDCG}", f"recall@{TOP_RECALL}"]
    for task_name, task in tasks.items():
        values = {name: task.values(scores, queries) for name, scores in systems.items()}
        told[task_name] = {"queries": len(task.queries), "relevant": float(task.relevant.sum(1).mean())}
        told[task_name] |= {"rankers": {name: {} for name in systems}, "differences": []}
        for name, each in values.items():
            for at, metric in enumerate(metrics):
                found = task.interval(each[..., at])
                found["by_seed"] = each[..., at].mean(1).tolist()
                told[task_name]["rankers"][name][metric] = found
                spread = f" ± {np.std(found['by_seed'], ddof=1):.3f}" if len(each) > 1 else ""
                rows[name][f"{task_name} {metric}"] = "{value:.3f} [{low:.3f}, {high:.3f}]".format(**found) + spread
        for name, beside in DIFFERENCES:
            if name not in values or beside not in values:
                continue
            line = {"difference": f"{name} − {beside}", "task": task_name}
            # Means over seeds, because seeds of two rankers are not pairs.
            apart_by = values[name].mean(0, keepdims=True) - values[beside].mean(0, keepdims=True)
            for at, metric in enumerate(metrics):
                found = task.interval(apart_by[..., at])
                told[task_name]["differences"].append({"of": name, "from": beside, "metric": metric} | found)
                line[metric] = "{value:+.3f} [{low:+.3f}, {high:+.3f}]".format(**found)
            apart.append(line)
    rows = list(rows.values())
    return told, "\n\n".join(measure.table(each, list(each[0])) for each in (rows, apart) if each)


def describe(shop, pages):
    """Numbers of each side."""
    rows, known, seen = [], share_a_room(shop.rooms("train")), shop.rooms("train").any(0)
    for side in MONTHS:
        rooms = shop.rooms(side)
        pairs, own = share_a_room(rooms), [page for page in pages if page.side == side]
        rows.append({
            "side": side, "rooms": len(rooms), "scenes": len(set(shop.scene[shop.side == side].tolist())),
            "products": int(rooms.any(0).sum()), "in no training room": int((rooms.any(0) & ~seen).sum()),
            "pairs": int(pairs.sum()) // 2, "also a training pair": int((pairs & known).sum()) // 2,
            "pages": len(own), "slots": sum(len(page.items) for page in own),
            "bought": int(sum(page.bought.sum() for page in own)),
        })
    return rows


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--slate", type=pathlib.Path, default=ROOT / "target/release/slate")
    options.add_argument("--weights", type=pathlib.Path, default=ROOT / "weights", help="folder of minilm and opennsfw")
    options.add_argument("--vectors", type=pathlib.Path, help="what `slate embed` wrote before, for the same items")
    options.add_argument("--shared", type=pathlib.Path, default=os.environ.get("SLATE_SHARED"))
    options.add_argument("--work", type=pathlib.Path, default="/tmp/009-ikea")
    options.add_argument("--results", type=pathlib.Path, default=HERE / "results.json")
    options.add_argument("--side", choices=["valid", "test"], default="test")
    options.add_argument("--variants", default=",".join(VARIANTS))
    options.add_argument("--seeds", type=int, default=3, help="trainings of each ranker that learns")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--frozen-only", action="store_true", help="without the networks")
    args = options.parse_args()
    if not args.shared:
        options.error("set SLATE_SHARED or --shared")
    variants = [] if args.frozen_only else args.variants.split(",")
    if unknown := set(variants) - set(VARIANTS):
        options.error(f"--variants {', '.join(sorted(unknown))}, expected some of {', '.join(VARIANTS)}")
    if not (args.slate.exists() or (args.frozen_only and args.vectors)):
        options.error(f"there is no {args.slate}: build it, or pass --frozen-only and --vectors")

    check_judge()
    pictures, work, seeds = args.shared / "data/ikea_rooms", args.work.resolve(), range(1, args.seeds + 1)
    shop, slate, log = read_shop(pictures), Slate(args.slate, args.threads), work / "log"
    pages = make_pages(shop)
    write_log(shop, pages, pictures, log)
    split = describe(shop, pages)
    print(measure.table(split, list(split[0])), "\n", flush=True)

    vectors = (args.vectors or slate.embed(log, args.weights, work)).resolve() / "items"
    title, picture = cosines(vectors, "title"), cosines(vectors, "image")
    tasks = {"all": Task(shop, args.side, cold=False), "cold": Task(shop, args.side, cold=True)}
    queries, types = tasks["all"].queries, shop.column("type")
    popular = np.broadcast_to(shop.rooms("train").sum(0).astype(float), (len(queries), len(types)))
    same = types[queries][:, None] == types
    systems = {RANDOM: np.zeros(popular.shape), POPULAR: popular, SAME_TYPE: popular + same * (popular.max() + 1)}
    systems |= {TITLE: title[queries], PICTURE: picture[queries], BOTH: (title[queries] + picture[queries]) / 2}
    systems = {name: scores[None] for name, scores in systems.items()}
    systems[TREES], trees = boosted(Pairs(shop, title, picture), pages, Task(shop, "valid", cold=False), queries, seeds,
                                    args.threads)
    for variant in variants:
        systems[NETWORKS[variant]] = slate.towers(variant, log, vectors, queries, seeds, work)

    told, text = tables(tasks, queries, systems)
    counts = [told[name]["queries"] for name in tasks]
    print("{} side: {:,} queries, {:,} with something cold to find\n".format(args.side, *counts))
    print(f"{text}\n")
    print(f"LightGBM: {json.dumps(trees)}")
    if args.side == "test":
        results = json.loads(args.results.read_text()) if args.results.exists() else {}
        found = {"machine": measure.machine(), "threads": args.threads, "seeds": args.seeds, "split": split}
        results["ikea"] = measure.short(found | {"tasks": told, "LightGBM": trees})
        measure.write(args.results, results)


main()
