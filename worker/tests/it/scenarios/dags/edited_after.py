"""A DAG after its authors changed it."""

from datetime import datetime

from airflow.providers.standard.operators.empty import EmptyOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    "edited",
    schedule="0 5 1 * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    dag_display_name="Edited",
    description="As it is",
    tags=["after", "more"],
    default_args={"owner": "bob"},
):
    first = EmptyOperator(task_id="first")
    first >> EmptyOperator(task_id="comes", owner="carol")
