"""Checks each file of configs/schedule with its own tool or with a parser, and runs what can be run.

    python check.py [--npm node_modules] [--airflow PYTHON ...] [--slate PROGRAM] [--only NAME ...] [--break]

A check whose tool is missing says so and does not count as passed. With --break it is the checks that are checked:
each mistake of breaks.py is put into a copy of the files, and its check must then fail. Writes results.json.
"""

import argparse
import contextlib
import datetime
import importlib.metadata
import io
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zoneinfo

from breaks import BREAKS

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "harness"))
import measure  # noqa: E402

CONFIG, WORK = "/etc/slate/retrain.toml", "/var/lib/slate"
LENGTH = 120
# The only address that a file may name, an example.
ADDRESSES = {"http://alerts.monitoring.svc/slate"}
# What systemd-analyze calls the exposure of the service, in tenths; 18 when this was written.
EXPOSURE = 20


class Wrong(Exception):
    """A file fails a check."""


class Missing(Exception):
    """A tool is not here."""


def need(holds, why):
    if not holds:
        raise Wrong(why)


def tool(name):
    beside = pathlib.Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise Missing(name)
    return found


def package(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        raise Missing(f"Python package {name}") from None


def version(distribution):
    return f"{distribution} {importlib.metadata.version(distribution)}"


def ran(*words, ok=(0,), **how):
    """What a command says on both streams; wrong if its exit code is not among `ok`."""
    told = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          **how)
    name = pathlib.Path(words[0]).name
    need(told.returncode in ok, f"{name} ended with {told.returncode}: {told.stdout.strip()[-300:]}")
    return told.stdout


def scratch():
    return tempfile.TemporaryDirectory(prefix="schedules-")


class Files:
    """The files under test: those of the repository, or a copy with a mistake in it."""

    def __init__(self, root, options):
        self.root, self.options = root, options
        self.folder = root / "configs" / "schedule"

    def text(self, name):
        return (self.folder / name).read_text()


def stand_in(folder):
    """A `slate` that adds its words to `calls` and ends with the number in `code`; a verdict comes with a report."""
    program = folder / "bin" / "slate"
    program.parent.mkdir(parents=True)
    program.write_text(f"""#!{sys.executable}
import json, pathlib, sys, time
here = pathlib.Path({str(folder)!r})
with open(here / "calls", "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + chr(10))
code = int((here / "code").read_text())
if code < 2:
    time.sleep(0.02)
    month = pathlib.Path("retrain/months/2026-10")
    month.mkdir(parents=True, exist_ok=True)
    (month / "report.html").write_text("report")
print("{{}}")
sys.exit(code)
""")
    program.chmod(0o755)
    (folder / "code").write_text("0")
    (folder / "calls").write_text("")
    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(folder)}


def calls(folder):
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


def asks(words, month=None, verdict=True):
    """The words after the program's name are a retrain, with options that it has, and a verdict on stdout or none."""
    need(words[:1] == ["retrain"], f"not a retrain: {words}")
    takes = {"--config": 1, "--month": 1, "--log-format": 1, "--json": 0, "--quiet": 0}
    found, rest = {}, words[1:]
    while rest:
        need(rest[0] in takes and len(rest) > takes[rest[0]], f"unknown word `{rest[0]}`: {words}")
        found[rest[0]], rest = rest[1:1 + takes[rest[0]]], rest[1 + takes[rest[0]]:]
    need(found.get("--config") == [CONFIG], f"another configuration: {words}")
    need(found.get("--month") == ([month] if month else None), f"another month than {month}: {words}")
    need(found.get("--log-format") == ["json"], f"another log format: {words}")
    need(("--json" in found) == verdict, f"a verdict where none is read, or none where one is: {words}")


def days(expression, wanted):
    """Fires on these days of each month, in UTC, and in every time zone when the month before is the same."""
    croniter = package("croniter")
    try:
        clock = croniter.croniter(expression, datetime.datetime(2026, 11, 6, tzinfo=datetime.UTC))
        times = [clock.get_next(datetime.datetime) for _ in range(12 * len(wanted))]
    except croniter.CroniterError as error:
        raise Wrong(f"`{expression}`: {error}") from None
    need([time.day for time in times] == wanted * 12, f"fires on {times[:5]}")
    for zone in (zoneinfo.ZoneInfo("Etc/GMT-14"), zoneinfo.ZoneInfo("Etc/GMT+12")):
        local = [time.replace(tzinfo=zone).astimezone(datetime.UTC) for time in times]
        need([time.month for time in local] == [time.month for time in times], f"another month in {zone}")
    return version("croniter")


def units(text):
    """The settings of a unit file as (section, name) to the last value."""
    found, section = {}, None
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[section, name] = value
    return found


def seconds(span):
    return int(re.search(r"\u03bcs: (\d+)", ran(tool("systemd-analyze"), "timespan", span)).group(1)) / 1e6


@contextlib.contextmanager
def unit_tree(files):
    """A root with systemd's own units, ours, and something in the place of the program."""
    with scratch() as folder:
        tree = pathlib.Path(folder)
        shutil.copytree("/usr/lib/systemd/system", tree / "usr/lib/systemd/system", symlinks=True)
        (tree / "lib").symlink_to("usr/lib")
        for name in ("slate-retrain.service", "slate-retrain.timer"):
            (tree / "etc/systemd/system").mkdir(parents=True, exist_ok=True)
            shutil.copy(files.folder / name, tree / "etc/systemd/system")
        (tree / "usr/local/bin").mkdir(parents=True)
        (tree / "usr/local/bin/slate").write_text("#!/bin/sh\n")
        (tree / "usr/local/bin/slate").chmod(0o755)
        yield tree


def systemd():
    return ran(tool("systemd-analyze"), "--version").split("\n")[0].split(" (")[0]


def check_text(files):
    """ASCII, lines of at most 120, no address but the example's, and the README names every file."""
    mine = [path for path in HERE.iterdir() if path.suffix in (".md", ".py", ".groovy")]
    theirs = [path for path in files.folder.iterdir() if path.is_file()]
    for path in [*theirs, files.root / ".dockerignore", *mine]:
        text = path.read_text()
        for number, line in enumerate(text.splitlines(), 1):
            where = f"{path.name}:{number}"
            odd = set(line) - {chr(each) for each in range(32, 127)}
            need(not odd, f"{where} has {sorted(odd)}")
            need(len(line) <= LENGTH, f"{where} has {len(line)} characters")
            need(line == line.rstrip(), f"{where} ends with a space")
            for address in re.findall(r"\w+://[\w.-]+\.\w[^\s\"')]*", line):
                need(address in ADDRESSES, f"{where} names {address}")
        need(text.endswith("\n"), f"{path.name} does not end its last line")
    readme = files.text("README.md")
    for path in theirs:
        need(path.name == "README.md" or f"`{path.name}`" in readme, f"README.md does not name {path.name}")
    return "Python"


def check_systemd_verify(files):
    """systemd-analyze verify has nothing to say."""
    with unit_tree(files) as tree:
        told = ran(tool("systemd-analyze"), "verify", "--man=no", f"--root={tree}", "slate-retrain.service",
                   "slate-retrain.timer")
    need(not told.strip(), told.strip())
    return systemd()


def check_systemd_settings(files):
    """What the units promise: when they start, which codes are success, and that retries end."""
    service, timer = units(files.text("slate-retrain.service")), units(files.text("slate-retrain.timer"))
    asks(shlex.split(service["Service", "ExecStart"])[1:], verdict=False)
    wanted = {"Type": "oneshot", "User": "slate", "SuccessExitStatus": "1", "Restart": "on-failure",
              "WorkingDirectory": WORK, "StateDirectory": "slate", "ProtectSystem": "strict", "UMask": "0022"}
    for name, value in wanted.items():
        need(service.get(("Service", name)) == value, f"{name} is {service.get(('Service', name))}, not {value}")
    for name in ("ProtectProc", "ProcSubset", "PrivatePIDs"):
        need(("Service", name) not in service, f"{name} hides from the lease whether its holder lives")
    burst = int(service["Unit", "StartLimitBurst"])
    longest = burst * seconds(service["Service", "TimeoutStartSec"]) \
        + (burst - 1) * seconds(service["Service", "RestartSec"])
    need(longest < seconds(service["Unit", "StartLimitIntervalSec"]), "slow failures never reach the limit of starts")
    need(timer.get(("Timer", "Persistent")) == "true", "the timer is not persistent")
    need(seconds(timer["Timer", "RandomizedDelaySec"]) > 0, "no random delay")
    told = ran(tool("systemd-analyze"), "calendar", "--iterations=12", "--base-time=2026-11-06 00:00:00 UTC",
               timer["Timer", "OnCalendar"])
    dates = re.findall(r"(\d{4}-\d\d-\d\d) \d\d:\d\d:\d\d UTC", told)
    need(len(dates) == 12 and {date[-2:] for date in dates} == {"02"}, f"the timer fires on {dates}")
    return systemd()


def check_systemd_security(files):
    """The exposure that systemd sees is no larger than it was."""
    with unit_tree(files) as tree:
        told = ran(tool("systemd-analyze"), "security", "--offline=true", f"--root={tree}", f"--threshold={EXPOSURE}",
                   "--no-pager", "slate-retrain.service")
    return f"{systemd()}, exposure {re.search(r'service: ([0-9.]+)', told).group(1)}"


def check_systemd_syscalls(files):
    """What the whole chain asks of the kernel is what the service is allowed."""
    if not files.options.slate:
        raise Missing("--slate PROGRAM")
    service = units(files.text("slate-retrain.service"))
    known = ran(tool("systemd-analyze"), "syscall-filter", "--no-pager")
    sets, name = {}, None
    for line in known.splitlines():
        if line.startswith("@"):
            name = line.strip()
            sets[name] = set()
        elif name and line.startswith("    ") and not line.strip().startswith("#"):
            sets[name].add(line.strip())

    def members(names):
        return {each for name in names for each in (members(sets[name]) if name in sets else {name})}

    allowed = members([*service["Service", "SystemCallFilter"].split(), "@default"])
    with scratch() as folder:
        trace = pathlib.Path(folder) / "trace"
        ran(tool("strace"), "-f", "-qq", "--seccomp-bpf", "-e", "trace=!read,write,futex,sched_yield", "-o", trace,
            files.options.slate, "demo", "--out", f"{folder}/demo", "--quiet")
        lines = [re.sub(r"^\d+ +(?:<\.\.\. )?", "", line) for line in trace.read_text().splitlines()]
    used = {re.match(r"\w+", line).group() for line in lines if re.match(r"\w+(\(| resumed)", line)}
    need(len(used) > 30, f"the trace has only {used}")
    need(used <= allowed, f"not allowed: {sorted(used - allowed)}")
    if service.get(("Service", "MemoryDenyWriteExecute")) == "yes":
        bad = [line for line in lines if "PROT_EXEC" in line and ("PROT_WRITE" in line or line.startswith("mprotect"))]
        need(not bad, f"memory to write and execute: {bad[:2]}")
    families = set(re.findall(r"socket(?:pair)?\((AF_\w+)", "\n".join(lines)))
    extra = families - set(service["Service", "RestrictAddressFamilies"].split())
    need(not extra, f"not allowed: {extra}")
    return f"{ran(tool('strace'), '-V').split(chr(10))[0]}, {len(used)} system calls"


def check_crontab(files):
    """cron reads it, it fires on the four days, and its line runs a retrain in the work folder."""
    ran(tool("crontab"), "-n", files.folder / "crontab")
    lines = [line for line in files.text("crontab").splitlines() if line and not line.startswith("#")]
    settings = [line for line in lines if re.match(r"\w+=", line)]
    need(settings == ["PATH=/usr/local/bin:/usr/bin:/bin"] and len(lines) == 2, f"lines are {lines}")
    *when, command = lines[1].split(None, 5)
    need("%" not in command, "a % ends a command of cron")
    used = days(" ".join(when), [2, 3, 4, 5])
    with scratch() as folder:
        folder = pathlib.Path(folder)
        env = stand_in(folder)
        (folder / "work").mkdir()
        told = subprocess.run(["/bin/sh", "-c", command.replace(WORK, str(folder / "work"))], env=env, cwd=folder,
                              capture_output=True, text=True)
        need(told.stderr == "" and told.stdout == "{}\n", f"cron would mail {told}")
        for words in calls(folder):
            asks(words)
        need((folder / "work/retrain").exists() and len(calls(folder)) == 1, "not run, or not in the work folder")
    return f"crontab -n, {used}"


def check_kubernetes(files):
    """The schemas of two versions, then what only a cluster would say, and agreement with the Dockerfile."""
    yaml, validate = package("yaml"), package("kubernetes_validate")
    documents = list(yaml.safe_load_all(files.text("kubernetes.yaml")))
    for document in documents:
        for release in ("1.31", validate.latest_version()):
            try:
                validate.validate(document, release, strict=True)
            except validate.ValidationError as error:
                raise Wrong(f"{document['kind']}, {release}: {error.message}") from None
    by_kind = {document["kind"]: document for document in documents}
    need(sorted(by_kind) == ["ConfigMap", "CronJob", "PersistentVolumeClaim"], f"kinds are {sorted(by_kind)}")
    need({document["metadata"]["name"] for document in documents} == {"slate-retrain"}, "names differ")
    for name, text in by_kind["ConfigMap"]["data"].items():
        try:
            parsed = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise Wrong(f"{name}: {error}") from None
        need(next(iter(parsed.items())) == ("format", 1) and "retrain" in parsed, f"{name} has no format or retrain")
    cron = by_kind["CronJob"]["spec"]
    need(cron["concurrencyPolicy"] == "Forbid" and cron["timeZone"] == "Etc/UTC", "concurrency or time zone")
    used = days(cron["schedule"], [2, 3, 4, 5])
    job = cron["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    need(pod["restartPolicy"] == "Never", "podFailurePolicy asks for restartPolicy Never")
    (container,) = pod["containers"]
    answer = {}
    for code in (1, 2, 101):
        actions = [rule["action"] for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule
                   and rule["onExitCodes"]["containerName"] == container["name"]
                   and (code in rule["onExitCodes"]["values"]) == (rule["onExitCodes"]["operator"] == "In")]
        answer[code] = (actions + ["Count"])[0]
    need(answer == {1: "FailJob", 2: "Count", 101: "Count"}, f"exit codes lead to {answer}")
    for rule in job["podFailurePolicy"]["rules"]:
        values = rule.get("onExitCodes", {}).get("values", [])
        need(values == sorted(set(values)) and 0 not in values, f"a cluster refuses the exit codes {values}")
    need(job["backoffLimit"] >= 1, "exit code 2 is never tried again")
    asks(container["args"])
    gib = re.compile(r'(?m)^memory = "(\d+)GiB"$').findall("".join(by_kind["ConfigMap"]["data"].values()))
    limit = container["resources"]["limits"]["memory"]
    need(len(gib) == 1 and int(gib[0]) < int(limit.removesuffix("Gi")), f"the program takes {gib} GiB of {limit}")
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    need(set(mounts) == set(volumes), f"volumes {sorted(volumes)}, mounts {sorted(mounts)}")
    need(volumes["work"]["persistentVolumeClaim"]["claimName"] == "slate-retrain", "another claim")
    need(volumes["config"]["configMap"]["name"] == "slate-retrain", "another configuration")
    need([f"{mounts['config']}/{name}" for name in by_kind["ConfigMap"]["data"]] == [CONFIG], "not where args look")
    image = dockerfile(files)
    need(container["workingDir"] == mounts["work"] == image["WORKDIR"], "another work folder than the image's")
    user = pod["securityContext"]
    need(f"{user['runAsUser']}:{user['runAsGroup']}" == image["USER"], "another user than the image's")
    need(user["fsGroup"] == user["runAsGroup"] and user["runAsNonRoot"], "the volume is not the user's")
    return f"{version('kubernetes-validate')}, {used}"


def dockerfile(files):
    """The last value of each instruction of the last stage."""
    parser = package("dockerfile_parse").DockerfileParser(fileobj=io.BytesIO(files.text("Dockerfile").encode()))
    stage = {}
    for each in parser.structure:
        if each["instruction"] == "FROM":
            stage = {}
        stage[each["instruction"]] = each["value"]
    return stage


def check_dockerfile(files):
    """hadolint is content; toolchain, build, user and entry point are as promised."""
    ran(tool("hadolint"), files.folder / "Dockerfile")
    parser = package("dockerfile_parse").DockerfileParser(fileobj=io.BytesIO(files.text("Dockerfile").encode()))
    channel = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    build, final = parser.parent_images
    need(build.startswith(f"rust:{channel}-slim-"), f"built by {build}, rust-toolchain.toml says {channel}")
    release = build.rsplit("-", 1)[1]
    need(final == f"debian:{release}-slim", f"built on {release}, run on {final}: another glibc")
    runs = [each["value"] for each in parser.structure if each["instruction"] == "RUN"]
    need(any("cargo build --locked --release -p slate " in each + " " for each in runs), f"builds by {runs}")
    stage = dockerfile(files)
    need(re.fullmatch(r"[1-9]\d*:[1-9]\d*", stage.get("USER", "")), "the user is not a number, or is root")
    need("RUN" not in stage, "the last stage needs a shell")
    for name in ("ENTRYPOINT", "CMD"):
        need(stage[name].startswith("["), f"{name} goes through a shell")
    need(json.loads(stage["ENTRYPOINT"]) == ["/usr/local/bin/slate"], "another entry point")
    return f"hadolint {ran(tool('hadolint'), '--version').split()[-1]}, {version('dockerfile-parse')}"


def check_docker_context(files):
    """What .dockerignore lets through is what the build reads, and no more."""
    build = package("docker.utils.build")
    patterns = [line for line in (files.root / ".dockerignore").read_text().splitlines()
                if line and not line.startswith("#")]
    sent = {path for path in build.exclude_paths(str(ROOT), patterns) if (ROOT / path).is_file()}
    wanted = {"Cargo.toml", "Cargo.lock"}
    for manifest in ROOT.glob("crates/*/Cargo.toml"):
        wanted.add(str(manifest.relative_to(ROOT)))
        for source in manifest.parent.glob("src/**/*"):
            if source.is_file():
                wanted.add(str(source.relative_to(ROOT)))
            if source.suffix == ".rs":
                for name in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', source.read_text()):
                    wanted.add(os.path.relpath((source.parent / name).resolve(), ROOT))
    need(wanted <= sent, f"the build would miss {sorted(wanted - sent)[:5]}")
    need("rust-toolchain.toml" not in sent, "rustup would fetch what rust-toolchain.toml names")
    # The builder always gets .dockerignore itself.
    outside = {path for path in sent if not path.startswith("crates/")} - {".dockerignore"}
    need(outside == wanted & outside, f"sent for nothing: {sorted(outside - wanted)[:5]}")
    return version("docker")


def groovy(files):
    if not files.options.npm:
        raise Missing("--npm node_modules")
    return files.options.npm.resolve()


def check_jenkins_lint(files):
    """Groovy parses it, and CodeNarc finds no error."""
    ran(groovy(files) / ".bin/npm-groovy-lint", "--noserver", "--failon", "error", "--nolintafter",
        files.folder / "Jenkinsfile", cwd=HERE)
    about = json.loads((groovy(files) / "npm-groovy-lint/package.json").read_text())
    return f"npm-groovy-lint {about['version']}"


def check_jenkins_run(files):
    """A stand-in for Jenkins runs it: outcomes by exit code, the month, what is kept."""
    jars = groovy(files) / "npm-groovy-lint/lib/java/groovy/lib"
    with scratch() as folder:
        folder = pathlib.Path(folder)
        env = {**os.environ, **stand_in(folder)}
        space = folder / "space"
        space.mkdir()

        def build(code, month="", work=folder / "work"):
            (folder / "code").write_text(str(code))
            (folder / "calls").write_text("")
            told = subprocess.run([tool("java"), "-cp", f"{jars}/*", "groovy.ui.GroovyMain", HERE / "jenkins.groovy",
                                   files.folder / "Jenkinsfile", space, f"SLATE_WORK={work}", f"MONTH={month}"],
                                  env=env, capture_output=True, text=True)
            need(told.returncode == 0, f"the stand-in refuses it: {told.stderr[-800:]}")
            return json.loads(told.stdout)

        (folder / "work").mkdir()
        outcomes = {0: "SUCCESS", 1: "UNSTABLE", 2: "FAILURE", 101: "FAILURE"}
        for code, outcome in outcomes.items():
            built = build(code)
            need(built["result"] == outcome, f"exit code {code} is {built['result']}, not {outcome}")
            kept = ["verdict.json", "report.html"][:2 if code < 2 else 1]
            need(built["archived"] == kept, f"after exit code {code} kept {built['archived']}")
            need(len(calls(folder)) == 1, f"{len(calls(folder))} calls")
            asks(calls(folder)[0])
        # A month, and one that would be a command if a shell read it.
        for month in ("2026-10", '2026-10"; touch pwned; "'):
            build(0, month=month)
            asks(calls(folder)[0], month=month)
        need(not list(folder.glob("**/pwned")), "the month was run as code")
        # A work folder that is not there is a failure, not a verdict.
        built = build(0, work=folder / "nowhere")
        need(built["result"] == "FAILURE" and not calls(folder), f"without a work folder: {built}")
        need("exit code 2" in built["messages"][0], f"without a work folder: {built['messages']}")
        need({"disableConcurrentBuilds", "skipDefaultCheckout"} <= set(built["options"]), f"{built['options']}")
        zone, cron = built["crons"][0].split("\n")
        need(zone == "TZ=Etc/UTC", f"the zone is {zone}")
        used = days(cron.replace("H", "17"), [2, 3, 4, 5])
    groovy_jar = next(jars.glob("groovy-[0-9]*.jar"))
    return f"jenkins.groovy on {groovy_jar.stem}, {used}"


def check_airflow(files):
    """Airflow loads the DAG and runs it: outcomes by exit code, retries, callbacks, and the month of each run."""
    if not files.options.airflow:
        raise Missing("--airflow PYTHON")
    return ", ".join(one_airflow(files, python) for python in files.options.airflow)


def one_airflow(files, python):
    with scratch() as folder:
        folder = pathlib.Path(folder)
        env = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
        env |= stand_in(folder)
        env |= {"AIRFLOW_HOME": str(folder / "home"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags")}
        (folder / "dags").mkdir()
        (folder / "work").mkdir()
        # The same DAG but for the folder, and for retries that do not wait six hours.
        text = files.text("slate_retrain_dag.py")
        for old, new in ((f'"{WORK}"', f'"{folder}/work"'), ("timedelta(hours=6)", "timedelta(seconds=1)")):
            need(text.count(old) == 1, f"the DAG has no {old}")
            text = text.replace(old, new)
        (folder / "dags/slate_retrain_dag.py").write_text(text)
        ran(python, "-m", "airflow", "db", "migrate", env=env, cwd=folder)
        told = ran(python, HERE / "airflow_run.py", folder / "dags", env=env, cwd=folder)
    found = json.loads(told.strip().splitlines()[-1])
    need(found["active"] == 1 and found["catchup"], f"active {found['active']}, catchup {found['catchup']}")

    def before(date):
        return (datetime.datetime.fromisoformat(date).replace(day=1) - datetime.timedelta(days=1)).strftime("%Y-%m")

    ends = {0: ("success", "success", 1), 1: ("success", "skipped", 1), 2: ("failed", "failed", 4)}
    for run in found["runs"]:
        end = (run["run"].lower().split(".")[-1], *[each.lower().split(".")[-1] for each in run["tasks"]])
        need((*end, len(run["calls"])) == ends[run["code"]], f"exit code {run['code']} ends as {run}")
        for words in run["calls"]:
            asks(json.loads(words), month=before(run["date"]), verdict=False)
    need(len(found["scheduled"]) == 14, "no timetable to ask for dates")
    for after, start in found["scheduled"]:
        need(after[8:10] == "02" and start[:7] == before(after), f"a run at {after} has the interval of {start}")
    for words in ("the old model stays", "no retry is left"):
        need(told.count(words) == 1, f"`{words}` was told {told.count(words)} times")
    return f"Airflow {found['version']}"


def check_options(files):
    """The program has every option that the schedules use."""
    if not files.options.slate:
        raise Missing("--slate PROGRAM")
    told = subprocess.run([files.options.slate, "retrain", "--help"], capture_output=True, text=True)
    if told.returncode:
        raise Missing("`slate retrain` in this program")
    for name in ("slate-retrain.service", "crontab", "kubernetes.yaml", "Jenkinsfile", "slate_retrain_dag.py"):
        lines = [line for line in files.text(name).splitlines() if not line.strip().startswith(("#", "//"))]
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", "\n".join(lines)):
            need(re.search(rf"{option}\b(?!-)", told.stdout), f"{name} uses {option}, which `slate retrain` has not")
    return ran(files.options.slate, "--version").strip()


CHECKS = {name.removeprefix("check_"): value for name, value in list(globals().items()) if name.startswith("check_")}


def outcome(name, files):
    try:
        return "passed", CHECKS[name](files)
    except Wrong as wrong:
        # Without colours, folders that were made for the check, and runs of spaces.
        return "failed", " ".join(re.sub(r"\x1b\[[0-9;]*m|/\S*/schedules-\w+/", "", str(wrong)).split())
    except Missing as missing:
        return "not checked", f"missing: {missing}"


def broken(options, names):
    """Puts each mistake into a copy of the files; rows of what its check then says, if it is content without it."""
    rows, whole = [], {}
    for name, path, old, new in BREAKS:
        if name not in names:
            continue
        if name not in whole:
            whole[name] = outcome(name, Files(ROOT, options))
        if whole[name][0] != "passed":
            print(f"not checked  {name}: {whole[name][1]}")
            rows.append({"check": name, "file": path, "old": old, "new": new, "result": "not checked"})
            continue
        with scratch() as folder:
            copy = pathlib.Path(folder)
            shutil.copytree(ROOT / "configs/schedule", copy / "configs/schedule",
                            ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(ROOT / ".dockerignore", copy)
            target = copy / path
            text = target.read_text()
            if text.count(old) < 1:
                sys.exit(f"breaks.py: {path} has no `{old}`")
            target.write_text(text.replace(old, new))
            state, why = outcome(name, Files(copy, options))
        rows.append({"check": name, "file": path, "old": old, "new": new, "result": state, "why": why[:400]})
        print(f"{state:11}  {name}: `{old.strip()}` -> `{new.strip()}`: {why[:160]}".replace("\n", " "), flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--npm", type=pathlib.Path, help="the node_modules that has npm-groovy-lint")
    parser.add_argument("--airflow", nargs="+", default=[], help="Pythons that have Airflow")
    parser.add_argument("--slate", help="the program")
    parser.add_argument("--only", nargs="+", default=list(CHECKS), choices=list(CHECKS))
    parser.add_argument("--break", dest="breaking", action="store_true", help="check the checks")
    options = parser.parse_args()
    if options.breaking:
        rows = broken(options, options.only)
        bad = [row for row in rows if row["result"] == "passed"]
    else:
        rows = []
        for name in options.only:
            state, told = outcome(name, Files(ROOT, options))
            rows.append({"check": name, "result": state, "with": told})
            print(f"{state:11}  {name}: {told}", flush=True)
        bad = [row for row in rows if row["result"] == "failed"]
    if options.only == list(CHECKS):
        path = HERE / "results.json"
        whole = json.loads(path.read_text()) if path.exists() else {}
        whole["breaks" if options.breaking else "checks"] = rows
        whole["date"], whole["machine"] = datetime.date.today().isoformat(), measure.machine()
        measure.write(path, dict(sorted(whole.items())))
    counts = {state: sum(row["result"] == state for row in rows) for state in ("passed", "failed", "not checked")}
    print(", ".join(f"{count} {state}" for state, count in counts.items()))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
