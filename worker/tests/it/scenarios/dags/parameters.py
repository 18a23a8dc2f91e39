"""A DAG with a parameter of every kind. It never runs: one of them has no default."""

from datetime import datetime

from airflow.providers.standard.operators.empty import EmptyOperator

try:
    from airflow.sdk import DAG, Param
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.models.param import Param

with DAG(
    "parameters",
    schedule=None,
    start_date=datetime(2025, 1, 1),
    params={
        "plain_text": "text",
        "plain_number": 3,
        "plain_flag": True,
        "plain_list": ["a", "b"],
        "plain_object": {"a": 1},
        "plain_null": None,
        "rows": Param(3, type="integer", minimum=1, maximum=100, title="Rows", description="How many rows"),
        "rate": Param(0.5, type="number"),
        "dry_run": Param(False, type="boolean"),
        "region": Param(
            "eu", type="string", enum=["eu", "us"], values_display={"eu": "Europe", "us": "America"}
        ),
        "table": Param("orders", type="string", examples=["orders", "returns"], section="Source"),
        "day": Param("2026-01-31", type="string", format="date", section="Source"),
        "at": Param("2026-01-31T05:00:00+00:00", type="string", format="date-time"),
        "query": Param("select 1\nfrom orders", type="string", format="multiline"),
        "tables": Param(["orders"], type="array"),
        "sizes": Param([1, 2], type="array", items={"type": "integer"}),
        "options": Param({"dry": True}, type=["object", "null"]),
        "note": Param(None, type=["null", "string"]),
        "described": Param("x", type="string", description_md="In **Markdown**"),
        "fixed": Param("v1", const="v1"),
        "api_token": Param("canary", type="string"),
        "needed": Param(type="string", minLength=2),
    },
):
    EmptyOperator(task_id="only")
