"""Encoders and search beside PyTorch and NumPy, without a program around them: alternating runs, 2 threads.

    cargo build --release -p slate-embed --example speed
    pip install torch torchvision transformers sentence-transformers safetensors "pillow<13" numpy
    python experiments/008-embeddings/speed.py --shared $SLATE_SHARED --minilm weights/minilm --rounds 3

Titles and photos are those of data/ikea_rooms; the residual networks are torchvision's with random weights, which
Slate reads from a file that this writes. Loading is not timed on either side; cutting titles into tokens, decoding and
sizing photos are. Sums of all vectors are printed beside each other. Prints Markdown tables.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def sentence_transformers(folder, texts):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu")
    model.encode(texts[:64])
    began = time.perf_counter()
    vectors = model.encode(texts, batch_size=32)
    return len(texts) / (time.perf_counter() - began), float(vectors.sum())


def batches_of_32(folder, texts):
    """What a user of transformers writes: batches in the order of the file, padded to the longest."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def encode(texts):
        total = 0.0
        for at in range(0, len(texts), 32):
            given = tokenizer(texts[at : at + 32], padding=True, truncation=True, max_length=256, return_tensors="pt")
            states, real = model(**given).last_hidden_state, given["attention_mask"].unsqueeze(-1).float()
            vectors = torch.nn.functional.normalize((states * real).sum(1) / real.sum(1))
            total += float(vectors.sum())
        return total

    encode(texts[:64])
    began = time.perf_counter()
    total = encode(texts)
    return len(texts) / (time.perf_counter() - began), total


def torchvision(name, weights, root, names):
    """Photos a second: all, and the network alone."""
    from concurrent.futures import ThreadPoolExecutor

    import torch
    import torchvision
    from PIL import Image
    from safetensors.torch import load_file
    from torchvision import transforms

    model = getattr(torchvision.models, name)()
    model.load_state_dict(load_file(weights))
    model.fc = torch.nn.Identity()
    model.eval()
    norm = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    size = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), norm])
    load = lambda name: size(Image.open(Path(root) / name).convert("RGB"))
    with torch.inference_mode(), ThreadPoolExecutor(2) as pool:
        model(torch.stack([load(name) for name in names[:16]]))
        began = time.perf_counter()
        photos = list(pool.map(load, names))
        loaded = time.perf_counter()
        total = sum(float(model(torch.stack(photos[at : at + 16])).sum()) for at in range(0, len(names), 16))
        done = time.perf_counter()
    return len(names) / (done - began), total, len(names) / (done - loaded)


def numpy_search(path):
    """Milliseconds of a query for its 20 nearest; the last row found."""
    import numpy as np

    table, times = np.load(path, mmap_mode="r"), []
    for query in range(20):
        began = time.perf_counter()
        scores = table @ table[query * 1000]
        best = np.argpartition(-scores, 20)[:20]
        best = best[np.lexsort((best, -scores[best]))]
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times), int(best[19])


def peer(*arguments):
    """This file in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--peer", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--shared", type=Path, required=True)
    options.add_argument("--minilm", required=True, help="the folder that datasets/fetch_weights.py makes")
    options.add_argument("--slate", default=ROOT / "target/release/examples/speed")
    options.add_argument("--scratch", type=Path, default=Path("/tmp/008-speed"))
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--photos", type=int, default=256)
    args = options.parse_args()
    os.environ |= {"RAYON_NUM_THREADS": "2", "OMP_NUM_THREADS": "2", "TOKENIZERS_PARALLELISM": "true"}
    args.scratch.mkdir(parents=True, exist_ok=True)
    ikea = args.shared / "data/ikea_rooms"
    items = [json.loads(line) for line in (ikea / "items.jsonl").read_text().splitlines()]
    titles, photos = args.scratch / "titles.txt", args.scratch / "photos.txt"
    fields = ["name", "type", "color", "size", "desc"]
    titles.write_text("\n".join(" ".join(item[field] for field in fields if item[field]) for item in items))
    photos.write_text("\n".join([item["image"] for item in items if item.get("image")][: args.photos]))

    def slate(*arguments):
        run = subprocess.run([args.slate, *map(str, arguments)], capture_output=True, text=True, check=True)
        return json.loads(run.stdout.splitlines()[0])

    def table(what, rounds, faster=lambda ours, theirs: ours / theirs):
        """Rounds are (ours, theirs) with their sums."""
        print(f"| {what} | " + " | ".join(f"{statistics.median(side):,.1f}" for side in zip(*rounds)), end=" | ")
        ratios = [faster(*pair) for pair in rounds]
        print(" ".join(f"{ratio:.2f}" for ratio in ratios), f"| {statistics.median(ratios):.2f} |", flush=True)

    print("| work | slate | peer | ratio, rounds | median |\n|---|---|---|---|---|")
    found = {"sentence-transformers": [], "batches of 32": []}
    for _ in range(args.rounds):
        ours = slate("titles", args.minilm, titles)
        for name in found:
            rate, total = peer(name, args.minilm, titles)
            found[name].append((ours["per_second"], rate))
            print(f"sums: {ours['sum']:.4f} {total:.4f}", file=sys.stderr)
    for name, rounds in found.items():
        table(f"titles a second, {name}", rounds)
    for name in ("resnet18", "resnet50"):
        folder = args.scratch / name
        peer("weights", name, folder)
        rounds, alone = [], []
        for _ in range(args.rounds):
            ours = slate("pictures", folder, ikea, photos)
            rate, total, network = peer(name, folder / "model.safetensors", ikea, photos)
            rounds.append((ours["per_second"], rate))
            alone.append((ours["per_second"], network))
            print(f"sums: {ours['sum']:.1f} {total:.1f}", file=sys.stderr)
        table(f"photos a second, {name}", rounds)
        table("the same, PyTorch's network alone", alone)
    vectors = args.scratch / "vectors.npy"
    peer("vectors", vectors)
    rounds = []
    for _ in range(args.rounds):
        ours, (theirs, last) = slate("search", vectors), peer("search", vectors)
        rounds.append((ours["ms"], theirs))
        if ours["last"] != last:
            sys.exit(f"slate finds row {ours['last']}, NumPy {last}")
    table("ms for the 20 nearest of 1M × 256", rounds, lambda ours, theirs: theirs / ours)


def as_peer(kind, *arguments):
    if kind == "search":
        return numpy_search(*arguments)
    if kind == "vectors":
        import numpy as np

        vectors = np.random.default_rng(1).standard_normal((1_000_000, 256), np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.save(arguments[0], vectors)
    import torch

    torch.set_num_threads(2)
    if kind == "weights":
        import torchvision as tv
        from safetensors.torch import save_file

        torch.manual_seed(0)
        folder = Path(arguments[1])
        folder.mkdir(parents=True, exist_ok=True)
        return save_file(getattr(tv.models, arguments[0])().state_dict(), folder / "model.safetensors")
    if kind.startswith("resnet"):
        weights, root, names = arguments
        return torchvision(kind, weights, root, Path(names).read_text().splitlines())
    texts = Path(arguments[1]).read_text().splitlines()
    return {"sentence-transformers": sentence_transformers, "batches of 32": batches_of_32}[kind](arguments[0], texts)


if len(sys.argv) > 1 and sys.argv[1] == "--peer":
    print(json.dumps(as_peer(*sys.argv[2:])))
else:
    main()
