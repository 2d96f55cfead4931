"""Times each link of the chain on simulated slot rows.

    cargo build --release && python3 experiments/001-chain-speed/run.py [--pages N] [--threads N]

Writes results.json beside itself and prints the table for README.md.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "harness"))
import measure  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--pages", type=int, default=270_000, help="270,000 pages are about 2 million slot rows")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--slate", default=str(ROOT / "target/release/slate"))
parser.add_argument("--keep", action="store_true", help="keep the folder with the chain's files")
arguments = parser.parse_args()

work = pathlib.Path(tempfile.mkdtemp(prefix="slate-speed-"))
common = ["-c", str(ROOT / "configs/demo.toml"), "--threads", str(arguments.threads), "--json", "-q"]
common += ["--set", f"simulate.pages={arguments.pages}", "--set", "simulate.users=120000"]
common += ["--set", "simulate.items=30000", "--set", "train.epochs=1"]

links = [
    ("simulate", ["simulate", "--out", "logs"]),
    ("features", ["features", "--logs", "logs", "--out", "dataset"]),
    ("train, 1 epoch", ["train", "--data", "dataset", "--out", "run"]),
    ("score", ["score", "--run", "run", "--data", "dataset", "--split", "test", "--out", "test.parquet"]),
    ("score (calibrate)", ["score", "--run", "run", "--data", "dataset", "--split", "calibrate", "--out", "cal.parquet"]),
    ("calibrate", ["calibrate", "--scores", "cal.parquet", "--test", "test.parquet", "--out", "calibrators"]),
    ("evaluate", ["evaluate", "--scores", "test.parquet"]),
]
results, slots, splits = [], 0, {}
for name, words in links:
    ran = measure.run([arguments.slate] + words + common, cwd=work)
    answer = json.loads(ran.pop("stdout"))
    if name == "simulate":
        slots = answer["summary"]["slots"]
    if name == "features":
        manifest = json.loads((work / "dataset/manifest.json").read_text())
        splits = {split: counts["rows"] for split, counts in manifest["splits"].items()}
    rows = {
        "simulate": slots,
        "features": slots,
        "train, 1 epoch": splits.get("train"),
        "score": splits.get("test"),
        "score (calibrate)": splits.get("calibrate"),
        "calibrate": (splits.get("calibrate") or 0) + (splits.get("test") or 0),
        "evaluate": splits.get("test"),
    }[name]
    ran |= {"link": name, "rows": rows, "rows_per_s": round(rows / ran["wall_s"])}
    results.append(ran)
    print(f"{name}: {ran['wall_s']} s", file=sys.stderr)

version = subprocess.run([arguments.slate, "--version"], capture_output=True, text=True).stdout.strip()
found = {
    "machine": measure.machine(),
    "slate": version,
    "pages": arguments.pages,
    "threads": arguments.threads,
    "links": results,
}
measure.write(HERE / "results.json", found)
print(measure.table(results, ["link", "rows", "wall_s", "cpu_s", "rows_per_s", "peak_mib"]))
if arguments.keep:
    print(work, file=sys.stderr)
else:
    shutil.rmtree(work)
