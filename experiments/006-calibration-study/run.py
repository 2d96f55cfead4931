"""Where isotonic calibration beats sigmoid and exponential, where it ties and where it loses.

    cargo build --release
    pip install numpy pandas pyarrow matplotlib
    SLATE_SHARED=... python3 experiments/006-calibration-study/run.py [--only simulated,money,cut,outbrain,plots]

Simulated scores and purchases whose true probabilities are known, so that each calibrator has a true excess
log loss, and the verdicts of `slate calibrate` can be held to it; and Outbrain's displays beside them. Two threads.
Writes results.json, excess.svg and winners.svg beside itself, section by section; `--resume` keeps the simulated
cells that results.json has.
"""

import argparse
import json
import os
import pathlib
import re
import sys
import tempfile

import numpy as np
import pandas as pd

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "harness"))
import measure  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--only", default="simulated,money,cut,outbrain,plots")
parser.add_argument("--slate", default=str(ROOT / "target/release/slate"))
parser.add_argument("--resume", action="store_true")
arguments = parser.parse_args()
binary = str(pathlib.Path(arguments.slate).resolve())

METHODS = ["isotonic", "isotonic_binned", "centred", "sigmoid", "exponential", "exponential_binned", "beta", "spline",
           "venn_abers"]
RATES = [0.003, 0.01, 0.1]
TEST_ROWS = 500_000
# Rows to calibrate on, and how many such files: the first is judged by slate, the truth judges all.
FILES = {10_000: 10, 100_000: 10, 1_000_000: 2, 10_000_000: 1}
# Ten million rows at one base rate only: a comparison takes minutes.
MOST, ITS_RATE = 10_000_000, 0.01
DRAWS = 200
LIST = 10


def kinked(s):
    """Log p up to a constant: steep up to a score of 0.5, nearly flat from there on."""
    return np.where(s < 0.5, 1.8 * (s - 0.5), 0.3 * (s - 0.5))


TRUTHS = {
    "logistic": lambda s, b: 1 / (1 + np.exp(-(s + b))),
    "log-linear": lambda s, b: np.minimum(1, np.exp(s + b)),
    "kinked": lambda s, b: np.minimum(1, np.exp(kinked(s) + b)),
}


def slate(folder, *words):
    told = measure.run([binary, *map(str, words), "--threads", "2", "-q", "--json"], cwd=folder)
    return json.loads(told["stdout"]), told["wall_s"]


def draw(truth, rate, rows, seed):
    """Scores (normal in lists, and something of each list), true probabilities, purchases."""
    random = np.random.default_rng([list(TRUTHS).index(truth), int(rate * 1000), rows, seed])
    scores = lambda count: (random.normal(size=(count // LIST, LIST)) + 0.5 * random.normal(size=(count // LIST, 1))).ravel()
    s = scores(rows)
    p = TRUTHS[truth](s, constant(truth, rate))
    y = (random.random(rows) < p).astype(np.int8)
    return s, p, y, np.exp(3 + 0.8 * random.normal(size=rows))


def constant(truth, rate):
    """The b that gives the base rate, by bisection over a fine grid of scores."""
    spread = np.sqrt(1.25)
    grid = np.linspace(-8, 8, 20_001) * spread
    weight = np.exp(-0.5 * (grid / spread) ** 2)
    low, high = -20.0, 5.0
    for _ in range(80):
        middle = (low + high) / 2
        if np.average(TRUTHS[truth](grid, middle), weights=weight) < rate:
            low = middle
        else:
            high = middle
    return low


def write(path, s, y, price=None, first=0):
    rows = len(s)
    columns = {"list_id": np.arange(rows) // LIST + first, "item_id": np.arange(rows) % LIST, "score": s,
               "purchase": y.astype(np.int64)}
    if price is not None:
        columns["price"] = price
    pd.DataFrame(columns).to_parquet(path, index=False)


def apply(path, s):
    """What a calibrator's file says of scores; `simulated` holds it to `slate calibrate --apply`."""
    file = json.loads(path.read_text())
    method = file["method"]
    if "knots" in file:
        x, p = np.array(file["knots"]).T
        return np.interp(s, x, p)
    if method in ("exponential", "exponential_binned"):
        return np.minimum(1, np.exp(file["slope"] * s + file["intercept"]))
    if method == "sigmoid":
        return 1 / (1 + np.exp(-(file["slope"] * s + file["intercept"])))
    if method == "beta":
        return 1 / (1 + np.exp(file["a"] * np.logaddexp(0, -s) - file["b"] * np.logaddexp(0, s) - file["c"]))
    steps = np.array(file["steps"])
    place = np.searchsorted(steps[:, 0], s, side="right")
    low, high = np.vstack([file["below"], steps[:, 3:5]])[place].T
    at = (place > 0) & (steps[np.maximum(place, 1) - 1, 0] == s)
    low, high = np.where(at, steps[place - 1, 1], low), np.where(at, steps[place - 1, 2], high)
    return high / (1 - low + high)


def excess(p, q):
    """Mean log loss of q above that of the truth p, over all labels that p could give."""
    q = np.clip(q, 1e-15, 1 - 1e-15)
    with np.errstate(divide="ignore", invalid="ignore"):
        one = np.where(p > 0, p * np.log(p / q), 0)
        none = np.where(p < 1, (1 - p) * np.log((1 - p) / (1 - q)), 0)
    return float((one + none).mean())


def standing(difference, level=0.95):
    """As the verdict has it: the interval and Holm's p must agree."""
    if difference["p_holm"] >= 1 - level or difference["low"] <= 0 <= difference["high"]:
        return "alike"
    return "better" if difference["high"] < 0 else "worse"


def losses(told):
    """Log loss of each method and its difference from isotonic."""
    methods = {}
    for name, each in told["methods"].items():
        methods[name] = {"logloss": {key: each["metrics"][0][key] for key in ("value", "low", "high")}}
        if each["against"]:
            one = each["against"][0]
            methods[name]["minus_isotonic"] = {key: one[key] for key in ("difference", "low", "high", "p", "p_holm")}
            methods[name]["standing"] = standing(one)
    return methods


def compare(folder, fit, test, out, draws=DRAWS, methods=METHODS, flags=()):
    return slate(folder, "calibrate", "--scores", fit, "--test", test, "--methods", ",".join(methods), "--out", out,
                 "--force", "--set", f"evaluate.draws={draws}", *flags)


def simulated(results):
    """Every truth, base rate and number of rows."""
    cells = results.get("simulated", {}) if arguments.resume else {}
    with tempfile.TemporaryDirectory(prefix="slate-calibration-") as folder:
        folder = pathlib.Path(folder)
        for rows, files in FILES.items():
            for truth in TRUTHS:
                for rate in RATES:
                    if f"{truth} {rate} {rows}" in cells or (rows == MOST and rate != ITS_RATE):
                        continue
                    cells[f"{truth} {rate} {rows}"] = cell(folder, truth, rate, rows, files)
                    keep(results, "simulated", cells)
    return cells


def cell(folder, truth, rate, rows, files):
    s, p, y, _ = draw(truth, rate, TEST_ROWS, 0)
    write(folder / "test.parquet", s, y, first=10**8)
    write(folder / "small.parquet", s[:2000], np.where(np.arange(2000) < 2, [1] * 2000, y[:2000]), first=10**8)
    each, positives = {name: [] for name in METHODS}, []
    for number in range(1, files + 1):
        fit_s, _, fit_y, _ = draw(truth, rate, rows, number)
        positives.append(int(fit_y.sum()))
        write(folder / "fit.parquet", fit_s, fit_y)
        if number == 1:
            told, seconds = compare(folder, "fit.parquet", "test.parquet", "maps")
            if rows == 10_000:
                held(folder, s)
        else:
            compare(folder, "fit.parquet", "small.parquet", "maps", 20)
        for name in METHODS:
            each[name].append(excess(p, apply(folder / "maps" / f"{name}.json", s)))
    methods = losses(told)
    for name in METHODS:
        methods[name] |= {"excess_judged": each[name][0], "excess_mean": float(np.mean(each[name])),
                          "excess_each": each[name]}
    result = {"truth": truth, "rate": rate, "rows": rows, "files": files, "seconds": seconds,
              "positives_judged": positives[0], "positives_mean": float(np.mean(positives)),
              "test_positives": int(y.sum()), "entropy": float(entropy(p)), "methods": methods, "verdict": told["verdict"]}
    line = ", ".join(f"{name} {1e5 * methods[name]['excess_mean']:.2f}" for name in METHODS)
    print(f"{truth} {rate} {rows}: {positives[0]} positives, {seconds} s; {line}\n  {told['verdict']}", flush=True)
    return result


def entropy(p):
    inside = p[(p > 0) & (p < 1)]
    return -(inside * np.log(inside) + (1 - inside) * np.log1p(-inside)).sum() / len(p)


def held(folder, s):
    """Holds `apply` to the program's own."""
    for name in METHODS:
        slate(folder, "calibrate", "--apply", f"maps/{name}.json", "--scores", "test.parquet", "--out", "p.parquet", "--force")
        own = pd.read_parquet(folder / "p.parquet", columns=["probability"])["probability"].to_numpy()
        gap = np.abs(own - apply(folder / "maps" / f"{name}.json", s)).max()
        assert gap < 1e-12, (name, gap)


def keep(results, section, told):
    results["machine"] = measure.machine()
    results[section] = told
    measure.write(HERE / "results.json", measure.short(results))


def money(results):
    """Orders by log p + w log price, at 1 % and a million rows."""
    told = {}
    with tempfile.TemporaryDirectory(prefix="slate-calibration-") as folder:
        folder = pathlib.Path(folder)
        for truth in ("logistic", "kinked"):
            s, p, y, price = draw(truth, 0.01, TEST_ROWS, 0)
            write(folder / "test.parquet", s, y, price, first=10**8)
            fit_s, _, fit_y, fit_price = draw(truth, 0.01, 1_000_000, 1)
            write(folder / "fit.parquet", fit_s, fit_y, fit_price)
            own, seconds = compare(folder, "fit.parquet", "test.parquet", "maps", methods=["isotonic", "sigmoid", "exponential", "spline"])
            top = None
            methods = {}
            for name, each in own["methods"].items():
                blended = each["blended"]
                top = int(blended["metrics"][0]["name"].split("@")[1])
                q = apply(folder / "maps" / f"{name}.json", s) if name != "raw" else 1 / (1 + np.exp(-s))
                methods[name] = {"blended": blended, "true_revenue": earned(q, p, price, s, blended["weight"], top)}
            best = earned(p, p, price, s, 1.0, top)
            told[truth] = {"seconds": seconds, "top": top, "blend": own["blend"], "best_revenue": best, "methods": methods,
                           "verdict": own["verdict"]}
            print(f"{truth}: {seconds} s, best {best:.4f}", {n: (m["blended"]["weight"], round(m["true_revenue"], 4)) for n, m in methods.items()})
            print(own["verdict"], flush=True)
    keep(results, "money", told)
    return told


def earned(q, p, price, s, weight, top):
    """Expected price of what is bought among the first `top` of a list, per list; ties by score."""
    blend = np.log(np.maximum(q, 1e-300)) + weight * np.log(price)
    order = np.lexsort((-s.reshape(-1, LIST), -blend.reshape(-1, LIST)))[:, :top]
    return float(np.take_along_axis((p * price).reshape(-1, LIST), order, axis=1).sum(axis=1).mean())


def cut(results):
    """What it costs that the exponential may promise exactly 1, and how much Venn-Abers promises in all."""
    told = {}
    with tempfile.TemporaryDirectory(prefix="slate-calibration-") as folder:
        folder = pathlib.Path(folder)
        for truth, rate, rows in [("logistic", 0.1, 100_000), ("kinked", 0.1, 100_000), ("logistic", 0.003, 1_000_000),
                                  ("kinked", 0.003, 1_000_000)]:
            s, p, y, _ = draw(truth, rate, TEST_ROWS, 0)
            fit_s, _, fit_y, _ = draw(truth, rate, rows, 1)
            write(folder / "fit.parquet", fit_s, fit_y)
            write(folder / "small.parquet", s[:2000], np.where(np.arange(2000) < 2, [1] * 2000, y[:2000]), first=10**8)
            compare(folder, "fit.parquet", "small.parquet", "maps", 20, ["isotonic", "exponential", "venn_abers"])
            q = {name: apply(folder / "maps" / f"{name}.json", s) for name in ("isotonic", "exponential", "venn_abers")}
            ones, bound = q["exponential"] >= 1, 1 / (fit_y.sum() + 2)
            told[f"{truth} {rate} {rows}"] = here = {
                "promised_1": float(ones.mean()), "of_which_come": float(p[ones].mean()) if ones.any() else None,
                "excess": excess(p, q["exponential"]),
                "excess_kept_off_1": excess(p, np.minimum(q["exponential"], 1 - bound)),
                "promised_over_true": {name: float(each.mean() / p.mean()) for name, each in q.items()}}
            print(f"{truth} {rate} {rows}", json.dumps(measure.short(here)))
    keep(results, "cut", told)
    return told


def outbrain(results):
    """Outbrain's displays, as in the main README: clicks."""
    shared = pathlib.Path(os.environ["SLATE_SHARED"]) / "data/outbrain_sample"
    config = ROOT / "configs/outbrain.toml"
    with tempfile.TemporaryDirectory(prefix="slate-calibration-") as folder:
        run = lambda *words: slate(folder, *words)
        run("import", "outbrain", shared, "--out", "logs")
        run("features", "-c", config, "--logs", "logs", "--out", "data")
        run("train", "-c", config, "--data", "data", "--out", "run")
        for split in ("calibrate", "test"):
            run("score", "--run", "run", "--data", "data", "--split", split, "--out", f"{split}.parquet")
        own, _ = run("calibrate", "-c", config, "--scores", "calibrate.parquet", "--test", "test.parquet", "--methods",
                     ",".join(METHODS), "--out", "maps")
    told = {"fitted_on": own["fitted_on"], "judged_on": own["judged_on"], "methods": losses(own), "verdict": own["verdict"]}
    print(own["verdict"])
    keep(results, "outbrain", told)
    return told


def claims(cells):
    """Claims of the verdicts that the truth bears out, contradicts, and what was not told apart; intervals of the
    difference from isotonic that hold the true one."""
    counts = {"agree": 0, "contradict": 0, "alike": 0, "contradictions": [], "intervals": 0, "cover": 0}
    for key, one in cells.items():
        best = one["methods"]["isotonic"]["excess_judged"]
        for name in METHODS[1:]:
            each = one["methods"][name]
            truly, told = each["excess_judged"] - best, each["minus_isotonic"]
            counts["intervals"] += 1
            counts["cover"] += told["low"] <= truly <= told["high"]
            if each["standing"] == "alike":
                counts["alike"] += 1
            elif (truly < 0) == (each["standing"] == "better"):
                counts["agree"] += 1
            else:
                counts["contradict"] += 1
                counts["contradictions"].append(f"{key} {name}: {each['standing']}, truly {1e5 * truly:+.3f}e-5")
    return counts


def plots(results):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "slate", "svg.fonttype": "none", "font.sans-serif": ["DejaVu Sans"],
                                "font.size": 8})
    import matplotlib.pyplot as plt

    cells = list(results["simulated"].values())
    looks = {"isotonic": ("o", "-"), "sigmoid": ("s", "--"), "exponential": ("^", ":"), "spline": ("D", "-."),
             "venn_abers": ("x", (0, (1, 3)))}
    figure, axes = plt.subplots(3, 3, figsize=(8, 7), sharex=True)
    for row, truth in enumerate(TRUTHS):
        for column, rate in enumerate(RATES):
            panel = axes[row][column]
            here = sorted((c for c in cells if c["truth"] == truth and c["rate"] == rate), key=lambda c: c["rows"])
            for name, (marker, line) in looks.items():
                panel.plot([c["rows"] for c in here], [1e5 * c["methods"][name]["excess_mean"] for c in here],
                           marker=marker, linestyle=line, markersize=4, label=name)
            panel.set_xscale("log")
            panel.set_yscale("log")
            panel.minorticks_off()
            panel.xaxis.set_major_formatter(lambda value, _: f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k")
            panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            panel.set_title(f"{truth}, {100 * rate:g} %")
    axes[1][0].set_ylabel("excess log loss, 1e-5")
    axes[2][1].set_xlabel("rows to calibrate on")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="lower center", ncol=5)
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    save(figure, HERE / "excess.svg")

    signs = {"better": "−", "alike": "=", "worse": "+"}  # of the other method, so turned round for isotonic
    shades = {"worse": "#9ecae1", "alike": "#f0f0f0", "better": "#fdae6b"}
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), sharey=True)
    sizes = sorted({c["rows"] for c in cells})
    lines = [(truth, rate) for truth in TRUTHS for rate in RATES]
    for panel, name in zip(axes, ("sigmoid", "exponential")):
        for c in cells:
            x, y = sizes.index(c["rows"]), lines.index((c["truth"], c["rate"]))
            how = c["methods"][name]["standing"]
            panel.add_patch(plt.Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=shades[how], edgecolor="white"))
            panel.text(x, y, signs[how], ha="center", va="center", fontsize=12)
        panel.set_xticks(range(len(sizes)), [f"{size:,}" for size in sizes])
        panel.set_yticks(range(len(lines)), [f"{truth}, {100 * rate:g} %" for truth, rate in lines])
        panel.set_xlim(-0.5, len(sizes) - 0.5)
        panel.set_ylim(len(lines) - 0.5, -0.5)
        panel.set_title(f"isotonic beside {name}")
        panel.set_xlabel("rows to calibrate on")
    figure.text(0.5, 0.01, "+ isotonic better    = not told apart    − isotonic worse (500,000 test rows)    white: not run", ha="center")
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    save(figure, HERE / "winners.svg")


def save(figure, path):
    """Writes a figure without metadata, without indents and with one decimal, to keep it small."""
    figure.savefig(path, metadata={"Date": None})
    text = re.sub(r"<metadata>.*?</metadata>", "", path.read_text(), flags=re.DOTALL)
    path.write_text(re.sub(r"(\.\d)\d+", r"\1", re.sub(r"\n\s+", "\n", text)))


def tables(results):
    cells = sorted(results["simulated"].values(), key=lambda c: (list(TRUTHS).index(c["truth"]), c["rate"], c["rows"]))
    words = {"better": "worse", "worse": "better", "alike": "="}  # of the other method, so turned round for isotonic
    rows = []
    for c in cells:
        row = {"truth": c["truth"], "rate": f"{100 * c['rate']:g} %", "rows": f"{c['rows']:,}",
               "positives": f"{c['positives_judged']:,}"}
        for name in ("isotonic", "centred", "sigmoid", "exponential", "spline", "venn_abers"):
            row[name] = f"{1e5 * c['methods'][name]['excess_mean']:.2f}"
        for name in ("sigmoid", "exponential", "spline"):
            row[f"to {name}"] = words[c["methods"][name]["standing"]]
        rows.append(row)
    print("\n" + measure.table(rows, list(rows[0])))
    print("\n" + json.dumps(results.get("claims"), indent=2, ensure_ascii=False))


file = HERE / "results.json"
results = json.loads(file.read_text()) if file.exists() else {}
sections = {"simulated": simulated, "money": money, "cut": cut, "outbrain": outbrain, "plots": plots}
for name in arguments.only.split(","):
    if name not in sections:
        sys.exit(f"--only {name}, expected some of {', '.join(sections)}")
    sections[name](results)
if "simulated" in results:
    keep(results, "claims", claims(results["simulated"]))
    tables(results)
