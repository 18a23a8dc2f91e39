"""Runs that nobody asked for: by schedule, by backfill, by what another has made."""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.empty import EmptyOperator

try:
    from airflow.sdk import DAG, Asset, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.datasets import Dataset as Asset
    from airflow.decorators import task

START = datetime(2025, 1, 1)
MADE = Asset("scenario://made")

with DAG("producer", schedule=None, start_date=START, is_paused_upon_creation=False):

    @task(outlets=[MADE])
    def make():
        print("made")

    make()

with DAG("consumer", schedule=[MADE], start_date=START, is_paused_upon_creation=False):
    EmptyOperator(task_id="take")

with DAG("monthly", schedule="@monthly", start_date=START, catchup=False, is_paused_upon_creation=False):
    EmptyOperator(task_id="first") >> EmptyOperator(task_id="last")

with DAG(
    "now_and_then", schedule=timedelta(days=1, hours=2), start_date=START, catchup=False, is_paused_upon_creation=True
):
    EmptyOperator(task_id="first")

with DAG("größen", schedule="30 4 * * 1-5", start_date=START, catchup=False, is_paused_upon_creation=True):
    EmptyOperator(task_id="zählen")
