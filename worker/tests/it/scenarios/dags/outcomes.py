"""Every way in which a task may end by itself."""

from datetime import datetime, timedelta

from airflow.exceptions import AirflowSkipException
from airflow.providers.standard.operators.empty import EmptyOperator

try:
    from airflow.sdk import DAG, get_current_context, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task
    from airflow.operators.python import get_current_context

with DAG(
    "outcomes",
    schedule=None,
    start_date=datetime(2025, 1, 1),
    is_paused_upon_creation=False,
    dag_display_name="Every outcome",
    description="Ends in every way there is",
    tags=["scenario", "many words"],
    default_args={"owner": "ada, bob"},
):

    @task(retries=1, retry_delay=timedelta(seconds=1), pool="default_pool", queue="default")
    def flaky():
        if get_current_context()["ti"].try_number < 2:
            raise ValueError("the first try fails")

    @task
    def skipped():
        raise AirflowSkipException("not today")

    @task.branch
    def choose():
        return "taken"

    @task
    def broken():
        raise ValueError("always")

    @task
    def numbers():
        return [1, 2, 3]

    @task
    def double(number):
        return 2 * number

    @task
    def nothing():
        return []

    @task
    def never(number):
        return number

    skipped() >> EmptyOperator(task_id="behind_the_skipped")
    choose() >> [EmptyOperator(task_id="taken"), EmptyOperator(task_id="passed_over")]
    failed = broken()
    failed >> EmptyOperator(task_id="behind_the_broken")
    [failed, flaky()] >> EmptyOperator(
        task_id="cleanup", trigger_rule="all_done", task_display_name="Clean up", owner="carol"
    )
    double.expand(number=numbers())
    never.expand(number=nothing())
