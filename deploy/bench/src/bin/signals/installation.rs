//! The database of the corpus: a space with a connector, and the runs of the made histories.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use contract::ids::PipelineId;
use sqlx::PgPool;
use uuid::Uuid;

use crate::corpus::{LEARNED_DAYS, MadeRun, Shape};

pub(crate) struct Installation {
    pub(crate) db: PgPool,
    admin: String,
    name: String,
}

impl Shape {
    /// The first time, by the wall clock, whose runs are judged.
    pub(crate) fn judged_from(self) -> NaiveDateTime {
        self.begin() + TimeDelta::days(LEARNED_DAYS)
    }
}

impl Installation {
    pub(crate) async fn create() -> anyhow::Result<Self> {
        let admin = local::postgres_instance("postgres-bench").await?;
        let name = format!("bench_{}", Uuid::new_v4().simple());
        let db = PgPool::connect(&local::ensure_database(&admin, &name).await?).await?;
        platform::db::migrate(&db).await?;
        testkit::create_space(&db, "bench").await;
        testkit::create_connector(&db, "bench", "made", serde_json::json!({})).await;
        Ok(Self { db, admin, name })
    }

    /// Inserts a pipeline with its runs; returns it, and the time from which its runs are judged.
    pub(crate) async fn insert(
        &self,
        name: &str,
        shape: Shape,
        runs: &[MadeRun],
    ) -> anyhow::Result<(PipelineId, DateTime<Utc>)> {
        let zone = shape.zone();
        let pipeline: PipelineId = sqlx::query_scalar(
            "insert into pipelines (id, space_id, connector_id, provider, external_id, version, fingerprint,
                 log_offset, observed_at, first_seen_at, name, owners, tags, is_paused, is_active,
                 provider_metadata, tasks)
             select gen_random_uuid(), space_id, id, 'airflow', $1, 1, '', 0, now(), now(), $1, '{}', '{}',
                 false, true, jsonb_build_object('timezone', $2::text), '[]'
             from connectors returning id",
        )
        .bind(name)
        .bind(zone)
        .fetch_one(&self.db)
        .await?;
        sqlx::query(
            "insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version,
                 fingerprint, log_offset, observed_at, status, run_type, run_after, queued_at, started_at,
                 ended_at, duration_seconds, conf)
             select gen_random_uuid(), p.space_id, p.connector_id, p.id, 'airflow', made.due::text, 1, '', 0,
                 now(), 'success', 'scheduled', due.at, due.at, due.at + made.delay * interval '1 second',
                 due.at + (made.delay + made.duration) * interval '1 second', made.duration, '{}'
             from unnest($3::timestamp[], $4::float8[], $5::float8[]) as made (due, delay, duration)
             cross join lateral (select made.due at time zone $2 as at) due
             join pipelines p on p.id = $1",
        )
        .bind(pipeline)
        .bind(zone)
        .bind(runs.iter().map(|run| run.due).collect::<Vec<_>>())
        .bind(runs.iter().map(|run| run.start_delay).collect::<Vec<_>>())
        .bind(runs.iter().map(|run| run.duration).collect::<Vec<_>>())
        .execute(&self.db)
        .await?;
        let since = sqlx::query_scalar("select $1::timestamp at time zone $2")
            .bind(shape.judged_from())
            .bind(zone)
            .fetch_one(&self.db)
            .await?;
        Ok((pipeline, since))
    }

    pub(crate) async fn drop(self) -> anyhow::Result<()> {
        self.db.close().await;
        let admin = PgPool::connect(&self.admin).await?;
        let drop = format!("drop database {} with (force)", self.name);
        sqlx::raw_sql(sqlx::AssertSqlSafe(drop)).execute(&admin).await?;
        Ok(())
    }
}
