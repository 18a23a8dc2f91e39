"""A DAG with one empty task; its name is that of the file."""

from datetime import datetime
from pathlib import Path

from airflow.providers.standard.operators.empty import EmptyOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(Path(__file__).stem, schedule=None, start_date=datetime(2025, 1, 1), is_paused_upon_creation=False):
    EmptyOperator(task_id="only")
