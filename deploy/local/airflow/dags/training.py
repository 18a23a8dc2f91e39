"""Slow on purpose, so that a run can be watched while it goes."""

import time
from datetime import datetime

from airflow.sdk import Param, dag, task


@dag(
    schedule="@weekly",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    tags=["ml", "slow"],
    default_args={"owner": "data-science"},
    description="Trains a toy model for some 20 seconds",
    params={"epochs": Param(4, type="integer", minimum=1, description="How often the data is gone through")},
)
def train_model():
    @task
    def prepare():
        time.sleep(4)

    @task
    def train(params):
        for epoch in range(params["epochs"]):
            print(f"epoch {epoch}")
            time.sleep(3)

    @task
    def evaluate():
        time.sleep(4)

    prepare() >> train() >> evaluate()


train_model()
