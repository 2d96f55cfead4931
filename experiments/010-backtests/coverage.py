"""Do the intervals of `slate backtest` hold what they say? Simulated logs whose truth is known exactly.

    cargo build --release
    pip install numpy pyarrow
    python experiments/010-backtests/coverage.py --scratch DIR [--logs 500] [--jobs 2]

A market is 200 kinds of page; a kind has n items, each with two columns, `usual` and `other`, and every list shows all
items of its kind. A purchase in slot k depends on item and slot alone. Laws: `additive`, a logistic curve of slot,
`usual` and `other`, which the program's regression can express where it sees both; `crossed`, items that sell at the
top and items that sell below, by a mark that no policy has, which it cannot. Loggers: by `usual`, any order on a share
of the lists (epsilon), or slot by slot by a softmax. A is the logged policy, a softmax or an order by `usual`; B is
the order by `other`. Where A and B are equal, kinds come in pairs with `usual` and `other` exchanged and the same law,
so that both earn the same and show other orders.

True values are sums over kinds of the probability of each item in each slot, by closed form or by a sum over sets of
items. Prints the tables of README.md.
"""

import argparse
import concurrent.futures
import dataclasses
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import answer, known, measure, policy, program, results

KINDS, SEED, LEVEL = 200, 10, 0.95
ESTIMATORS = ["dr", "sndr", "ips", "snips"]


@dataclasses.dataclass(frozen=True)
class Setting:
    length: int
    lists: int
    logger: tuple  # ("epsilon", share) or ("softmax", temperature)
    rate: float  # purchases per placement of the logger
    law: str
    a: str  # logged, softmax or usual
    equal: bool = False

    def name(self):
        kind, much = self.logger
        return f"{self.length} items, {kind} {much}, rate {self.rate}, {self.law}"


SETTINGS = [
    Setting(8, 500, ("epsilon", 0.5), 0.2, "additive", "logged"),
    Setting(8, 2000, ("epsilon", 0.5), 0.2, "additive", "logged"),
    Setting(8, 8000, ("epsilon", 0.5), 0.2, "additive", "logged"),
    Setting(8, 2000, ("epsilon", 0.1), 0.2, "additive", "logged"),
    Setting(8, 8000, ("epsilon", 0.1), 0.2, "additive", "logged"),
    Setting(8, 2000, ("epsilon", 0.5), 0.02, "additive", "logged"),
    Setting(8, 8000, ("epsilon", 0.1), 0.02, "crossed", "logged"),
    Setting(8, 500, ("epsilon", 0.5), 0.2, "crossed", "softmax"),
    Setting(3, 500, ("softmax", 1.0), 0.02, "additive", "softmax"),
    Setting(3, 2000, ("softmax", 1.0), 0.2, "additive", "softmax"),
    Setting(3, 8000, ("softmax", 0.4), 0.2, "crossed", "softmax"),
    Setting(8, 2000, ("epsilon", 0.5), 0.2, "additive", "usual", equal=True),
    Setting(8, 2000, ("epsilon", 0.1), 0.2, "crossed", "usual", equal=True),
    Setting(8, 2000, ("epsilon", 0.5), 0.02, "additive", "usual", equal=True),
    Setting(3, 2000, ("softmax", 0.4), 0.2, "crossed", "usual", equal=True),
]
SOFTMAX_A = 0.5  # temperature of A where it is a softmax


def softmax_chances(values, temperature):
    """`[kinds, items, slots]` of Plackett and Luce, summed over the sets of items that stand above."""
    kinds, n = values.shape
    odds = np.exp((values - values.max(1, keepdims=True)) / temperature)
    above = np.zeros((1 << n, kinds))  # probability that these items are the first ones
    above[0], chances = 1.0, np.zeros((kinds, n, n))
    for shown in range((1 << n) - 1):
        left = [item for item in range(n) if not shown >> item & 1]
        total = odds[:, left].sum(1)
        for item in left:
            chance = above[shown] * odds[:, item] / total
            chances[:, item, n - len(left)] += chance
            above[shown | 1 << item] += chance
    return chances


def order_chances(values):
    ranks = np.argsort(np.argsort(-values, 1), 1)
    return (ranks[:, :, None] == np.arange(values.shape[1])).astype(float)


class Market:
    def __init__(self, setting, number):
        rng = np.random.default_rng([SEED, number])
        n = setting.length
        self.setting, self.number = setting, number
        self.usual, self.other = rng.normal(size=(2, KINDS, n))
        mark = np.where(rng.random((KINDS, n)) < 0.5, -1.0, 1.0)
        if setting.equal:
            half = KINDS // 2
            self.usual[half:], self.other[half:], mark[half:] = self.other[:half], self.usual[:half], mark[:half]
        slots = np.arange(n)
        # Under the law that is not one of a pair, `other` says more.
        worth = (0.5, 0.5) if setting.equal else (0.4, 0.7)
        z = (worth[0] * self.usual + worth[1] * self.other)[:, :, None] - np.log1p(slots)
        if setting.law == "crossed":
            z = z + 0.8 * mark[:, :, None] * (2 * slots / (n - 1) - 1)
        self.chances = self.logger()
        self.rates = self.with_rate(z)
        self.truth = {"b": self.value(order_chances(self.other)), "a": self.value(self.policy_a())}

    def logger(self):
        kind, much = self.setting.logger
        if kind == "softmax":
            return softmax_chances(self.usual, much)
        return (1 - much) * order_chances(self.usual) + much / self.setting.length

    def policy_a(self):
        if self.setting.a == "logged":
            return self.chances
        return order_chances(self.usual) if self.setting.a == "usual" else softmax_chances(self.usual, SOFTMAX_A)

    def with_rate(self, z):
        """Purchase probabilities `[kinds, items, slots]` whose mean under the logger is the rate: by bisection."""
        low, high = -20.0, 20.0
        for _ in range(100):
            middle = (low + high) / 2
            rates = 1 / (1 + np.exp(-middle - z))
            low, high = (middle, high) if self.value_of(rates) < self.setting.rate else (low, middle)
        return rates

    def value_of(self, rates):
        return (self.chances * rates).sum() / KINDS / self.setting.length

    def value(self, chances):
        """Purchases per list."""
        return (chances * self.rates).sum() / KINDS

    def log(self, seed):
        rng, setting = np.random.default_rng([SEED, self.number, seed]), self.setting
        lists, n, (kind, much) = setting.lists, setting.length, setting.logger
        kinds = rng.integers(0, KINDS, lists)
        keys = self.usual[kinds]
        if kind == "softmax":
            keys = keys / much + rng.gumbel(size=keys.shape)
        else:
            keys = np.where(rng.random((lists, 1)) < much, rng.random(keys.shape), keys)
        items, slots = np.argsort(-keys, 1), np.broadcast_to(np.arange(n), (lists, n))
        at = (kinds[:, None], items, slots)
        bought = rng.random((lists, n)) < self.rates[at]
        here = (kinds[:, None], items)
        return {"list_id": np.repeat(np.arange(lists), n), "slot": slots, "item_id": n * kinds[:, None] + items,
                "purchase": bought.astype(np.int8), "propensity": self.chances[at],
                "usual": self.usual[here], "other": self.other[here]}


def judge(slate, scratch, number, seed):
    """One log: the verdict, difference, low and high of each estimator, doubts, whether the interval is sound."""
    setting = SETTINGS[number]
    market = MARKETS[number]
    folder = scratch / f"{number}-{seed % 8}"
    folder.mkdir(parents=True, exist_ok=True)
    b = policy(folder / "b.toml", "column:other")
    if setting.a == "softmax":
        a = policy(folder / "a.toml", "column:usual", kind="softmax", temperature=SOFTMAX_A)
    else:
        a = policy(folder / "a.toml", "logged" if setting.a == "logged" else "column:usual")
    log = folder / f"{seed}.parquet"
    pq.write_table(pa.table({key: np.ravel(column) for key, column in market.log(seed).items()}), log)
    told = answer(slate, "backtest", "--log", log, "--a", a, "--b", b, "--estimators", ",".join(ESTIMATORS),
                  "--seed", seed, "--threads", 1)
    log.unlink()
    found = [[each[key] for key in ("value", "low", "high")] for each in told["differences"]]
    names = [each["convention"].split(";")[0].removeprefix("estimator=") for each in told["differences"]]
    of_b = next(e for e in told["estimates"] if e["policy"] == "b" and e["estimator"] == "dr")
    doubts = [doubt["kind"] for doubt in told["doubts"][0]]
    of_b = [of_b[key] for key in ("value", "low", "high")]
    return told["verdict"], dict(zip(names, found)), of_b, doubts, told["sound"][0]


def begin(numbers):
    global MARKETS
    MARKETS = {number: Market(SETTINGS[number], number) for number in numbers}


def summary(market, judged):
    setting, truth = market.setting, market.truth["b"] - market.truth["a"]
    truth = 0.0 if setting.equal else truth
    verdicts = np.array([verdict for verdict, *_ in judged])
    told = verdicts != "cannot_tell"
    wrong = told if setting.equal else verdicts == ("a_better" if truth > 0 else "b_better")
    ends = {name: np.array([[np.nan if v is None else v for v in found[name]] for _, found, *_ in judged])
            for name in ESTIMATORS}
    held = {name: (each[:, 1] <= truth) & (truth <= each[:, 2]) for name, each in ends.items()}
    dr, of_b = ends["dr"], np.array([value for *_, value, _, _ in judged], float)
    sound = np.array([sound for *_, sound in judged])
    spread = dr[:, 0].std(ddof=1)
    kinds = [kind for *_, doubts, _ in judged for kind in doubts]
    return {
        "setting": dataclasses.asdict(setting), "logs": len(judged), "truth": market.truth, "difference": truth,
        "verdicts": {name: float((verdicts == name).mean()) for name in ("cannot_tell", "b_better", "a_better")},
        "wrong": float(wrong.mean()),
        "coverage": {name: float(each.mean()) for name, each in held.items()},
        "no_interval": {name: float(np.isnan(each[:, 1:]).any(1).mean()) for name, each in ends.items()},
        "below": float((dr[:, 2] < truth).mean()), "above": float((dr[:, 1] > truth).mean()),
        "coverage_told": float(held["dr"][told].mean()) if told.any() else None,
        "coverage_of_b": float(((of_b[:, 1] <= market.truth["b"]) & (market.truth["b"] <= of_b[:, 2])).mean()),
        "told": int(told.sum()),
        "sound": int(sound.sum()),
        "coverage_sound": float(held["dr"][sound].mean()) if sound.any() else None,
        "told_estimate": float(dr[told, 0].mean()) if told.any() else None,
        "zero_outside": float(((dr[:, 1] > 0) | (dr[:, 2] < 0)).mean()),
        "width": {name: float(np.nanmean(each[:, 2] - each[:, 1])) for name, each in ends.items()},
        "bias_in_errors": float((dr[:, 0].mean() - truth) / (spread / np.sqrt(len(judged)))),
        "doubts": {kind: kinds.count(kind) / len(judged) for kind in sorted(set(kinds))},
    }


def main():
    parser = argparse.ArgumentParser()
    program(parser)
    parser.add_argument("--logs", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", type=int, nargs="*", default=list(range(len(SETTINGS))), metavar="NUMBER",
                        help="settings to run; those in results.json stay what they are")
    parser.add_argument("--first", type=int, default=1, metavar="NUMBER",
                        help="number of the first log: others than the tables', printed and not kept")
    parser.add_argument("--dry", action="store_true", help="say the true values and end")
    args = parser.parse_args()
    begin(args.only)
    if args.dry:
        for number in args.only:
            print(number, SETTINGS[number].name(), SETTINGS[number].lists, MARKETS[number].truth)
        return
    found = {one["number"]: one for one in known("coverage").get("settings", [])}
    began = time.perf_counter()
    with concurrent.futures.ProcessPoolExecutor(args.jobs, initializer=begin, initargs=(args.only,)) as pool:
        for number in args.only:
            seeds = range(args.first, args.first + args.logs)
            work = [pool.submit(judge, args.slate, args.scratch, number, seed) for seed in seeds]
            told = {"number": number} | summary(MARKETS[number], [each.result() for each in work])
            if args.first != 1:
                print(number, SETTINGS[number].name(), told["coverage"], told["sound"], told["coverage_sound"])
                continue
            found[number] = told
            print(number, SETTINGS[number].name(), f"{time.perf_counter() - began:.0f} s", flush=True)
            results("coverage", {"level": LEVEL, "settings": [found[number] for number in sorted(found)]})
    if args.first == 1:
        print_tables(known("coverage")["settings"])


def print_tables(found):
    percent = lambda share: "–" if share is None else f"{100 * share:.1f}"  # noqa: E731
    rows, more = [], []
    for one in found:
        setting = Setting(**one["setting"])
        kind, much = setting.logger
        base, verdicts = one["truth"]["a"], one["verdicts"]
        name = {"items": setting.length, "lists": f"{setting.lists:,}", "logger": f"{kind} {much}",
                "rate": setting.rate, "law": setting.law, "A": setting.a}
        rows.append(name | {
            "true B − A": f"{100 * one['difference'] / base:+.1f} %", "width": f"{100 * one['width']['dr'] / base:.0f} %",
            "cannot tell": percent(verdicts["cannot_tell"]), "B": percent(verdicts["b_better"]),
            "A ": percent(verdicts["a_better"]), "wrong": percent(one["wrong"]),
            "held": percent(one["coverage"]["dr"]), "sound": percent(one["sound"] / one["logs"]),
            "held where sound": percent(one["coverage_sound"]), "where told": percent(one["coverage_told"]),
        })
        more.append(name | {key: percent(one["coverage"][key]) for key in ESTIMATORS} | {
            "truth above dr's": percent(one["below"]), "below it": percent(one["above"]),
            "0 outside": percent(one["zero_outside"]), "bias of dr": f"{one['bias_in_errors']:+.1f}",
            "mean where told": "–" if one["told_estimate"] is None or setting.equal
            else f"{one['told_estimate'] / one['difference']:.2f}",
        })
    for each in (rows, more):
        print("\n" + measure.table(each, list(each[0])))


if __name__ == "__main__":
    main()
