"""One run at a time, so that a long run by hand keeps the next run of the schedule waiting."""

import time
from datetime import datetime

from airflow.sdk import Param, dag, task


@dag(
    schedule="*/3 * * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["payments", "late"],
    default_args={"owner": "finance"},
    description="Imports payments, one run at a time; `cargo demo` starts a long one, and the next start is missed",
    params={"seconds": Param(5, type="integer", minimum=1, description="How long the import takes")},
)
def payment_import():
    @task
    def import_payments(params):
        time.sleep(params["seconds"])

    import_payments()


payment_import()
