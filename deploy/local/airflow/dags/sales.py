"""A daily load as most are: take from a shop, clean, sum up, publish."""

import time
from datetime import datetime

from airflow.sdk import dag, task


@dag(
    schedule="0 6 * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    tags=["sales", "daily"],
    default_args={"owner": "analytics"},
    description="Yesterday's orders, cleaned and summed up by region",
)
def daily_sales():
    @task
    def extract_orders():
        time.sleep(1)
        return [{"region": region, "amount": 10 * number} for number, region in enumerate(["north", "south", "north"])]

    @task
    def clean(orders):
        return [order for order in orders if order["amount"] > 0]

    @task
    def sum_by_region(orders):
        totals = {}
        for order in orders:
            totals[order["region"]] = totals.get(order["region"], 0) + order["amount"]
        return totals

    @task(owner="platform")
    def publish(totals):
        print(f"published {totals}")

    publish(sum_by_region(clean(extract_orders())))


daily_sales()
