"""A task that needs a second try, and a branch of which one side is skipped."""

from datetime import datetime, timedelta

from airflow.sdk import dag, get_current_context, task


@dag(
    schedule="*/30 * * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["customers"],
    default_args={"owner": "crm"},
    description="Refreshes customer segments: retries a shaky source, skips the full rebuild",
)
def customer_segments():
    @task(retries=2, retry_delay=timedelta(seconds=2))
    def fetch_customers():
        if get_current_context()["ti"].try_number == 1:
            raise ConnectionError("the source hung up, as it does on every first try")

    @task.branch
    def full_or_partial():
        return "update_changed"

    @task
    def rebuild_all():
        print("not today")

    @task
    def update_changed():
        print("3 segments changed")

    @task(trigger_rule="none_failed_min_one_success")
    def notify():
        print("done")

    fetch_customers() >> full_or_partial() >> [rebuild_all(), update_changed()] >> notify()


customer_segments()
