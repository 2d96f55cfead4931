"""Slate beside PyTorch on the same network, weights and batches, 2 threads, alternating runs.

    cargo build --release -p slate-model --example speed
    python experiments/004-train-speed/run.py --torch VENV/bin/python --scratch /tmp/004 --rounds 5

Losses of the first ten steps are held against each other before anything is timed. Both sides run with
the same settings of the C allocator, which keep freed memory in the process; PyTorch also runs without
them, and the setting with the better median counts. Prints Markdown tables.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
    "MALLOC_TOP_PAD_": "268435456",
}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--torch", required=True, help="a Python with torch, numpy and safetensors")
    options.add_argument("--slate", default=os.path.join(ROOT, "target/release/examples/speed"))
    options.add_argument("--scratch", default="/tmp/004")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--steps", type=int, default=40)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--compile", action="store_true", help="also torch.compile")
    options.add_argument("--lengths", help="a file of list lengths, one on a line, for ragged lists")
    args = options.parse_args()

    def run(command, threads=args.threads, allocator=ALLOCATOR):
        env = {**os.environ, **allocator, "RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(command, capture_output=True, text=True, env=env)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")
        return json.loads(done.stdout.strip().splitlines()[-1]) if done.stdout.strip() else None

    def slate(mode, folder, steps=args.steps, threads=args.threads):
        return run([args.slate, mode, folder, str(steps)], threads)

    def torch(mode, folder, steps=args.steps, allocator=ALLOCATOR):
        script = os.path.join(HERE, "torch_rank.py")
        command = [args.torch, script, folder, mode, "--threads", str(args.threads), "--steps", str(steps)]
        return run(command, allocator=allocator)

    def alternate(folder, modes, rounds=args.rounds, steps=args.steps):
        """Rounds of Slate and of PyTorch with each setting; of those the one with the better median."""
        ours, kept, plain = [], [], []
        for _ in range(rounds):
            ours.append(slate(modes[0], folder, steps))
            kept.append(torch(modes[1], folder, steps))
            plain.append(torch(modes[1], folder, steps, allocator={}))
        speed = lambda results: statistics.median(result["lists_per_second"] for result in results)
        return {"slate": ours, "torch": max(kept, plain, key=speed)}

    print(f"{platform.machine()}, {os.cpu_count()} cores, {args.threads} threads, {args.rounds} rounds\n")
    for kind in ("transformer", "gru"):
        folder = os.path.join(args.scratch, kind)
        run([args.slate, "make", folder, kind, "32"])
        ours, theirs = slate("losses", folder), torch("losses", folder)
        worst = max(abs(a - b) for a, b in zip(ours, theirs))
        print(f"{kind}: losses of 10 steps differ by at most {worst:.1e}")
        if worst > 1e-6:
            sys.exit(f"the losses differ:\n{ours}\n{theirs}")
        modes = ["train", "infer", "one"] + (["compile"] if args.compile and kind == "transformer" else [])
        rows = []
        for mode in modes:
            pair = ("train" if mode == "compile" else mode, mode)
            # One list is quick: many calls, so that the clock matters less.
            steps = args.steps * (10 if mode == "one" else 1)
            rows.append((mode, alternate(folder, pair, 1 if mode == "compile" else args.rounds, steps)))
        table(rows)
    if args.lengths:
        folder = os.path.join(args.scratch, "ragged")
        run([args.slate, "make", folder, "transformer", args.lengths])
        rows = alternate(folder, ("train", "ragged"))
        print("lists of real lengths, PyTorch padding to the longest of a batch:\n")
        table([("train, ragged", rows)])


def table(rows):
    median = lambda results, key: statistics.median(result[key] for result in results)
    print("\n| work | slate lists/s | torch lists/s | ratio, rounds | median ratio | slate MiB | torch MiB |")
    print("|---|---|---|---|---|---|---|")
    for mode, results in rows:
        key = "lists_per_second"
        ratios = [a[key] / b[key] for a, b in zip(results["slate"], results["torch"])]
        cells = [mode] + [f"{median(results[side], key):,.0f}" for side in ("slate", "torch")]
        cells += [" ".join(f"{ratio:.2f}" for ratio in ratios), f"{statistics.median(ratios):.2f}"]
        cells += [f"{median(results[side], 'peak_mib'):,.0f}" for side in ("slate", "torch")]
        print("| " + " | ".join(cells) + " |")
    print()


if __name__ == "__main__":
    main()
