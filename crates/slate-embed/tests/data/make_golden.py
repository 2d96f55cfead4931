"""Makes the folders beside it: small random encoders, pictures, and what PyTorch and Pillow make of them.

    python make_golden.py [FOLDER]
    # torch 2.15.0, torchvision 0.29.2, transformers 5.24.0, tokenizers 0.23.3, safetensors 0.8.0, pillow 13.0.0

- tiny_bert, tiny_distilbert: Hugging Face folders, the ids and embeddings of some texts. The tokenizer of the second
  has truncation and padding to 16 baked in, as real folders have, which its reader must override.
- tiny_resnet: torchvision's ResNets with few channels, pictures, their tensors after torchvision's preprocessing, and
  the pooled features. `drawing.png` is what Pillow reads of `drawing.jpg`; JPEG decoders differ by a level or two.
- pictures: files of many kinds, broken ones among them, and what Pillow reads of each.

Networks run in float64 on their float32 weights.
"""

import hashlib
import io
import json
import re
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import nn
from torchvision import transforms
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel

OUT = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent)
LENGTH = 64

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["sofa", "table", "lamp", "chair", "bed", "the", "for", "and", "with", "white", "black", "oak", "wood", "light",
         "##s", "##ing", "##er", "##able", "##board", "##light", "cup", "shelf"]
VOCABULARY = list(dict.fromkeys([
    *SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS), *"0123456789", *(f"##{d}" for d in range(10)),
    *".,-!?()':/&%$", *WORDS]))
TEXTS = [
    "",
    "sofa",
    "Crème brûlée Café ÅNGSTRÖM lamp",
    "The white SOFAS, (2-seat) for $1,299.95: it's 50% wood & oak!",
    "日本 sofa 🛋️ straße ﬁne № chair",
    "  tables\twith\nshelfboard   and so\u200bfa\u0000 ",
    "z" * 101 + " cup " + "z" * 100,
    "lamp [MASK] bed [SEP] 'chair'",
    " ".join(f"{WORDS[i % 14]} {i}" for i in range(60)),
]


def numbers(tensor):
    """Nested lists of eight digits."""
    if tensor.ndim:
        return [numbers(part) for part in tensor]
    return float(f"{float(tensor):.8g}")


def write_json(path, value):
    """Indented, with each list of numbers on one line."""
    text = json.dumps(value, ensure_ascii=False, indent=1)
    text = re.sub(r"\[\s+([-+.,\de\s]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)
    path.write_text(text + "\n", encoding="utf-8")


def shake(network, scale):
    """Moves every parameter, so that no bias is zero and no scale is one."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn_like(parameter))


# Text


def tokenizer():
    made = Tokenizer(models.WordPiece({token: i for i, token in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    made.add_special_tokens(SPECIAL)
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(token, made.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends)
    made.decoder = decoders.WordPiece()
    return made


def text_case(name, network, baked):
    folder = OUT / name
    shake(network, 0.1)
    network.eval().save_pretrained(folder)
    words = tokenizer()
    if baked:
        words.enable_truncation(16)
        words.enable_padding(length=16)
    words.save(str(folder / "tokenizer.json"))

    words.enable_truncation(LENGTH)
    words.enable_padding()
    batch = words.encode_batch(TEXTS)
    ids = torch.tensor([row.ids for row in batch])
    mask = torch.tensor([row.attention_mask for row in batch])
    with torch.no_grad():
        hidden = network.double()(input_ids=ids, attention_mask=mask).last_hidden_state
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    rows = zip(TEXTS, ids, mask, mean, F.normalize(mean), hidden[:, 0])
    write_json(folder / "expected.json", {"max_length": LENGTH, "texts": [
        {"text": text, "ids": row[: int(real.sum())].tolist(), "mean": numbers(pooled), "normalized": numbers(unit),
         "cls": numbers(first)}
        for text, row, real, pooled, unit, first in rows]})


def texts():
    torch.manual_seed(1)
    text_case("tiny_bert", BertModel(BertConfig(
        vocab_size=len(VOCABULARY), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=LENGTH, hidden_act="gelu", initializer_range=0.15)), baked=False)
    torch.manual_seed(2)
    text_case("tiny_distilbert", DistilBertModel(DistilBertConfig(
        vocab_size=len(VOCABULARY), dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=LENGTH,
        activation="gelu", initializer_range=0.15)), baked=True)


# Pictures


def drawing(width, height, noise, seed):
    """Stripes, a disc and a fine grid over a gradient, uint8 [height, width, 3]."""
    y, x = np.mgrid[0:height, 0:width]
    picture = np.stack([x * 255 / width, y * 255 / height, 255 - (x + y) * 255 / (width + height)], axis=-1)
    picture[(x + 2 * y) // 11 % 3 == 0] *= 0.6
    picture[(x - 0.4 * width) ** 2 + (y - 0.6 * height) ** 2 < (0.25 * min(width, height)) ** 2] = (230, 40, 60)
    corner = (x > 0.7 * width) & (y < 0.3 * height)
    picture[corner & ((x + y) % 2 == 0)] = (250, 250, 240)
    picture[corner & ((x + y) % 2 == 1)] = (10, 20, 30)
    picture += noise * np.random.default_rng(seed).standard_normal(picture.shape)
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def flat(width, height):
    """Few colours and long runs, which PNG packs well at any size."""
    y, x = np.mgrid[0:height, 0:width]
    picture = np.full((height, width, 3), (240, 235, 220), np.uint8)
    picture[x // 3 % 7 == 0] = (30, 90, 160)
    picture[(y // 5 % 4 == 0) & (x > width // 2)] = (200, 60, 20)
    picture[(x + y) % 40 < 3] = (0, 0, 0)
    picture[(x - width / 3) ** 2 + (y - height / 2) ** 2 < (height / 4) ** 2] = (90, 200, 110)
    return picture


def encode(pixels, form, **options):
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png(width, height, bits, colour, rows):
    """A PNG written by hand, for what Pillow does not write; `rows` are its bytes before filters."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packed = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def inks(pixels):
    """Cyan, magenta, yellow and as much black as goes, uint8."""
    light = pixels.max(-1, keepdims=True).astype(np.float64)
    colour = 255 * (1 - pixels / np.maximum(light, 1))
    return np.concatenate([colour, 255 - light], -1).round().astype(np.uint8)


def picture_files():
    colours = drawing(48, 36, 4, 10)
    shade = Image.fromarray(colours).convert("L")
    wide = colours.astype(np.uint32) * 257 + 60
    alpha = np.broadcast_to(np.linspace(0, 255, 48).round().astype(np.uint8), (36, 48))
    faded = np.dstack([colours, alpha])
    palette = Image.fromarray(colours).quantize(16)
    frames = [Image.fromarray(np.roll(colours, 9 * i, axis=1)).quantize(64) for i in range(3)]
    jpeg = encode(colours, "JPEG", quality=85)
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "rgb.jpg": jpeg,
        "progressive.jpg": encode(colours, "JPEG", quality=85, progressive=True),
        "gray.jpg": encode(shade, "JPEG", quality=85),
        "cmyk.jpg": encode(Image.fromarray(inks(colours), "CMYK"), "JPEG", quality=85),
        "orientation6.jpg": encode(colours, "JPEG", quality=85, exif=turned),
        "gray16.png": png(48, 36, 16, 0, [row.astype(">u2").tobytes() for row in np.clip(wide, 0, 65535)[..., 1]]),
        "rgb16.png": png(48, 36, 16, 2, [row.astype(">u2").tobytes() for row in np.clip(wide, 0, 65535)]),
        "rgba.png": encode(faded, "PNG"),
        "gray_alpha.png": encode(Image.merge("LA", [shade, Image.fromarray(alpha.copy())]), "PNG"),
        "palette.png": encode(palette, "PNG"),
        "palette_transparent.png": encode(palette, "PNG", transparency=0),
        "one_bit.png": encode(shade.convert("1"), "PNG"),
        "lossy.webp": encode(colours, "WEBP", quality=85),
        "lossless.webp": encode(colours, "WEBP", lossless=True),
        "animated.gif": encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100, loop=0),
        "plain.bmp": encode(colours, "BMP"),
        "one_pixel.png": encode(colours[:1, :1], "PNG"),
        "png_named.jpg": encode(colours, "PNG"),
        "truncated.jpg": jpeg[: len(jpeg) * 6 // 10],
        "empty.jpg": b"",
        "text.jpg": b"<html><body>404 Not Found</body></html>\n",
        "bomb.png": png(60000, 60000, 8, 2, [bytes(180001)] * 2),
    }


def rgb_mean(image):
    return numbers(np.asarray(image, np.float64).mean((0, 1)))


def described(data):
    """What Pillow makes of a file: of an animation, its first frame; of what it refuses, the exception."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            image = Image.open(io.BytesIO(data))
            found = {"format": image.format, "mode": image.mode, "size": list(image.size),
                     "frames": getattr(image, "n_frames", 1), "rgb_mean": rgb_mean(image.convert("RGB"))}
    except Exception as error:
        return {"error": type(error).__name__}
    if "A" in image.mode or "transparency" in image.info:
        over = image.convert("RGBA")
        white = Image.new("RGBA", over.size, "white")
        found["rgb_mean_on_white"] = rgb_mean(Image.alpha_composite(white, over).convert("RGB"))
    return found


def pictures():
    folder = OUT / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    files = picture_files()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    write_json(folder / "expected.json", {name: described(data) for name, data in files.items()})


# ResNets


class Small(ResNet):
    """torchvision's ResNet with few channels: its blocks, its layers and its forward pass."""

    def __init__(self, block, layers, planes=(4, 8, 8, 16), classes=5):
        nn.Module.__init__(self)
        self._norm_layer, self.inplanes = nn.BatchNorm2d, planes[0]
        self.dilation, self.groups, self.base_width = 1, 1, 64
        self.conv1 = nn.Conv2d(3, planes[0], kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(planes[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._make_layer(block, planes[0], layers[0])
        self.layer2 = self._make_layer(block, planes[1], layers[1], stride=2)
        self.layer3 = self._make_layer(block, planes[2], layers[2], stride=2)
        self.layer4 = self._make_layer(block, planes[3], layers[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(planes[3] * block.expansion, classes)


def features(network, batch):
    fc, network.fc = network.fc, nn.Identity()
    with torch.no_grad():
        pooled = network(batch)
    network.fc = fc
    return pooled


def random_resnet(block, layers, seed):
    """After a few training batches, whose channels differ in mean and spread."""
    torch.manual_seed(seed)
    network = Small(block, layers)
    shake(network, 0.1)
    with torch.no_grad():
        for _ in range(4):
            network.train()(torch.randn(4, 3, 64, 64) * torch.rand(3, 1, 1) + torch.randn(3, 1, 1))
    return network.eval()


EVALUATION = transforms.Compose([
    transforms.Resize(256),
    transforms.CenterCrop(224),
    transforms.ToTensor(),
    transforms.Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
])
POSITIONS = [(0, 0, 0), (1, 0, 223), (2, 223, 0), (0, 223, 223), (1, 112, 112)] + [
    (i % 3, 37 * i % 224, (101 * i + 13) % 224) for i in range(1, 16)]


def resnets():
    folder = OUT / "tiny_resnet"
    folder.mkdir(parents=True, exist_ok=True)
    jpeg = encode(drawing(96, 64, 6, 20), "JPEG", quality=92)
    files = {
        "drawing.jpg": jpeg,
        "drawing.png": encode(Image.open(io.BytesIO(jpeg)), "PNG"),
        "tall.png": encode(drawing(40, 70, 10, 21), "PNG"),
        "flat.png": encode(flat(641, 523), "PNG"),
    }
    expected, tensors = {"positions": POSITIONS, "pictures": {}, "features": {}}, {}
    for name, data in files.items():
        (folder / name).write_bytes(data)
        image = Image.open(io.BytesIO(data))
        resized = EVALUATION.transforms[0](image)
        cropped = EVALUATION.transforms[1](resized)
        tensors[name] = tensor = EVALUATION(image)
        expected["pictures"][name] = {
            "size": list(image.size),
            "resized": list(resized.size),
            "crop_sha256": hashlib.sha256(np.asarray(cropped).tobytes()).hexdigest(),
            "values": numbers(torch.stack([tensor[at] for at in POSITIONS])),
            "mean": numbers(tensor.double().mean((1, 2))),
            "std": numbers(tensor.double().std((1, 2), correction=0)),
        }
    cases = [("basic", BasicBlock, [1, 1, 1, 1], 3), ("bottleneck", Bottleneck, [1, 1, 1, 1], 4),
             ("bottleneck_deeper", Bottleneck, [2, 1, 3, 2], 5)]
    for name, block, layers, seed in cases:
        network = random_resnet(block, layers, seed)
        save_file(network.state_dict(), folder / f"{name}.safetensors", metadata={"format": "pt"})
        pooled = features(network.double(), torch.stack(list(tensors.values())).double())
        expected["features"][name] = dict(zip(tensors, numbers(pooled)))
    write_json(folder / "expected.json", expected)


if __name__ == "__main__":
    torch.set_num_threads(1)
    texts()
    pictures()
    resnets()
