"""Takes as long as its asset's event says, so that a run can be made slower than usual."""

import time
from datetime import datetime

from airflow.sdk import Asset, dag, task

USUAL_SECONDS = 5


@dag(
    schedule=[Asset("orders")],
    start_date=datetime(2025, 1, 1),
    catchup=False,
    tags=["orders", "slow"],
    default_args={"owner": "analytics"},
    description="Exports the orders when there are new ones; `cargo demo` makes one run slow",
)
def order_export():
    @task
    def export(triggering_asset_events):
        events = [event for of_asset in triggering_asset_events.values() for event in of_asset]
        time.sleep(max(event.extra.get("seconds", USUAL_SECONDS) for event in events))

    export()


order_export()
