"""What the scripts of this folder share: running `slate backtest`, whose exit code 1 says that a log cannot tell."""

import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "harness"))
import measure  # noqa: E402

PROGRAM = ROOT / "target" / "release" / "slate"


def program(parser):
    parser.add_argument("--slate", type=pathlib.Path, default=PROGRAM, help="the program under test")
    parser.add_argument("--scratch", type=pathlib.Path, required=True, help="folder for logs and policies")


def words(command):
    return [str(word) for word in command]


def answer(*command):
    """The JSON that a command prints. Exit code 1 is an answer too; any other ends the script."""
    told = subprocess.run(words(command) + ["--json", "-q"], capture_output=True, text=True)
    if told.returncode not in (0, 1):
        sys.exit(f"exit code {told.returncode} from: {' '.join(words(command))}\n{told.stderr}")
    return json.loads(told.stdout)


def policy(path, ranker, **explore):
    """Writes a policy file and returns its path."""
    text = f'format = 1\nranker = "{ranker}"\n'
    if explore:
        text += "[explore]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in explore.items())
    path.write_text(text)
    return path


RESULTS = HERE / "results.json"


def known(part):
    """What results.json has of a script; an empty object if nothing."""
    return json.loads(RESULTS.read_text()).get(part, {}) if RESULTS.exists() else {}


def results(part, value):
    """Puts what a script found into results.json, which has one key per script."""
    whole = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    whole[part] = measure.short(value)
    measure.write(RESULTS, dict(sorted(whole.items())))


def interval(low, high, digits):
    return f"[{low:.{digits}f}, {high:.{digits}f}]"
