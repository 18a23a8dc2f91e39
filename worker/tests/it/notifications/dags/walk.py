"""A pipeline of which one run is slow, one that is due every five minutes, and one that fails."""

import time
from datetime import datetime
from pathlib import Path

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, get_current_context, task

START = datetime(2025, 1, 1)

with DAG("slow_report", schedule=[Asset("walk")], start_date=START, catchup=False):

    @task
    def report():
        while not Path("RELEASE").exists():
            time.sleep(1)

    report()

with DAG("missed_load", schedule="*/5 * * * *", start_date=START, catchup=False):
    EmptyOperator(task_id="load")

with DAG("broken_export", schedule=None, start_date=START):

    @task
    def export():
        if not get_current_context()["dag_run"].conf.get("works"):
            raise ValueError("the table is missing")

    exported = export()
    for number in range(5):
        exported >> EmptyOperator(task_id=f"publish_{number}")
