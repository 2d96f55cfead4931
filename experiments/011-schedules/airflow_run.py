"""Runs the DAG of a folder with a `slate` that ends with each exit code in turn; prints what came of it as JSON.

    python airflow_run.py FOLDER      (with Airflow's Python, a fresh database, and the stand-in for `slate` on PATH)

The stand-in reads its exit code from FOLDER/../code and adds its words to FOLDER/../calls, one call a line.
"""

import json
import pathlib
import sys
from datetime import datetime, timezone

import airflow
from airflow.timetables.base import TimeRestriction

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow 2
    from airflow.models import DagBag

FOLDER = pathlib.Path(sys.argv[1])
CALLS, CODE = FOLDER.parent / "calls", FOLDER.parent / "code"

bag = DagBag(str(FOLDER))
if bag.import_errors or list(bag.dags) != ["slate_retrain"]:
    sys.exit(f"DAGs {list(bag.dags)}, errors {bag.import_errors}")
dag = bag.dags["slate_retrain"]


def ended(code, when):
    """One run of the DAG for the date, with retries, in this process."""
    CODE.write_text(str(code))
    CALLS.write_text("")
    run = dag.test(logical_date=when) if airflow.__version__ >= "3" else dag.test(execution_date=when)
    return {"code": code, "date": when.isoformat(), "run": str(run.state), "calls": CALLS.read_text().splitlines(),
            "tasks": [str(each.state) for each in run.get_task_instances()]}


def scheduled(months):
    """When the scheduler starts runs by itself, and where their data intervals begin.

    Nothing for a timetable that Airflow 3 keeps for the scheduler, as it does for a plain cron string.
    """
    if not hasattr(dag.timetable, "next_dagrun_info"):
        return []
    restriction = TimeRestriction(earliest=dag.start_date, latest=None, catchup=True)
    found, last = [], None
    for _ in range(months):
        info = dag.timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
        last = info.data_interval
        found.append([info.run_after.isoformat(), last.start.isoformat()])
    return found


dates = [datetime(2026, 12, 2, 4, tzinfo=timezone.utc), datetime(2027, 1, 2, 4, tzinfo=timezone.utc),
         datetime(2027, 2, 2, 4, tzinfo=timezone.utc)]
told = {"version": airflow.__version__, "active": dag.max_active_runs, "catchup": dag.catchup,
        "scheduled": scheduled(14), "runs": [ended(code, date) for code, date in enumerate(dates)]}
print("\n" + json.dumps(told))
