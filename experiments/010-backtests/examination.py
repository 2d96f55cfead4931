"""How likely users look at each slot, from 40 hotel searches, a third of them in random order.

    cargo build --release
    SLATE_SHARED=... python experiments/010-backtests/examination.py --scratch DIR

Standard library only. Prints the tables of README.md.
"""

import argparse
import os
import pathlib

from common import answer, interval, measure, program, results

# All clicks are known by then; without it, purchases could still follow for the latest searches.
AS_OF = "2014-06-01"


def main():
    parser = argparse.ArgumentParser()
    program(parser)
    args = parser.parse_args()
    source = pathlib.Path(os.environ["SLATE_SHARED"]) / "data" / "expedia_preview"
    logs, shown = args.scratch / "expedia", args.scratch / "expedia-shown"
    args.scratch.mkdir(parents=True, exist_ok=True)
    measure.run([str(args.slate), "import", "expedia", str(source), "--out", str(logs), "--force"])
    measure.run([str(args.slate), "label", "--logs", str(logs), "--out", str(shown), "--with", "traffic_class",
                 "--as-of", AS_OF, "--force", "-q"])
    told = answer(args.slate, "backtest", "examine", "--log", shown / "labels.parquet",
                  "--random", "traffic_class=random")
    results("examination", told)
    curves = told["curves"]
    rows = []
    for slot in range(len(curves[0]["examination"])):
        row = {"slot": slot}
        for curve in curves:
            value, low, high = (curve[key][slot] for key in ("examination", "low", "high"))
            cell = "–" if value is None else f"{value:.2f} {'[–]' if low is None else interval(low, high, 2)}"
            row[f"{curve['curve']}, {curve['lists']} lists"] = cell
        rows.append(row)
    print(measure.table(rows, list(rows[0])))
    print(f"\nplacements whose item stood in several slots: {100 * told['several_slots']:.1f} %")


if __name__ == "__main__":
    main()
