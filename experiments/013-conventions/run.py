"""Each metric convention of `slate evaluate` beside its own program, list by list, on random lists.

    python experiments/013-conventions/run.py --seeds 40

Runs under a Python that has the peers (README.md). Ends with exit code 1 and the name of the list where a value
differs by more than 1e-9. Writes results.json beside itself and prints the table of README.md.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import math
import pathlib
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable

import lightgbm
import numpy as np
import pytrec_eval
import ranx
from sklearn.metrics import dcg_score, ndcg_score, roc_auc_score

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "harness"))
import measure

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BOUND, LISTS, LONGEST, GRADES = 1e-9, 30, 60, 5
PACKAGES = ["numpy", "scikit-learn", "lightgbm", "ranx", "numba", "pytrec_eval-terrier"]


@dataclasses.dataclass
class List:
    """Grades of the judged documents and scores of the retrieved ones, by name; a CSV has both of every row."""

    name: str
    judged: dict[str, int]
    found: dict[str, float]

    def rows(self):
        """Grades and scores of a list whose documents are all judged and retrieved."""
        return np.array(list(self.judged.values())), np.array(list(self.found.values()))

    def untied(self):
        return len(set(self.found.values())) == len(self.found)


# Random lists.
def draw_scores(rng, length):
    """Normal scores: in full, rounded, all the same, or so close that they are equal as 32-bit floats."""
    scores = rng.standard_normal(length)
    kinds = [scores, scores, scores.round(1), scores.round(), np.ones(length), 1 + 1e-9 * scores.round(1)]
    return kinds[rng.integers(len(kinds))]


def draw_list(rng, name):
    """Grades 0 to 4, from rare to common; none above 0 in one list of eight."""
    length = rng.integers(1, LONGEST + 1)
    relevant = 0 if rng.random() < 1 / 8 else rng.choice([0.05, 0.3, 0.8])
    grades = np.where(rng.random(length) < relevant, rng.integers(1, GRADES, length), 0)
    documents = [f"d{number}" for number in rng.permutation(1000)[:length]]
    judged, scores = dict(zip(documents, grades.tolist())), draw_scores(rng, length).tolist()
    return List(name, judged, dict(zip(documents, scores)))


def pooled(rng, one):
    """The list as TREC has it: documents nobody judged, judged below 0, and judged and not retrieved."""

    def most(values):
        """The first and most of the others."""
        return {name: value for place, (name, value) in enumerate(values.items()) if place == 0 or rng.random() < 0.85}

    return List(one.name, most(one.judged) | {"below": -1}, most(one.found))


# What `slate evaluate` reads and says.
def write_csv(folder, lists):
    with open(folder / "scores.csv", "w") as file:
        file.write("list_id,item_id,score,grade\n")
        for number, one in enumerate(lists):
            rows = enumerate(zip(*one.rows()))
            file.writelines(f"{number},{item},{float(score)!r},{grade}\n" for item, (grade, score) in rows)
    return ["--scores", folder / "scores.csv", "--label", "grade"]


def write_trec(folder, lists):
    with open(folder / "qrels", "w") as qrels, open(folder / "run", "w") as run:
        for one in lists:
            qrels.writelines(f"{one.name} 0 {document} {grade}\n" for document, grade in one.judged.items())
            run.writelines(f"{one.name} Q0 {document} 1 {score!r} random\n" for document, score in one.found.items())
    return ["--qrels", folder / "qrels", "--trec-run", folder / "run"]


def slate(program, source, metrics, convention):
    """Values by metric, of each list in its order."""
    options = ["-m", ",".join(metrics), "--convention", convention, "--per-list", "--json", "--quiet"]
    command = [str(word) for word in [program, "evaluate", *source, *options, "--set", "evaluate.draws=20"]]
    return json.loads(measure.run(command)["stdout"])["per_list"]


# Peers: the values of each list, under Slate's names of the metrics; None where there is no value.
def by_trec_eval(lists, metrics):
    judged, found = {one.name: one.judged for one in lists}, {one.name: one.found for one in lists}
    answer = pytrec_eval.RelevanceEvaluator(judged, set(metrics.values())).evaluate(found)
    return [{name: answer[one.name][peer.replace(".", "_")] for name, peer in metrics.items()} for one in lists]


def by_sklearn(lists, metrics):
    return [{name: peer(*one.rows()) for name, peer in metrics.items()} for one in lists]


def by_lightgbm(lists, metrics):
    """LightGBM judges a booster without trees, one for each list, whose data set starts from the scores."""
    answers = []
    cutoffs = sorted({int(peer.split("@")[1]) for peer in metrics.values()})
    settings = {"objective": "lambdarank", "metric": ["ndcg", "map"], "eval_at": cutoffs, "num_threads": 1}
    quiet = {"verbose": -1, "feature_pre_filter": False}
    for one in lists:
        grades, scores = one.rows()
        rows = {"label": grades, "group": [len(grades)], "init_score": scores}
        data = lightgbm.Dataset(np.zeros((len(grades), 1)), **rows, params=quiet)
        answer = {peer: value for _, peer, value, _ in lightgbm.Booster(settings | quiet, data).eval_train()}
        answers.append({name: answer[peer] for name, peer in metrics.items()})
    return answers


def by_ranx(lists, metrics):
    qrels = ranx.Qrels({one.name: one.judged for one in lists})
    run = ranx.Run({one.name: one.found for one in lists})
    ranx.evaluate(qrels, run, list(metrics.values()), threads=1)
    return [{name: run.scores[peer][one.name] for name, peer in metrics.items()} for one in lists]


def sklearn_at(score, k, **options):
    return lambda grades, scores: score([grades], [scores], k=k, **options)


def exponential_at(k):
    """NDCG of 2^grade - 1, for lists with a relevant row."""
    value = sklearn_at(ndcg_score, k)
    return lambda grades, scores: value(2**grades - 1, scores) if grades.any() else None


def sklearn_auc(grades, scores):
    """For lists with rows of both classes."""
    relevant = grades > 0
    return roc_auc_score(relevant, scores) if relevant.any() and not relevant.all() else None


@dataclasses.dataclass
class Comparison:
    """A convention, the program it is held against, and Slate's metrics with what each is there."""

    program: str
    package: str
    convention: str
    peer: Callable
    metrics: dict
    lists: Callable = lambda one: True
    trec: bool = False


def at(stem, peer, *cutoffs):
    return {f"{stem}@{k}": peer.format(k) for k in cutoffs}


TREC_EVAL = {"ndcg": "ndcg", "map": "map", "mrr": "recip_rank"}
TREC_EVAL |= at("ndcg", "ndcg_cut.{}", 1, 3, 10, 100) | at("map", "map_cut.{}", 1, 5)
TREC_EVAL |= at("precision", "P.{}", 1, 5, 100) | at("recall", "recall.{}", 1, 5, 100)
TREC_EVAL |= at("hit", "success.{}", 1, 5)
RANX = {"ndcg": "ndcg", "map": "map", "mrr": "mrr"}
RANX |= at("ndcg", "ndcg@{}", 1, 3, 10, 100) | at("map", "map@{}", 1, 5) | at("mrr", "mrr@{}", 1, 5)
RANX |= at("precision", "precision@{}", 1, 5, 100) | at("recall", "recall@{}", 1, 5, 100)
RANX |= at("hit", "hit_rate@{}", 1, 5)
BURGES = {"ndcg": "ndcg_burges"} | at("ndcg", "ndcg_burges@{}", 1, 3, 10, 100)
LIGHTGBM = at("ndcg", "ndcg@{}", 1, 3, 10, 100) | at("map", "map@{}", 1, 3, 10, 100)
CUTOFFS = {"": None, "@1": 1, "@3": 3, "@10": 10, "@100": 100}
SCORES = {"ndcg": ndcg_score, "dcg": dcg_score}
SKLEARN = {stem + at: sklearn_at(score, k) for stem, score in SCORES.items() for at, k in CUTOFFS.items()}
UNTIED = {
    stem + at: sklearn_at(score, k, ignore_ties=True) for stem, score in SCORES.items() for at, k in CUTOFFS.items()
}
EXPONENTIAL = {"ndcg" + at: exponential_at(k) for at, k in CUTOFFS.items()}
AUC = {"list_auc": sklearn_auc}


def several(one):
    """scikit-learn refuses lists of one row."""
    return len(one.judged) > 1


def several_untied(one):
    return several(one) and one.untied()


COMPARISONS = [
    Comparison("pytrec_eval", "pytrec_eval-terrier", "trec_eval", by_trec_eval, TREC_EVAL, trec=True),
    Comparison("scikit-learn", "scikit-learn", "sklearn", by_sklearn, SKLEARN, several),
    Comparison("scikit-learn, ignore_ties", "scikit-learn", "sklearn", by_sklearn, UNTIED, several_untied),
    Comparison("scikit-learn, 2^grade - 1", "scikit-learn", "slate", by_sklearn, EXPONENTIAL, several),
    Comparison("scikit-learn, roc_auc_score", "scikit-learn", "slate", by_sklearn, AUC),
    Comparison("LightGBM", "lightgbm", "lightgbm", by_lightgbm, LIGHTGBM),
    Comparison("ranx", "ranx", "ranx", by_ranx, RANX, List.untied, trec=True),
    Comparison("ranx, ndcg_burges", "ranx", "gain=exp;ties=stable;empty=zero", by_ranx, BURGES, List.untied, trec=True),
]


def hold(comparison, seed, lists, ours, theirs):
    """The differences of all values; ends the script at one that is too large, or where one side has none."""
    differences = []
    for one, mine, other in zip(lists, ours, theirs, strict=True):
        for metric in comparison.metrics:
            a, b = mine[metric], other[metric]
            if a is None and b is None:
                continue
            difference = math.inf if a is None or b is None else abs(a - b)
            if not difference <= BOUND:
                sys.exit(f"{comparison.program}: list {one.name} of seed {seed}: {metric} is {a} and not {b}\n{one}")
            differences.append(difference)
    return differences


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--slate", default=ROOT / "target/release/slate")
    options.add_argument("--seeds", type=int, default=40)
    args = options.parse_args()

    differences, counts = [[] for _ in COMPARISONS], [0] * len(COMPARISONS)
    with tempfile.TemporaryDirectory(prefix="slate-conventions-") as folder:
        folder = pathlib.Path(folder)
        for seed in range(args.seeds):
            rng = np.random.default_rng(seed)
            full = [draw_list(rng, f"q{number:02}") for number in range(LISTS)]
            pools = [pooled(rng, one) for one in full]
            for number, comparison in enumerate(COMPARISONS):
                lists = list(filter(comparison.lists, pools if comparison.trec else full))
                source = (write_trec if comparison.trec else write_csv)(folder, lists)
                ours = slate(args.slate, source, comparison.metrics, comparison.convention)
                theirs = comparison.peer(lists, comparison.metrics)
                differences[number] += hold(comparison, seed, lists, ours, theirs)
                counts[number] += len(lists)
            print(f"seed {seed + 1} of {args.seeds}", file=sys.stderr)

    rows, metrics = [], {}
    for comparison, lists, found in zip(COMPARISONS, counts, differences):
        row = {"program": comparison.program, "version": importlib.metadata.version(comparison.package)}
        row |= {"--convention": comparison.convention}
        row["metrics"] = ", ".join(dict.fromkeys(name.split("@")[0] for name in comparison.metrics))
        row |= {"lists": f"{lists:,}", "values": f"{len(found):,}", "largest difference": f"{max(found):.1e}"}
        rows.append(row)
        metrics[comparison.program] = list(comparison.metrics)
    versions = {name: importlib.metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()}
    versions["slate"] = subprocess.check_output([args.slate, "--version"], text=True).strip()
    results = {"machine": measure.machine(), "versions": versions, "seeds": args.seeds, "bound": BOUND}
    measure.write(HERE / "results.json", results | {"comparisons": rows, "metrics": metrics})
    print(measure.table(rows, list(rows[0])))


if __name__ == "__main__":
    main()
