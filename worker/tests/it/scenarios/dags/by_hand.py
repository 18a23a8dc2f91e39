"""Runs that somebody interferes with."""

import time
from datetime import datetime, timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task

USUAL = dict(schedule=None, start_date=datetime(2025, 1, 1), is_paused_upon_creation=False, tags=["by hand"])

with DAG("waits", **USUAL):
    # Airflow fails a task whose trigger fires before the scheduler has heard that it waits: hence the retries.
    waiting = DateTimeSensorAsync(
        task_id="wait",
        target_time="{{ macros.datetime.utcnow() + macros.timedelta(seconds=dag_run.conf['seconds']) }}",
        retries=5,
        retry_delay=timedelta(seconds=1),
    )
    waiting >> EmptyOperator(task_id="after")

with DAG("slow", **USUAL):

    @task
    def take_time():
        time.sleep(15)

    take_time() >> EmptyOperator(task_id="after")

with DAG("chain", **USUAL):

    @task(retries=2)
    def work():
        print("done")

    EmptyOperator(task_id="first") >> work() >> EmptyOperator(task_id="last")

with DAG("simple", **USUAL):
    EmptyOperator(task_id="first") >> EmptyOperator(task_id="last")
