"""What a perfect reader of titles and pictures could gain on the simulated market.

    pip install numpy pandas pyarrow pillow
    python experiments/009-similar-items/simulator.py --slate target/release/slate --scratch DIR --pages 100000
    python experiments/009-similar-items/ceiling.py --scratch DIR

Of the log that simulator.py made. The words of a title are read as the steps they stand for, the pixels of a picture
as the numbers that drew it, and both are exact; nothing is learned of either. On a page, least squares over the
training pages put together the same category, products of the seed's style and the candidate's, and, for `visitor`,
products of the candidate's style and the mean style of what its visitor clicked before; it learns from the true log
probabilities, so what is left is what nobody could know. In retrieval, items of the seed's category come first, in the
order of the cosine of what is known of both. Metrics are those of simulator.py, by the truth.
"""

import argparse
import io
import pathlib

import numpy as np
import pandas as pd
from PIL import Image
from simulator import SPLIT, TEST_FROM, TOP, gains

WORDS = [["Dark", "Classic", "Bright"], ["Small", "Medium", "Large"], ["Vintage", "Everyday", "Modern"]]


def logit(share):
    share = np.clip(share, 1e-3, 1 - 1e-3)
    return np.log(share / (1 - share))


def of_title(title):
    """Steps of the first three dimensions."""
    words = title.split()
    return [next((at for at, word in enumerate(steps) if word in words), 1) - 1.0 for steps in WORDS]


def of_picture(data):
    """What coloured the ground and the shape, and the size of the shape."""
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(float) / 255
    ground = pixels[0, 0]
    ink = (pixels != ground).any(2)
    most, least = ground.max(), ground.min()
    # From yellow to blue red is never the only largest, so two cases are left.
    by_green = 2 + (ground[2] - ground[0]) / max(most - least, 1e-9)
    by_blue = 4 + (ground[0] - ground[1]) / max(most - least, 1e-9)
    by_red = (ground[1] - ground[2]) / max(most - least, 1e-9)
    hue = [by_red, by_green, by_blue][int(ground.argmax())] / 6
    shape = np.median(pixels[ink], 0).max() if ink.any() else 0.6
    return [
        logit((hue - 0.15) / 0.5),
        logit(((most - least) / most - 0.1) / 0.5),
        logit((shape - 0.25) / 0.7),
        np.sqrt(ink.sum()),
    ]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--scratch", required=True, type=pathlib.Path)
    logs = options.parse_args().scratch / "logs"
    items = pd.read_parquet(logs / "item.parquet", columns=["item_id", "title", "category", "start", "image"])
    category = items["category"].factorize()[0]
    title = np.array([of_title(title) for title in items["title"]])
    picture = pd.DataFrame([of_picture(data) for data in items["image"]])
    by_shape = picture.groupby(category)[3]
    picture[3] = (picture[3] - by_shape.transform("mean")) / by_shape.transform("std")
    picture = picture.to_numpy()
    styles = {"category": title[:, :0], "title": title, "picture": picture, "both": np.c_[title, picture]}

    begin = pd.Timestamp(SPLIT["valid_from"], tz="UTC")
    is_cold = (pd.to_datetime(items["start"], unit="us", utc=True) >= begin).to_numpy()
    row_of = pd.Series(np.arange(len(items)), index=items["item_id"])
    pages = pd.read_parquet(logs / "page_impression.parquet", columns=["page_id", "ts", "user_id", "seed_item_id"])
    slots = pd.read_parquet(logs / "slot_impression.parquet", columns=["page_id", "list_id", "item_id", "impression_id"])
    truth = pd.read_parquet(logs / "truth.parquet", columns=["impression_id", "p_purchase_examined", "click"])
    slots = slots.merge(pages, on="page_id").merge(truth, on="impression_id")
    slots = slots[slots["seed_item_id"].notna()].sort_values(["user_id", "ts", "list_id"]).reset_index(drop=True)
    when = pd.to_datetime(slots["ts"], unit="us", utc=True)
    item = row_of[slots["item_id"]].to_numpy()
    seed = row_of[slots["seed_item_id"].astype("int64")].to_numpy()
    gained = slots["p_purchase_examined"].to_numpy()
    train = (when < begin).to_numpy()
    test = ((when >= pd.Timestamp(TEST_FROM, tz="UTC")) & is_cold[item]).to_numpy()
    lists = slots["list_id"].to_numpy()
    target = np.log(gained + 1e-4)

    def centred(values):
        frame = pd.DataFrame(values[train])
        return (frame - frame.groupby(lists[train]).transform("mean")).to_numpy()

    def clicked_before(style):
        """Mean style of what the visitor clicked on earlier pages, drawn to 0."""
        clicked = slots["click"].to_numpy().astype(float)
        of_list = pd.DataFrame(np.c_[style[item] * clicked[:, None], clicked])
        of_list = of_list.groupby([slots["user_id"], slots["list_id"]], sort=False).sum()
        before = (of_list.groupby(level=0).cumsum() - of_list).to_numpy()
        at = of_list.index.get_indexer(pd.MultiIndex.from_frame(slots[["user_id", "list_id"]]))
        return (before[:, :-1] / (before[:, -1:] + 3))[at]

    groups = [page.index.to_numpy() for _, page in slots[test].groupby("list_id") if len(page) > 1]
    same = (category[item] == category[seed])[:, None].astype(float)
    print("| known | ndcg@10, page | ndcg@10, page and visitor | recall@20 |\n|---|---|---|---|")
    asked, of_asked = np.unique(seed[test], return_inverse=True)
    cold = np.flatnonzero(is_cold)
    for name, style in styles.items():
        told = []
        for visitor in (False, True):
            inputs = [same, style[item] * style[seed], np.eye(category.max() + 1)[category[item]]]
            if visitor:
                inputs.append(clicked_before(style) * style[item])
            inputs = np.concatenate(inputs, 1)
            of_train = centred(inputs)
            square = of_train.T @ of_train + 1e-3 * np.eye(inputs.shape[1])
            scores = inputs @ np.linalg.solve(square, of_train.T @ centred(target))[:, 0]
            told.append(np.mean([gains(gained[group], scores[group]) for group in groups]))
        known = np.c_[style, np.full(len(style), 0.5)]
        known /= np.linalg.norm(known, axis=1, keepdims=True)
        order = 3.0 * (category[cold] == category[asked][:, None]) + known[asked] @ known[cold].T
        if name == "category":
            order = order + np.random.default_rng(7).random(order.shape) * 1e-3
        nearest = cold[np.argpartition(-order, TOP, axis=1)[:, :TOP]]
        hits = (nearest[of_asked] == item[test][:, None]).any(1)
        told.append((hits * gained[test]).sum() / gained[test].sum())
        print(f"| {name} | " + " | ".join(f"{number:.4f}" for number in told) + " |", flush=True)


if __name__ == "__main__":
    main()
