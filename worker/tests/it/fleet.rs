//! Pipelines and runs as rows, without Kafka: what expectations and signals are read from.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use contract::ids::{ConnectorId, PipelineId, RunId, TaskRunId};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;
use worker::{expectations, signals};

pub(crate) struct Fleet {
    /// Connections of the worker's role.
    pub pool: PgPool,
    /// Connections of the owner, to set up and to look at rows.
    pub owner: PgPool,
    pub connector: ConnectorId,
}

/// A run to insert. Times are seconds after its due time.
#[derive(Clone, Copy)]
pub(crate) struct FleetRun {
    pub due_at: DateTime<Utc>,
    pub status: &'static str,
    pub started: Option<i64>,
    pub ended: Option<i64>,
}

impl FleetRun {
    pub(crate) fn success(due_at: DateTime<Utc>, duration: i64) -> Self {
        Self { due_at, status: "success", started: Some(2), ended: Some(2 + duration) }
    }

    pub(crate) fn failed(due_at: DateTime<Utc>, duration: i64) -> Self {
        Self { status: "failed", ..Self::success(due_at, duration) }
    }

    pub(crate) fn running(due_at: DateTime<Utc>) -> Self {
        Self { due_at, status: "running", started: Some(2), ended: None }
    }
}

/// The beginning of the current hour.
pub(crate) fn this_hour() -> DateTime<Utc> {
    Utc::now().duration_trunc(TimeDelta::hours(1)).unwrap()
}

impl Fleet {
    /// A fleet of one connector, which is polled every minute and was seen now.
    pub(crate) async fn new() -> Self {
        let database = local::test_database().await.unwrap();
        let owner = database.pool;
        testkit::create_space(&owner, "test").await;
        let config = serde_json::json!({"base_url": "http://127.0.0.1:1/", "schedule": "* * * * *"});
        let connector = testkit::create_connector(&owner, "test", "airflow", config).await;
        let fleet = Self { pool: PgPool::connect(&database.worker_url).await.unwrap(), owner, connector };
        fleet.see_at(Utc::now()).await;
        fleet
    }

    /// Sets when the connector was seen last.
    pub(crate) async fn see_at(&self, at: DateTime<Utc>) {
        self.execute("update connector_state set confirmed_at = $1, last_success_at = $1", at).await;
        self.execute("update connectors set created_at = $1, updated_at = $1", at).await;
    }

    pub(crate) async fn execute(&self, sql: &'static str, at: DateTime<Utc>) {
        sqlx::query(sql).bind(at).execute(&self.owner).await.unwrap();
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.owner).await.unwrap()
    }

    /// Inserts a pipeline whose next run is due in the future.
    pub(crate) async fn pipeline(&self, name: &str) -> PipelineId {
        sqlx::query_scalar(
            "insert into pipelines (id, space_id, connector_id, provider, external_id, version, fingerprint,
                 log_offset, observed_at, first_seen_at, name, owners, tags, is_paused, is_active,
                 next_run_at, provider_metadata, tasks)
             select $1, space_id, id, 'airflow', $2, 1, '', 0, now(), now(), $2, '{}', '{}', false, true,
                 now() + interval '1 hour', '{}', '[]'
             from connectors returning id",
        )
        .bind(PipelineId::of(self.connector, name))
        .bind(name)
        .fetch_one(&self.owner)
        .await
        .unwrap()
    }

    /// Inserts a scheduled run, or changes the one with this due time.
    pub(crate) async fn run(&self, pipeline: PipelineId, run: FleetRun) -> RunId {
        let after_due = |seconds: Option<i64>| seconds.map(|it| run.due_at + TimeDelta::seconds(it));
        sqlx::query_scalar(
            "insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version,
                 fingerprint, log_offset, observed_at, status, run_type, run_after, queued_at, started_at,
                 ended_at, duration_seconds, conf)
             select $1, space_id, connector_id, id, 'airflow', $3::text, 1, '', 0, now(), $4, 'scheduled', $3,
                 $3, $5, $6, extract(epoch from $6 - $5), '{}'
             from pipelines where id = $2
             on conflict (id) do update set version = runs.version + 1, status = excluded.status,
                 started_at = excluded.started_at, ended_at = excluded.ended_at,
                 duration_seconds = excluded.duration_seconds
             returning id",
        )
        .bind(Uuid::new_v5(&pipeline.0, run.due_at.to_rfc3339().as_bytes()))
        .bind(pipeline)
        .bind(run.due_at)
        .bind(run.status)
        .bind(after_due(run.started))
        .bind(after_due(run.ended))
        .fetch_one(&self.owner)
        .await
        .unwrap()
    }

    /// A history of hourly runs that take 600 to 624 seconds, and ended before the current hour.
    pub(crate) async fn history(&self, pipeline: PipelineId, runs: i64) {
        for n in 1..=runs {
            let due_at = this_hour() - TimeDelta::hours(n + 2);
            self.run(pipeline, FleetRun::success(due_at, 600 + n % 25)).await;
        }
    }

    /// Inserts successful hourly runs of 42 days before this time, which started after two seconds. The
    /// expression says how many seconds the run of `n` hours before has taken.
    pub(crate) async fn hourly(&self, pipeline: PipelineId, before: DateTime<Utc>, seconds: &'static str) {
        let sql = format!(
            "insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version,
                 fingerprint, log_offset, observed_at, status, run_type, run_after, queued_at, started_at,
                 ended_at, conf)
             select gen_random_uuid(), space_id, connector_id, id, 'airflow', n::text, 1, '', 0, now(),
                 'success', 'scheduled', due_at, due_at, started_at,
                 started_at + ({seconds}) * interval '1 second', '{{}}'
             from pipelines, generate_series(1, 42 * 24) as n
             cross join lateral (select $2::timestamptz - n * interval '1 hour' as due_at) due
             cross join lateral (select due_at + interval '2 seconds' as started_at) start
             where id = $1"
        );
        sqlx::query(AssertSqlSafe(sql)).bind(pipeline).bind(before).execute(&self.owner).await.unwrap();
    }

    /// Inserts a task run. It ended so many seconds after the due time of its run.
    pub(crate) async fn task_run(
        &self,
        run: RunId,
        task: &str,
        status: &str,
        ended: Option<i64>,
    ) -> TaskRunId {
        sqlx::query_scalar(
            "insert into task_runs (id, space_id, connector_id, pipeline_id, run_id, provider, external_id,
                 version, fingerprint, log_offset, observed_at, task_id, map_index, name, status, try_number,
                 max_tries, ended_at)
             select gen_random_uuid(), space_id, connector_id, pipeline_id, id, provider, $2, 1, '', 0, now(),
                 $2, -1, $2, $3, 1, 1, run_after + $4 * interval '1 second'
             from runs where id = $1 returning id",
        )
        .bind(run)
        .bind(task)
        .bind(status)
        .bind(ended)
        .fetch_one(&self.owner)
        .await
        .unwrap()
    }

    /// Learns all that has changed.
    pub(crate) async fn learn(&self) {
        while platform::pipeline_metrics::refresh(&self.owner).await.unwrap() {}
        while expectations::learn_changed(&self.pool).await.unwrap() > 0 {}
    }

    pub(crate) async fn evaluate(&self) -> signals::Transitions {
        signals::evaluate(&self.pool).await.unwrap()
    }

    /// Learns and evaluates; returns the incidents as `kind status count`, by time of opening.
    pub(crate) async fn incidents(&self) -> Vec<String> {
        self.learn().await;
        self.evaluate().await;
        sqlx::query_scalar(
            "select concat_ws(' ', kind, status, count) from incidents order by opened_at, kind, id",
        )
        .fetch_all(&self.owner)
        .await
        .unwrap()
    }

    /// The transitions that were recorded, in order.
    pub(crate) async fn transitions(&self) -> Vec<String> {
        sqlx::query_scalar(
            "select i.kind || ' ' || c.change from incident_changes c join incidents i on i.id = incident_id
             order by c.id",
        )
        .fetch_all(&self.owner)
        .await
        .unwrap()
    }
}
