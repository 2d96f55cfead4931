"""`slate retrain` by Airflow 2.9 or later, 3 included: one run per month, in the order of the months.

Exit code 0 is success. 1 (the old model stays) skips the task: no retry, and the run of the DAG succeeds.
Every other code fails the task, which is retried. Workers need the program, the configuration and the work folder.
"""

import logging
from datetime import datetime, timedelta, timezone

try:
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.operators.bash import BashOperator
from airflow.timetables.interval import CronDataIntervalTimetable

CONFIG = "/etc/slate/retrain.toml"
WORK = "/var/lib/slate"

# The month is that in which the data interval starts: the run of 2 December has that of 2 November and retrains on
# 2026-11. Written out, so that a month run late or again is the same month.
COMMAND = (
    f"exec slate retrain --config {CONFIG} --month {{{{ data_interval_start.strftime('%Y-%m') }}}} --log-format json"
)


def kept(context):
    """Runs when the old model stays. The place for a notice; `[retrain] webhook` posts the verdict without it."""
    logging.getLogger(__name__).warning("%s: the old model stays", context["run_id"])


def failed(context):
    """Runs once, after the last retry."""
    logging.getLogger(__name__).error("%s: no retry is left", context["run_id"])


with DAG(
    dag_id="slate_retrain",
    description="Monthly retrain of the Slate ranker",
    # Where `[retrain] lag_days` is not 0, so many days later: labels that are not final yet look like fewer purchases.
    # A plain cron string has no interval in Airflow 3: its data_interval_start is the 2nd of the month just begun.
    schedule=CronDataIntervalTimetable("0 4 2 * *", timezone="UTC"),
    # The first month that is retrained on is the one this date lies in. Months that were missed are made up for,
    # one at a time.
    start_date=datetime(2026, 11, 2, 4, tzinfo=timezone.utc),
    catchup=True,
    max_active_runs=1,
    tags=["slate"],
) as dag:
    BashOperator(
        task_id="retrain",
        bash_command=COMMAND,
        # A folder that is missing fails the task. `cd` in the command would end with 1, which is a verdict.
        cwd=WORK,
        skip_on_exit_code=1,
        retries=3,
        retry_delay=timedelta(hours=6),
        execution_timeout=timedelta(days=1),
        on_skipped_callback=kept,
        on_failure_callback=failed,
    )
