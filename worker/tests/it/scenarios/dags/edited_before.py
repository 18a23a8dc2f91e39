"""A DAG before its authors change it."""

from datetime import datetime

from airflow.providers.standard.operators.empty import EmptyOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    "edited",
    schedule=None,
    start_date=datetime(2025, 1, 1),
    is_paused_upon_creation=False,
    description="As it was",
    tags=["before"],
    default_args={"owner": "ada"},
):
    EmptyOperator(task_id="first") >> EmptyOperator(task_id="goes")
