"""One task for each of many things."""

from datetime import datetime

from airflow.providers.standard.operators.empty import EmptyOperator

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task


class Nothing(EmptyOperator):
    """A task that the scheduler ends by itself."""

    def __init__(self, number=0, **kwargs):
        super().__init__(**kwargs)
        self.number = number


with DAG("crowd", schedule=None, start_date=datetime(2025, 1, 1), is_paused_upon_creation=False):

    @task
    def numbers():
        return [1, 2]

    Nothing.partial(task_id="one").expand(number=numbers()) >> EmptyOperator(task_id="after")
