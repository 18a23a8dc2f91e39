"""One mapped task for each warehouse, and a check that fails."""

import time
from datetime import datetime

from airflow.sdk import dag, task


@dag(
    schedule=None,
    start_date=datetime(2025, 1, 1),
    tags=["inventory"],
    default_args={"owner": "logistics"},
    description="Counts the stock of every warehouse, one mapped task each",
)
def warehouse_stock():
    @task
    def list_warehouses():
        return ["berlin", "lyon", "porto", "turin"]

    @task
    def count_stock(warehouse):
        time.sleep(1)
        return len(warehouse)

    @task
    def add_up(counts):
        print(f"{sum(counts)} items in all")

    add_up(count_stock.expand(warehouse=list_warehouses()))


@dag(
    schedule="@hourly",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    tags=["inventory", "quality"],
    default_args={"owner": "logistics"},
    description="Fails whenever it runs: the shelf is always short of one item",
)
def stock_check():
    @task
    def compare_with_shelf():
        raise ValueError("one item is missing from the shelf")

    @task
    def report():
        print("never reached")

    compare_with_shelf() >> report()


warehouse_stock()
stock_check()
