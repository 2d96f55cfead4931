"""Runs commands and records wall time, processor time and peak memory of each, as a child process.

Standard library only. Used by the scripts in the numbered folders.
"""

import json
import os
import platform
import subprocess
import sys
import time


def machine():
    """What the numbers were measured on."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as info:
            model = next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"processor": model, "cores": os.cpu_count(), "system": platform.platform()}


def run(command, cwd=None):
    """Runs `command` (a list of words) and returns seconds, peak MiB and standard output.

    Ends the whole script where the command fails: a failed link measures nothing.
    """
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        sys.exit(f"exit code {code} from: {' '.join(command)}")
    return {
        "wall_s": round(wall, 3),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 3),
        "peak_mib": round(usage.ru_maxrss / 1024, 1),
        "stdout": output,
    }


def table(rows, columns):
    """Rows of dictionaries as an aligned Markdown table."""
    cells = [[str(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[i]) for line in cells)) for i, column in enumerate(columns)]
    line = lambda words: "| " + " | ".join(word.ljust(width) for word, width in zip(words, widths)) + " |"
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(columns), rule] + [line(words) for words in cells])


def short(value):
    """Six digits of each number: enough to read, and half the file."""
    if isinstance(value, dict):
        return {key: short(each) for key, each in value.items()}
    if isinstance(value, list):
        return [short(each) for each in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def write(path, value):
    """Writes JSON that can be compared line by line."""
    with open(path, "w") as file:
        json.dump(value, file, indent=2)
        file.write("\n")
