"""Calibration and evaluation beside scikit-learn, LightGBM, ranx and pytrec_eval, 2 threads, alternating rounds.

    python experiments/007-judging-speed/run.py --rounds 5

Runs under a Python that has the peers (README.md); every measured program is a child process of its own. First
all results are held against each other, and the script ends where they differ. The first call in a process is a
warm-up and does not count. Writes results.json beside itself and prints the tables of README.md.
"""

import argparse
import importlib.metadata
import itertools
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial

THREADS = 2
os.environ |= dict.fromkeys(["OMP_NUM_THREADS", "RAYON_NUM_THREADS", "NUMBA_NUM_THREADS"], str(THREADS))

import numpy as np  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "harness"))
import measure  # noqa: E402

SEED, LISTS, LENGTH = 7, 100_000, 50
PACKAGES = ["numpy", "scipy", "scikit-learn", "lightgbm", "ranx", "numba", "pytrec_eval-terrier"]


# Peers, each run as `run.py peer NAME ...` in a process of its own; they print one line of JSON.
def timed(work):
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def calibrate(method, scores, labels, calls, out):
    from sklearn.calibration import _SigmoidCalibration  # its fit is `_sigmoid_calibration`
    from sklearn.isotonic import IsotonicRegression

    scores, labels = np.fromfile(scores), np.fromfile(labels)
    positive = labels.sum()
    low, high = 1 / (len(labels) - positive + 2), 1 - 1 / (positive + 2)
    seconds = {"fit": [], "map": []}
    for _ in range(int(calls)):
        bounded = IsotonicRegression(out_of_bounds="clip", y_min=low, y_max=high)
        model = bounded if method == "isotonic" else _SigmoidCalibration()
        seconds["fit"].append(timed(lambda: model.fit(scores, labels))[0])
        mapped, probabilities = timed(lambda: model.predict(scores))
        seconds["map"].append(mapped)
    if out != os.devnull:
        probabilities.tofile(out)
    return seconds


# Judges: what is timed, and how to read the mean NDCG@10 from its answer.
def sklearn(scores, grades, ignore_ties=False):
    from sklearn.metrics import ndcg_score

    return lambda: ndcg_score(grades, scores, k=10, ignore_ties=ignore_ties), float


def lightgbm(scores, grades):
    """LightGBM judges the scores of a booster without trees: those its data set starts from."""
    import lightgbm as lgb

    lists = {"label": grades.ravel(), "group": [LENGTH] * len(scores), "init_score": scores.ravel()}
    data = lgb.Dataset(np.zeros((scores.size, 1)), **lists, params={"verbose": -1, "feature_pre_filter": False})
    settings = {"objective": "lambdarank", "metric": "ndcg", "eval_at": [10], "num_threads": THREADS, "verbose": -1}
    return lgb.Booster(settings, data).eval_train, lambda answer: float(answer[0][2])


def dictionaries(values):
    """{list: {row: value}}, the form in which ranx and pytrec_eval take judgements and runs."""
    return {f"q{i}": {f"d{j}": value for j, value in enumerate(row)} for i, row in enumerate(values.tolist())}


def ranx(scores, grades):
    from ranx import Qrels, Run, evaluate

    qrels, run = Qrels(dictionaries(grades)), Run(dictionaries(scores))
    return lambda: evaluate(qrels, run, "ndcg@10", threads=THREADS, save_results_in_run=False), float


def pytrec_eval(scores, grades):
    import pytrec_eval

    evaluator, run = pytrec_eval.RelevanceEvaluator(dictionaries(grades), {"ndcg_cut.10"}), dictionaries(scores)
    mean = lambda answer: statistics.fmean(one["ndcg_cut_10"] for one in answer.values())
    return lambda: evaluator.evaluate(run), mean


# Name, judge, Slate's convention, lists the judge gets (its seconds are scaled to all), goal for the ratio.
JUDGES = [
    ("scikit-learn, ties averaged", sklearn, "gain=linear;ties=mean;empty=zero", 2_000, 200),
    ("scikit-learn, ignore_ties", partial(sklearn, ignore_ties=True), "gain=linear;ties=mean;empty=zero", LISTS, 10),
    ("LightGBM", lightgbm, "lightgbm", LISTS, 3),
    ("ranx", ranx, "ranx", 20_000, 50),
    ("pytrec_eval", pytrec_eval, "gain=linear;ties=stable;empty=zero", 20_000, 50),
]


def judge(name, scores, grades, calls):
    scores = np.fromfile(scores).reshape(-1, LENGTH)
    grades = np.fromfile(grades, dtype=np.uint8).astype(np.int64).reshape(-1, LENGTH)
    work, value = {row[0]: row[1] for row in JUDGES}[name](scores, grades)
    seconds, answers = zip(*(timed(work) for _ in range(int(calls))))
    return {"ndcg": value(answers[-1]), "seconds": seconds}


def trec(qrels, run):
    import pytrec_eval

    with open(qrels) as judged, open(run) as found:
        judged, found = pytrec_eval.parse_qrel(judged), pytrec_eval.parse_run(found)
    answer = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut.10", "map"}).evaluate(found).values()
    return [statistics.fmean(one[name] for one in answer) for name in ("ndcg_cut_10", "map")]


# The measuring side.
def run(*command):
    return json.loads(measure.run([str(word) for word in command])["stdout"])


def peer(*words):
    return run(sys.executable, __file__, "peer", *words)


def hold(what, ours, theirs, bound):
    worst = float(np.max(np.abs(np.subtract(ours, theirs))))
    print(f"{what}: differ by at most {worst:.1e}", file=sys.stderr)
    if not worst <= bound:
        sys.exit(f"{what}: the results differ by more than {bound:.0e}")
    return worst


def draw_scores(folder, rows):
    """Normal scores in full, and as a network has them; labels by the sigmoid of score - 1."""
    rng = np.random.default_rng(SEED)
    scores = rng.standard_normal(rows)
    labels = (rng.random(rows) < 1 / (1 + np.exp(1 - scores))).astype(float)
    for name, values in (("f64", scores), ("f32", scores.astype(np.float32).astype(float)), ("labels", labels)):
        values.tofile(folder / f"{name}.{rows}")


def draw_lists(folder):
    """Normal scores, no two of a list equal, not even as the 32-bit floats that trec_eval compares."""
    rng = np.random.default_rng(SEED)
    scores = rng.standard_normal((LISTS, LENGTH))
    tied = np.arange(LISTS)
    while len(tied := tied[(np.diff(np.sort(scores[tied].astype(np.float32))) == 0).any(axis=1)]):
        scores[tied] = rng.standard_normal((len(tied), LENGTH))
    grades = np.minimum(4, rng.poisson(0.15, (LISTS, LENGTH))).astype(np.uint8)
    for lists in {row[3] for row in JUDGES}:
        scores[:lists].tofile(folder / f"scores.{lists}")
        grades[:lists].tofile(folder / f"grades.{lists}")
        np.full(lists, LENGTH, np.uint32).tofile(folder / f"lengths.{lists}")


def calibration(args, folder, method, rows, kind):
    """A method on one file of scores, checked: what it is, and both sides as {part: seconds of calls that count}."""
    files, out = [folder / f"{kind}.{rows}", folder / f"labels.{rows}"], folder / "out"
    slate = lambda calls, out: run(args.calibrate_speed, method, *files, calls, out)
    theirs = lambda calls, out: peer("calibrate", method, *files, calls, out)
    probabilities = []
    for side in (slate, theirs):
        side(1, out)
        probabilities.append(np.fromfile(out))
    worst = hold(f"{method} {kind} {rows}", *probabilities, 1e-9 if method == "isotonic" else 1e-6)
    calls = 2 if rows > 1_000_000 else args.calls + 1
    counted = lambda side: {part: seconds[1:] for part, seconds in side(calls, os.devnull).items()}
    what = {"method": method, "scores": kind, "rows": rows, "probabilities_differ_by": worst}
    return what, lambda: counted(slate), lambda: counted(theirs)


def judging(args, folder, name, _, convention, lists, goal):
    """NDCG@10 in one convention, as `calibration`."""
    files = lambda lists, *parts: [folder / f"{part}.{lists}" for part in parts]
    slate = lambda lists, calls, draws=0: run(
        args.eval_speed, *files(lists, "scores", "grades", "lengths"), convention, calls, draws
    )
    theirs = lambda calls: peer("judge", name, *files(lists, "scores", "grades"), calls)
    value = slate(lists, 1)["ndcg"]
    worst = hold(name, value, theirs(1)["ndcg"], 1e-9)

    def ours():
        # Ten metrics once a round are enough.
        answer = slate(LISTS, args.calls + 1, 1000 if name == JUDGES[0][0] else 0)
        ten = [answer["ten_metrics"]] if answer["ten_metrics"] else []
        return {"ndcg": answer["seconds"][1:], **({"ten_metrics": ten} if ten else {})}

    scaled = lambda: {"ndcg": [second * LISTS / lists for second in theirs(args.calls + 1)["seconds"][1:]]}
    what = {"beside": name, "convention": convention, "peer_lists": lists, "goal": goal}
    return what | {"ndcg@10": value, "values_differ_by": worst}, ours, scaled


def evaluate_two_queries(args, folder):
    """Wall seconds of 20 whole processes, after the values were held against pytrec_eval's."""
    rng = np.random.default_rng(SEED)
    with open(folder / "qrels", "w") as qrels, open(folder / "run", "w") as found:
        for query in (1, 2):
            for rank, score in enumerate(np.sort(rng.standard_normal(20))[::-1], 1):
                qrels.write(f"{query} 0 d{rank} {min(4, rng.poisson(0.6))}\n")
                found.write(f"{query} Q0 d{rank} {rank} {score:.6f} example\n")
    command = [args.slate, "evaluate", "--qrels", folder / "qrels", "--trec-run", folder / "run", "-m", "ndcg@10,map"]
    ours = [metric["value"] for metric in run(*command, "--json")["metrics"]]
    hold("slate evaluate beside pytrec_eval", ours, peer("trec", folder / "qrels", folder / "run"), 1e-9)
    return [measure.run([str(word) for word in command])["wall_s"] for _ in range(20)]


def measured(works, rounds):
    """Runs both sides of each work in turn; raw seconds, by round."""
    found = [what | {"slate_s": {}, "peer_s": {}} for what, *_ in works]
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        for kept, (_, *sides) in zip(found, works):
            for name, side in zip(("slate_s", "peer_s"), sides):
                for part, seconds in side().items():
                    kept[name].setdefault(part, []).append([round(second, 6) for second in seconds])
    return found


def compared(one, part, over="peer_s", under="slate_s", by=None):
    """Keeps and shows the ratio of each round (of the medians of its calls): their median, lowest and highest."""
    pairs = zip(one[over][part], one[under][by or part])
    rounds = sorted(statistics.median(a) / statistics.median(b) for a, b in pairs)
    middle = statistics.median(rounds)
    one.setdefault("median_ratios", {})[f"{over} {part} / {under} {by or part}"] = round(middle, 3)
    low, middle, high = (f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}" for ratio in (rounds[0], middle, rounds[-1]))
    return f"{middle} ({low}-{high})"


def tables(calibrations, judgings, evaluate_s):
    median = lambda rounds: statistics.median(itertools.chain(*rounds))
    ms = lambda rounds: f"{1000 * median(rounds):,.1f}"
    first, second = [], []
    for one in calibrations:
        line = {"method, scores": f"{one['method']}, {one['scores']}", "rows": f"{one['rows']:,}"}
        for part in ("fit", "map"):
            line |= {f"{part} ms": ms(one["slate_s"][part]), f"sklearn {part} ms": ms(one["peer_s"][part])}
            line |= {f"{part} ratio": compared(one, part)}
        if one["method"] == "isotonic":
            sort = compared(one, "fit", over="slate_s", by="sort")
            line |= {"sort ms": ms(one["slate_s"]["sort"]), "fit / sort": sort}
        first.append(line)
    for one in judgings:
        line = {"NDCG@10 beside": one["beside"], "its lists": f"{one['peer_lists']:,}"}
        line |= {"slate ms": ms(one["slate_s"]["ndcg"]), "peer ms": ms(one["peer_s"]["ndcg"])}
        second.append(line | {"ratio": compared(one, "ndcg"), "goal": one["goal"]})
    ten = [calls for one in judgings for calls in one["slate_s"].get("ten_metrics", [])]
    third = [
        {"work": work, "median s": round(median(seconds), 3), "best s": round(min(map(min, seconds)), 3)}
        for work, seconds in (("ten metrics, 1,000 draws", ten), ("slate evaluate, two queries", [evaluate_s]))
    ]
    return "\n\n".join(measure.table(rows, list(rows[0])) for rows in (first, second, third))


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--slate", default=ROOT / "target/release/slate")
    options.add_argument("--calibrate-speed", default="/tmp/calibrate-speed", help="example `speed` of slate-calibrate")
    options.add_argument("--eval-speed", default="/tmp/eval-speed", help="example `speed` of slate-eval")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--calls", type=int, default=3, help="calls of a round that count; 1 above 1,000,000 rows")
    options.add_argument("--sizes", default="1000000,10000000", help="rows to calibrate on")
    args = options.parse_args()

    with tempfile.TemporaryDirectory(prefix="slate-judging-") as folder:
        folder = pathlib.Path(folder)
        works = []
        for rows in map(int, args.sizes.split(",")):
            draw_scores(folder, rows)
            for method, kind in itertools.product(("isotonic", "sigmoid"), ("f64", "f32")):
                works.append(calibration(args, folder, method, rows, kind))
        draw_lists(folder)
        works += [judging(args, folder, *row) for row in JUDGES]
        evaluate_s = evaluate_two_queries(args, folder)
        found = measured(works, args.rounds)
    calibrations, judgings = found[: -len(JUDGES)], found[-len(JUDGES) :]
    text = tables(calibrations, judgings, evaluate_s)
    versions = {name: importlib.metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()}
    versions["slate"] = subprocess.check_output([args.slate, "--version"], text=True).strip()
    results = {"machine": measure.machine(), "versions": versions, "threads": THREADS, "rounds": args.rounds}
    results |= {"calibration": calibrations, "ndcg": judgings, "evaluate_s": evaluate_s}
    measure.write(HERE / "results.json", results)
    print(text)


if sys.argv[1:2] == ["peer"]:
    print(json.dumps({"calibrate": calibrate, "judge": judge, "trec": trec}[sys.argv[2]](*sys.argv[3:])))
else:
    main()
