"""Times labels and features beside DuckDB, Polars and Spark, and Slate's whole feature job free, bounded and skewed.

    cargo build --release
    pip install duckdb==2.0.0 polars==2.1.0 pyspark==4.3.0 numpy    # Spark wants Java 17
    python experiments/003-feature-jobs/run.py --scratch /tmp/003 [--sizes 2m,10m] [--spark 2m] [--rounds 6]

Outputs are held against each other before anything is timed. Engines alternate; medians are told. Spark runs
once for each job, at the sizes of `--spark`, and tells of a second run in one session. Writes results.json
beside itself and prints the tables for README.md. Logs are kept in the scratch folder.
"""

import argparse
import itertools
import json
import pathlib
import shutil
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "harness"))
import measure  # noqa: E402

# Slate's command and config for a job that all engines do, and what holds outputs against each other.
JOBS = {
    "labels": ("label", "features.toml", "check.py"),
    "features": ("features", "peers_features.toml", "check_features.py"),
}
PAGES = {"200k": (27_000, 12_000, 3_000), "2m": (270_000, 120_000, 30_000), "10m": (1_350_000, 600_000, 100_000)}

parser = argparse.ArgumentParser()
parser.add_argument("--scratch", type=pathlib.Path, required=True)
parser.add_argument("--sizes", default="2m,10m")
parser.add_argument("--spark", default="2m")
parser.add_argument("--rounds", type=int, default=6)
parser.add_argument("--parts", default="race,spark,alone,growth", help="tables of others stay as results.json has them")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--slate", default=str(ROOT / "target/release/slate"))
arguments = parser.parse_args()
threads, scratch = str(arguments.threads), arguments.scratch
scratch.mkdir(parents=True, exist_ok=True)
config = ["-c", str(HERE / "features.toml"), "--threads", threads, "--json", "-q"]


def logs_of(size):
    """The log of a size, made once."""
    logs = scratch / f"logs-{size}"
    if not logs.exists():
        pages, users, items = PAGES[size]
        sets = [f"simulate.pages={pages}", f"simulate.users={users}", f"simulate.items={items}"]
        words = [word for value in sets for word in ("--set", value)]
        measure.run([arguments.slate, "simulate", *config, *words, "--out", str(logs)])
    return logs


def skewed(logs):
    """The same log with one item in a third of all placements and events, and one user with half of the events."""
    import duckdb

    out = scratch / f"{logs.name}-skewed"
    if not out.exists():
        out.mkdir()
        change = {
            "page_impression": "CASE WHEN page_id % 7 = 0 THEN 1 ELSE user_id END AS user_id",
            "slot_impression": "CASE WHEN impression_id % 3 = 0 THEN 1 ELSE item_id END AS item_id",
            "event": "CASE WHEN event_id % 3 = 0 THEN 1 ELSE item_id END AS item_id, "
            "CASE WHEN event_id % 2 = 0 THEN 1 ELSE user_id END AS user_id",
        }
        for table in ["page_impression", "slot_impression", "event", "item"]:
            replace = f"REPLACE ({change[table]})" if table in change else ""
            source, target = logs / f"{table}.parquet", out / f"{table}.parquet"
            duckdb.execute(f"COPY (SELECT * {replace} FROM '{source}') TO '{target}'")
    return out


def job(words, out):
    """Runs a job into a fresh folder."""
    shutil.rmtree(out, ignore_errors=True)
    return measure.run(words)


def make(engine, what, logs):
    """One engine's labels or features of a log."""
    out = scratch / f"out-{engine}-{what}"
    if engine == "slate":
        verb, name, _ = JOBS[what]
        words = ["-c", str(HERE / name), "--threads", threads, "--json", "-q", "--logs", str(logs), "--out", str(out)]
        return job([arguments.slate, verb, *words], out)
    more = [] if engine == "spark" else [threads]
    return job([sys.executable, str(HERE / f"{engine}_{what}.py"), str(logs), str(out), *more], out)


def check(engine, what):
    """Ends the script unless the engine's last output is Slate's."""
    slate, other = (scratch / f"out-{name}-{what}" for name in ("slate", engine))
    slate = slate / "labels.parquet" if what == "labels" else slate
    words = [sys.executable, str(HERE / JOBS[what][2]), str(slate), str(other / f"{what}.parquet")]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def race(size, what, logs):
    """Medians of Slate, DuckDB and Polars, beside the better peer's."""
    engines = ["slate", "duckdb", "polars"]
    for engine in engines:
        make(engine, what, logs)
    for engine in engines[1:]:
        check(engine, what)
    rounds = {engine: [] for engine in engines}
    orders = list(itertools.permutations(engines))
    for turn in range(arguments.rounds):
        # In all orders in turn: how soon a process gets its memory depends on which one gave it back.
        for engine in orders[turn % len(orders)]:
            rounds[engine].append(make(engine, what, logs))
    rows = []
    for engine, runs in rounds.items():
        row = {"rows": size, "engine": engine}
        row |= {key: round(statistics.median(ran[key] for ran in runs), 3) for key in ("wall_s", "cpu_s", "peak_mib")}
        rows.append(row)
    for key, name in (("wall_s", "wall"), ("peak_mib", "memory")):
        best = min(row[key] for row in rows[1:])
        for row in rows:
            row[f"{name}, peers' best = 1"] = round(row[key] / best, 2)
    return rows


def spark(size, what, logs, slate):
    """Spark's warm seconds beside Slate's whole process."""
    ran = make("spark", what, logs)
    check("spark", what)
    warm = json.loads(ran["stdout"])["warm_s"]
    return {"rows": size, "job": what, "spark warm_s": warm, "slate wall_s": slate, "slate = 1": round(warm / slate, 1)}


def features(logs, *more):
    out = scratch / "out-features"
    ran = job([arguments.slate, "features", *config, "--logs", str(logs), "--out", str(out), *more], out)
    shutil.rmtree(out, ignore_errors=True)
    return ran | json.loads(ran.pop("stdout"))


def growth(what, sizes):
    """What a job of the last size costs beside one of the first. Sizes alternate: the machine's speed drifts."""
    rounds = {size: [] for size in sizes}
    for _ in range(arguments.rounds):
        for size in sizes:
            rounds[size].append(make("slate", what, logs_of(size)))
    row = {"job": what}
    for key in ("wall_s", "cpu_s", "peak_mib"):
        first, *_, last = (statistics.median(ran[key] for ran in runs) for runs in rounds.values())
        row |= {f"{key}, {sizes[0]}": round(first, 3), f"{key}, {sizes[-1]}": round(last, 3)}
        row[f"{key}, times"] = round(last / first, 2)
    return row


RESULTS = HERE / "results.json"
TABLES = ("labels", "peers_features", "spark", "features", "growth")
parts, sizes = arguments.parts.split(","), arguments.sizes.split(",")
results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
results |= {"machine": measure.machine(), "threads": arguments.threads}
of_part = {"race": TABLES[:2], "spark": ["spark"], "alone": ["features"], "growth": ["growth"]}
if unknown := set(parts) - set(of_part):
    parser.error(f"--parts has {', '.join(sorted(unknown))}, expected some of {', '.join(of_part)}")
if len(sizes) < 2 and "growth" in parts:
    parts.remove("growth")
results |= {table: [] for part in parts for table in of_part[part]}
for size in sizes:
    logs = logs_of(size)
    for what, table in (("labels", "labels"), ("features", "peers_features")):
        if "race" in parts:
            results[table] += race(size, what, logs)
        if "spark" in parts and size in arguments.spark.split(","):
            ours = next(row["wall_s"] for row in results[table] if row["rows"] == size and row["engine"] == "slate")
            results["spark"].append(spark(size, what, logs, ours))
    if "alone" not in parts:
        continue

    bounded = ["--memory", "1GiB", "--set", "attribution.sequence.length=50", "--set", "attribution.pairs.days=30"]
    kinds = {
        "45 columns of history": (logs, []),
        "the same, pairs and sequences, --memory 1GiB": (logs, bounded),
        "the same, one item in a third, one user with half": (
            skewed(logs), [*bounded, "--set", "attribution.max_reject_share=0.9"],
        ),
    }
    for kind, (source, more) in kinds.items():
        runs = [features(source, *more) for _ in range(max(1, arguments.rounds // 2))]
        assert len({run["hash"] for run in runs}) == 1, "the same job gives the same rows"
        row = {"rows": size, "job": kind, "slot rows": runs[0]["rows"]}
        row |= {key: round(statistics.median(run[key] for run in runs), 1) for key in ("wall_s", "cpu_s", "peak_mib")}
        results["features"].append(row)
if "growth" in parts:
    results["growth"] = [growth(what, sizes) for what in JOBS]

measure.write(RESULTS, results)
for name in TABLES:
    if results.get(name):
        print(measure.table(results[name], list(results[name][0])), end="\n\n")
