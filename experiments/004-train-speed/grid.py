"""Training speed against threads, list length and width, beside PyTorch; and beside the machine's matrices.

    cargo build --release -p slate-model --example speed
    pip install torch safetensors numpy
    python experiments/004-train-speed/grid.py --torch $(which python)

The network of run.py with one thing changed at a time. The two programs alternate; the median step of each
round counts, and of the rounds the median. "Share" is what a step's matrix products need, forwards and
backwards, over what two threads of this machine multiply in the same time (PyTorch, 1024 x 1024, f32, measured
in each round).
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "harness"))
import measure  # noqa: E402

DENSE, LAYERS, FEED_FORWARD, LISTS = 136, 2, 256, 64
RATE = """
import time, torch
torch.set_num_threads({threads})
a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
times = []
for _ in range(40):
    began = time.perf_counter(); a @ b; times.append(time.perf_counter() - began)
print(2 * 1024**3 / sorted(times)[len(times) // 2])
"""


def needed(slots, hidden):
    """Operations of a step's matrix products: forwards once, backwards twice."""
    row = DENSE * hidden + LAYERS * (4 * hidden**2 + 2 * hidden * FEED_FORWARD + 2 * slots * hidden) + 2 * hidden
    return 3 * 2 * row * slots * LISTS


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--torch", required=True, help="a Python with torch, numpy and safetensors")
    options.add_argument("--slate", default=str(ROOT / "target/release/examples/speed"))
    options.add_argument("--scratch", default="/tmp/004-grid")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--steps", type=int, default=16)
    options = options.parse_args()
    points = [("base", 2, 32, 128), ("1 thread", 1, 32, 128)]
    points += [(f"{slots} slots", 2, slots, 128) for slots in (8, 128, 512)]
    points += [(f"d = {hidden}", 2, 32, hidden) for hidden in (32, 64, 256)]
    results = []
    for name, threads, slots, hidden in points:
        folder = pathlib.Path(options.scratch) / f"{slots}-{hidden}"
        if not (folder / "init").exists():
            command = [options.slate, "make", str(folder), "transformer", str(slots)]
            subprocess.run(command, check=True, env={**os.environ, "HIDDEN": str(hidden)})
        own, theirs, rates = [], [], []
        for _ in range(options.rounds):
            environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
            told = subprocess.run([options.slate, "train", str(folder), str(options.steps)], check=True,
                                  env=environment, capture_output=True, text=True).stdout
            own.append(json.loads(told)["lists_per_second"])
            told = subprocess.run(
                [options.torch, str(HERE / "torch_rank.py"), str(folder), "train", "--threads", str(threads),
                 "--steps", str(options.steps)], check=True, capture_output=True, text=True).stdout
            theirs.append(json.loads(told.strip().splitlines()[-1])["lists_per_second"])
            told = subprocess.run([options.torch, "-c", RATE.format(threads=threads)], check=True,
                                  capture_output=True, text=True).stdout
            rates.append(float(told))
        shares = [needed(slots, hidden) * rate / LISTS / machine for rate, machine in zip(own, rates)]
        ratios = [a / b for a, b in zip(own, theirs)]
        results.append({
            "work": name, "threads": threads, "slots": slots, "hidden": hidden, "slate": own, "torch": theirs,
            "matrix_rate": rates, "share": shares,
            "slate lists/s": f"{statistics.median(own):,.0f}", "torch lists/s": f"{statistics.median(theirs):,.0f}",
            "ratio": f"{statistics.median(ratios):.2f}", "share of the matrix rate": f"{100 * statistics.median(shares):.0f} %",
        })
        print(results[-1]["work"], results[-1]["ratio"], flush=True)
    measure.write(HERE / "grid.json", {"machine": measure.machine(), "points": results})
    columns = ["work", "slate lists/s", "torch lists/s", "ratio", "share of the matrix rate"]
    print(measure.table(results, columns))


if __name__ == "__main__":
    main()
