"""`slate embed` on a card: the processor's vectors, and how fast beside PyTorch on the same card.

    cargo build --release --features embed-cuda
    pip install torch torchvision transformers sentence-transformers safetensors "pillow<13" numpy
    SLATE_SHARED=... python experiments/008-embeddings/card.py --weights weights --device cuda:0

Titles go through MiniLM (`datasets/fetch_weights.py minilm`), photos of data/ikea_rooms through torchvision's residual
networks with random weights. Vectors of the card are held to those of the processor and of PyTorch on the card, in full
precision on both sides. Rates count cutting titles into tokens, decoding and sizing photos, and no loading: Slate's run
on one item is taken off its run on all. Prints Markdown tables.
"""

import argparse
import os
import pathlib
import statistics
import sys

import run


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--shared", default=os.environ.get("SLATE_SHARED"), type=pathlib.Path)
    options.add_argument("--slate", default=str(run.ROOT / "target" / "release" / "slate"))
    options.add_argument("--weights", required=True, type=pathlib.Path)
    options.add_argument("--scratch", required=True, type=pathlib.Path)
    options.add_argument("--device", default="cuda:0")
    options.add_argument("--threads", type=int, default=os.cpu_count())
    options.add_argument("--titles", type=int, default=20_000)
    options.add_argument("--photos", type=int, default=600)
    options.add_argument("--rounds", type=int, default=3)
    args = options.parse_args()
    works = Works(args)
    works.titles()
    for name in run.RESNETS:
        works.photos(name)
    for rows in (works.vectors, works.rates):
        print(run.measure.table(rows, list(rows[0])), end="\n\n")


class Works:
    """What is embedded on both sides, and what came out."""

    def __init__(self, args):
        self.bench, self.args, self.vectors, self.rates = run.Bench(args), args, [], []
        where = {"shared": self.bench.shared, "scratch": self.bench.scratch}
        self.made = run.step(run.make_products, **where, photos=args.photos, few=24)
        run.step(run.make_networks, **where, threads=args.threads)
        run.step(run.make_titles, shared=self.bench.shared, out=self.bench.items("titles"), count=args.titles)
        self.theirs = self.bench.scratch / "theirs.npy"
        self.peer = {"threads": args.threads, "out": self.theirs, "device": args.device}

    def titles(self):
        bench = self.bench

        def ours(device, items, count, out):
            bench.device = device
            return bench.embed(items, {"title": count}, title=bench.minilm, out=out)

        def peer(items):
            files = {"weights": bench.minilm, "items": bench.items(items)}
            return run.step(run.peer_titles, peer="sentence-transformers", **files, **self.peer)

        self.held("titles, MiniLM", "title", ours, peer, ("all", self.made["products"]))
        self.timed("titles, MiniLM", ours, peer, ("titles", self.args.titles))

    def photos(self, name):
        bench, network = self.bench, self.bench.scratch / name
        folder = lambda items: bench.scratch if items == "png" else bench.photos

        def ours(device, items, count, out):
            bench.device = device
            how = {"normalize": False, "pictures": folder(items), "out": out}
            return bench.embed(items, {"image": count}, image=network, **how)

        def peer(items):
            files = {"items": bench.items(items), "pictures": folder(items), "scratch": bench.scratch}
            return run.step(run.torch_pictures, name=name, pool=True, **files, **self.peer)

        self.held(f"photos as PNG, {name}", "image", ours, peer, ("png", self.made["few"]))
        self.timed(f"photos, {name}", ours, peer, ("photos", self.made["photos"]))

    def held(self, what, part, ours, peer, items):
        """The card's vectors beside the processor's, and beside the peer's."""
        card, processor = (ours(device, *items, f"{part}-{device[:3]}") for device in (self.args.device, "cpu"))
        peer(items[0])
        others = {"slate, processor": processor["folder"] / f"items/{part}.npy", "PyTorch, card": self.theirs}
        for beside, theirs in others.items():
            told = run.step(run.compare, ours=card["folder"] / f"items/{part}.npy", theirs=theirs)
            row = {"vectors": what, "beside": beside, "items": f"{told['items']:,}"}
            row |= {"largest difference": f"{told['max_abs']:.1e}", "of the largest number": f"{told['relative']:.1e}"}
            self.vectors.append(row | {"smallest cosine": f"{told['cosine_min']:.9f}"})
            print(self.vectors[-1], file=sys.stderr)

    def timed(self, what, ours, peer, items):
        found = {"card": [], "processor": [], "peer": []}
        for number in range(self.args.rounds):
            # The processor stands beside them for scale, once.
            sides = {"card": self.args.device} | ({} if number else {"processor": "cpu"})
            for side, device in sides.items():
                one = ours(device, "one", 1, "one")["wall_s"]
                found[side].append(ours(device, *items, "rate")["wall_s"] - one)
            found["peer"].append(peer(items[0])["seconds"])
            print(f"round {number + 1} of {self.args.rounds}: {what} {found}", file=sys.stderr)
        rate = {side: f"{items[1] / statistics.median(seconds):,.0f}" for side, seconds in found.items()}
        ratios = [theirs / own for own, theirs in zip(found["card"], found["peer"])]
        row = {"a second": what, "slate, card": rate["card"], "PyTorch, card": rate["peer"]}
        row |= {"ratio": f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"}
        self.rates.append(row | {f"slate, {self.args.threads} cores": rate["processor"]})


if __name__ == "__main__":
    main()
