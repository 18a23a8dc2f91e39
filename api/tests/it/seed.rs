//! The initial rows of tests: the members of both spaces, and rows of the read model as a sync leaves them.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use contract::ids::{ConnectorId, PipelineId, RunId, TaskRunId};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::app::{OTHER_SPACE, SPACE, TestApi};

pub(crate) const ADMIN: &str = "qk_ada";
pub(crate) const EDITOR: &str = "qk_edith";
pub(crate) const VIEWER: &str = "qk_victor";
/// Another editor of the same space.
pub(crate) const OTHER_EDITOR: &str = "qk_emil";
/// An admin of the other space alone.
pub(crate) const STRANGER: &str = "qk_olga";
pub(crate) const REVOKED: &str = "qk_revoked";
/// A key of the admin that only reads.
pub(crate) const READER: &str = "qk_reader";

impl TestApi {
    /// Creates the spaces with their members, teams and connectors.
    pub(crate) async fn populate(&mut self) {
        for slug in [SPACE, OTHER_SPACE] {
            testkit::create_space(&self.db, slug).await;
        }
        for (name, key, role, space) in [
            ("Ada", ADMIN, "admin", SPACE),
            ("Edith", EDITOR, "editor", SPACE),
            ("Emil", OTHER_EDITOR, "editor", SPACE),
            ("Victor", VIEWER, "viewer", SPACE),
            ("Rex", REVOKED, "admin", SPACE),
            ("Olga", STRANGER, "admin", OTHER_SPACE),
        ] {
            self.create_member(name, key, role, space).await;
        }
        self.sql("update api_keys set revoked_at = now() where prefix = 'qk_revoked'").await;
        self.sql(
            "insert into api_keys (id, user_id, label, prefix, secret_sha256, read_only)
             select gen_random_uuid(), id, '', 'qk_reader', sha256('qk_reader'), true
             from users where name = 'Ada'",
        )
        .await;
        self.team = self.create_team(SPACE, "Finance data").await;
        self.other_team = self.create_team(OTHER_SPACE, "Others").await;
        self.connector = self.create_connector(SPACE, "prod airflow").await;
        self.other_connector = self.create_connector(OTHER_SPACE, "other airflow").await;
    }

    async fn create_team(&self, space: &str, name: &str) -> Uuid {
        self.id(&format!(
            "insert into teams (id, space_id, name) select gen_random_uuid(), id, '{name}' from spaces
             where slug = '{space}' returning id"
        ))
        .await
    }

    /// Gives a group a role in a space.
    pub(crate) async fn group_mapping(&self, space: &str, group: &str) -> Uuid {
        self.id(&format!(
            "insert into group_mappings (id, space_id, group_name, role)
             select gen_random_uuid(), id, '{group}', 'viewer' from spaces where slug = '{space}'
             returning id"
        ))
        .await
    }

    async fn create_connector(&self, space: &str, name: &str) -> ConnectorId {
        testkit::create_connector(&self.db, space, name, json!({"base_url": "http://127.0.0.1:9"})).await
    }

    /// Creates a user with an API key and a role in a space.
    async fn create_member(&self, name: &str, key: &str, role: &str, space: &str) {
        let user = Uuid::now_v7();
        let digest: [u8; 32] = Sha256::digest(key).into();
        sqlx::query("insert into users (id, email, name) values ($1, lower($2) || '@x.org', $2)")
            .bind(user)
            .bind(name)
            .execute(&self.db)
            .await
            .unwrap();
        sqlx::query(
            "insert into api_keys (id, user_id, label, prefix, secret_sha256) values ($1, $2, '', $3, $4)",
        )
        .bind(Uuid::now_v7())
        .bind(user)
        .bind(key)
        .bind(digest)
        .execute(&self.db)
        .await
        .unwrap();
        sqlx::query(
            "insert into memberships (space_id, user_id, role) select id, $1, $2 from spaces where slug = $3",
        )
        .bind(user)
        .bind(role)
        .bind(space)
        .execute(&self.db)
        .await
        .unwrap();
    }

    /// Begins a session of a key with this secret, unless there is one.
    pub(crate) async fn begin_session(&self, key: &str, secret: &str) -> Uuid {
        let find = format!("select id from sessions where secret_sha256 = sha256('{secret}')");
        if let Some(id) = sqlx::query_scalar(AssertSqlSafe(find)).fetch_optional(&self.db).await.unwrap() {
            return id;
        }
        self.id(&format!(
            "insert into sessions (id, secret_sha256, user_id, key_id, user_agent, expires_at)
             select gen_random_uuid(), sha256('{secret}'), user_id, id, 'a browser', now() + interval '1 day'
             from api_keys where prefix = '{key}' returning id"
        ))
        .await
    }

    /// Opens an incident of a pipeline.
    pub(crate) async fn incident(&self, pipeline: PipelineId, kind: &str) -> Uuid {
        self.id(&format!(
            "insert into incidents (
                 id, space_id, connector_id, pipeline_id, kind, opened_at, summary, evidence)
             select gen_random_uuid(), space_id, connector_id, id, '{kind}', now(), name, '{{}}'
             from pipelines where id = '{pipeline}' returning id"
        ))
        .await
    }

    /// Creates a pipeline of the first space.
    pub(crate) async fn pipeline(&self, name: &str) -> PipelineId {
        self.pipeline_of(self.connector, name).await
    }

    pub(crate) async fn pipeline_of(&self, connector: ConnectorId, name: &str) -> PipelineId {
        let id = PipelineId::of(connector, name);
        sqlx::query(
            r#"insert into pipelines (id, space_id, connector_id, provider, external_id, version, fingerprint,
                   log_offset, observed_at, first_seen_at, name, owners, owner, tags, is_paused, is_active,
                   provider_metadata, tasks)
               select $1, space_id, id, 'airflow', $3, 1, '', 0, '2026-01-01Z', '2025-12-01Z', $3,
               '{data-eng}', 'data-eng', '{}', false, true, '{"kept": true}', '[]'
               from connectors where id = $2"#,
        )
        .bind(id)
        .bind(connector)
        .bind(name)
        .execute(&self.db)
        .await
        .unwrap();
        id
    }

    /// Creates a run that was due and started at this time, and ended ten seconds later if its status is a
    /// final one.
    pub(crate) async fn run(
        &self,
        pipeline: PipelineId,
        name: &str,
        status: &str,
        started: DateTime<Utc>,
    ) -> RunId {
        let connector: Uuid =
            self.id(&format!("select connector_id from pipelines where id = '{pipeline}'")).await;
        let external: String = sqlx::query_scalar("select external_id from pipelines where id = $1")
            .bind(pipeline)
            .fetch_one(&self.db)
            .await
            .unwrap();
        let id = RunId::of(ConnectorId(connector), &external, name);
        sqlx::query(
            "insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version,
                 fingerprint, log_offset, observed_at, status, provider_status, run_type, run_after,
                 queued_at, started_at, ended_at, duration_seconds, conf)
             select $1, space_id, connector_id, id, 'airflow', $3, 1, '', 0, $5, $4, $4, 'manual', $5, $5,
                 case when $4 <> 'queued' then $5 end,
                 case when $4 in ('success', 'failed') then $5 + interval '10 s' end,
                 case when $4 in ('success', 'failed') then 10 end, '{}'
             from pipelines where id = $2",
        )
        .bind(id)
        .bind(pipeline)
        .bind(name)
        .bind(status)
        .bind(started)
        .execute(&self.db)
        .await
        .unwrap();
        id
    }

    pub(crate) async fn task_run(&self, run: RunId, task: &str, map_index: i32, status: &str) -> TaskRunId {
        let id = TaskRunId(Uuid::new_v5(&run.0, format!("{task}/{map_index}").as_bytes()));
        sqlx::query(
            "insert into task_runs (id, space_id, connector_id, pipeline_id, run_id, provider, external_id,
                 version, fingerprint, log_offset, observed_at, task_id, map_index, name, status,
                 provider_status, try_number, max_tries)
             select $1, space_id, connector_id, pipeline_id, id, 'airflow', $3, 1, '', 0, observed_at, $3, $4,
                 $3, $5, $5, 1, 0
             from runs where id = $2",
        )
        .bind(id)
        .bind(run)
        .bind(task)
        .bind(map_index)
        .bind(status)
        .execute(&self.db)
        .await
        .unwrap();
        id
    }
}

/// So many hours ago, in whole seconds.
pub(crate) fn hours_ago(hours: i64) -> DateTime<Utc> {
    // All calls use one time, so that their differences are exact.
    static NOW: LazyLock<DateTime<Utc>> =
        LazyLock::new(|| DateTime::from_timestamp(Utc::now().timestamp(), 0).unwrap());
    *NOW - chrono::TimeDelta::hours(hours)
}

pub(crate) fn comment(content: &str) -> Value {
    json!({ "content": content })
}

/// A further key of the owner of a key, which no request uses.
pub(crate) async fn unused_key(test: &TestApi, owner: &str) -> Uuid {
    test.id(&format!(
        "insert into api_keys (id, user_id, label, prefix, secret_sha256)
         select gen_random_uuid(), user_id, 'unused', 'qk_unused', sha256(id::text::bytea)
         from api_keys where prefix = '{owner}' returning id"
    ))
    .await
}

/// The column of a delivery's message, after others.
pub(crate) const MESSAGE: &str = ", message";

pub(crate) async fn insert_channel(test: &TestApi, space: &str) -> Uuid {
    test.id(&format!(
        "insert into notification_channels (id, space_id, channel_type, name, config)
         select gen_random_uuid(), id, 'email', 'ours', '{{}}' from spaces where slug = '{space}'
         returning id"
    ))
    .await
}

/// Inserts a row that belongs to a channel; `message` is the name of a column for a message, or empty.
pub(crate) async fn insert_of_channel(test: &TestApi, table: &str, channel: Uuid, message: &str) -> String {
    let value = if message.is_empty() {
        String::new()
    } else {
        let message = json!({"space": SPACE, "at": "2026-01-01T00:00:00Z", "incidents": []});
        format!(", '{message}'")
    };
    test.id(&format!(
        "insert into {table} (id, space_id, channel_id{message})
         select gen_random_uuid(), space_id, id{value} from notification_channels where id = '{channel}'
         returning id"
    ))
    .await
    .to_string()
}
