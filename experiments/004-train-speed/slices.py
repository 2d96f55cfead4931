"""Two builds of the example `speed` on the same work, in turn for an eighth of a second each.

    python experiments/004-train-speed/slices.py OLD NEW /tmp/004/transformer --steps 250

The machine's speed drifts by a half within minutes, but little within a second: while one program works, the other is
stopped, and only the time in which a program worked counts. Prints seconds of both and their ratio, round by round, and
the mean ratio with its standard error. A program compared with itself comes to 1 within half a percent.
"""

import argparse
import os
import signal
import statistics
import subprocess
import time

from run import ALLOCATOR

SLICE = 0.12


def start(program, options):
    """The program, stopped before it does anything that counts."""
    command = [program, options.mode, options.folder, str(options.steps)]
    environment = {**os.environ, **ALLOCATOR, "RAYON_NUM_THREADS": str(options.threads)}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    process.send_signal(signal.SIGSTOP)
    return process


def let_work(process, most=SLICE):
    """Seconds that it worked until it was done or stopped again."""
    began = time.perf_counter()
    process.send_signal(signal.SIGCONT)
    try:
        process.wait(timeout=most)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGSTOP)
    return time.perf_counter() - began


def seconds(programs, options):
    """For how long each program worked until it was done."""
    processes = [start(program, options) for program in programs]
    worked = [0.0 for _ in programs]
    try:
        while any(process.returncode is None for process in processes):
            for place, process in enumerate(processes):
                if process.returncode is None:
                    worked[place] += let_work(process)
    finally:
        # What is stopped would stay so for good.
        for process in processes:
            process.kill()
    if any(process.returncode != 0 for process in processes):
        raise SystemExit("a program failed")
    return worked


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("old")
    options.add_argument("new")
    options.add_argument("folder", help="what `speed make` or run.py wrote")
    options.add_argument("--mode", choices=["train", "infer", "one"], default="train")
    options.add_argument("--steps", type=int, default=250)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--rounds", type=int, default=4)
    options = options.parse_args()
    ratios = []
    for number in range(options.rounds):
        # Who begins changes from round to round.
        turned = number % 2 == 1
        programs = [options.new, options.old] if turned else [options.old, options.new]
        worked = seconds(programs, options)
        old, new = reversed(worked) if turned else worked
        ratios.append(old / new)
        print(f"{old:.2f} {new:.2f} {ratios[-1]:.4f}", flush=True)
    error = statistics.stdev(ratios) / len(ratios) ** 0.5 if len(ratios) > 1 else float("nan")
    print(f"new is {statistics.mean(ratios):.4f} times as fast, standard error {error:.4f}")


if __name__ == "__main__":
    main()
