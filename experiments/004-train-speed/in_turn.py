"""Slate beside PyTorch, in turn for six tenths of a second each, so that both meet the same hours of the machine.

    python experiments/004-train-speed/in_turn.py --torch VENV/bin/python /tmp/004/transformer --rounds 8

run.py lets one program work to its end and then the other, and a machine that drifts by a half in between makes ratios of
1.2 and 1.9 out of one of 1.55. Here the one that does not work is stopped. Each prints the median of its own steps, of which
one in fifteen is longer for having been stopped in. Both have the settings of the C allocator; the folder is what run.py wrote.
Prints milliseconds of both and their ratio, round by round, and the mean ratio with its standard error.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import time

from run import ALLOCATOR, HERE, ROOT
from slices import let_work

SLICE = 0.6
# For PyTorch's import and for reading batches, in which neither is stopped.
BEGIN = {"torch": 4.5, "slate": 0.8}


def start(name, command, threads):
    """The program at its first steps, stopped."""
    environment = {**os.environ, **ALLOCATOR, "RAYON_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    time.sleep(BEGIN[name])
    process.send_signal(signal.SIGSTOP)
    return process


def milliseconds(commands, threads):
    """The median step of each program."""
    processes = {}
    try:
        for name, command in commands.items():
            processes[name] = start(name, command, threads)
        while any(process.returncode is None for process in processes.values()):
            for process in processes.values():
                if process.returncode is None:
                    let_work(process, SLICE)
    finally:
        # What is stopped would stay so for good.
        for process in processes.values():
            process.kill()
    if any(process.returncode != 0 for process in processes.values()):
        raise SystemExit("a program failed")
    last = {name: process.stdout.read().strip().splitlines()[-1] for name, process in processes.items()}
    return {name: json.loads(line)["ms"] for name, line in last.items()}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("folder", help="what run.py wrote")
    options.add_argument("--torch", required=True, help="a Python with torch, numpy and safetensors")
    options.add_argument("--slate", default=os.path.join(ROOT, "target/release/examples/speed"))
    options.add_argument("--mode", choices=["train", "infer", "one"], default="train")
    options.add_argument("--steps", type=int, default=100, help="of PyTorch; Slate, which is quicker, makes half as many more")
    options.add_argument("--threads", default="2")
    options.add_argument("--rounds", type=int, default=8)
    options = options.parse_args()
    script = os.path.join(HERE, "torch_rank.py")
    steps = str(options.steps)
    commands = {
        "torch": [options.torch, script, options.folder, options.mode, "--threads", options.threads, "--steps", steps],
        "slate": [options.slate, options.mode, options.folder, str(options.steps * 3 // 2)],
    }
    ratios = []
    for number in range(options.rounds):
        # Who begins changes from round to round.
        order = list(commands) if number % 2 == 0 else list(reversed(commands))
        found = milliseconds({name: commands[name] for name in order}, options.threads)
        ratios.append(found["torch"] / found["slate"])
        print(f"torch {found['torch']:.2f} ms, slate {found['slate']:.2f} ms, {ratios[-1]:.3f}", flush=True)
    error = statistics.stdev(ratios) / len(ratios) ** 0.5 if len(ratios) > 1 else float("nan")
    print(f"slate is {statistics.mean(ratios):.3f} times as fast, standard error {error:.3f}")


if __name__ == "__main__":
    main()
