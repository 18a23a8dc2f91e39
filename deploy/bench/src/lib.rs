//! The installation that the benchmarks of reads and of size measure: spaces, a user with an API key,
//! connectors and pipelines. Entity `n` has the id `md5(kind || n)`, which SQL and pgbench can compute too.

use api::auth::keys;
use platform::kafka::KafkaConfig;
use sqlx::{AssertSqlSafe, PgConnection};

pub const SPACES: i64 = 20;
pub const PIPELINES: i64 = 10_000;
pub const PIPELINES_PER_SPACE: i64 = PIPELINES / SPACES;

/// The settings of the local Kafka for one measured installation, with as many partitions as by default.
pub async fn kafka(name: &str) -> anyhow::Result<KafkaConfig> {
    let kafka = testkit::kafka_config(&local::kafka().await?, &format!("bench-{name}."));
    Ok(KafkaConfig { kafka_partitions: 6, ..kafka })
}

/// SQL statements that insert the installation into an empty database. The key's user is a viewer of all
/// spaces.
pub fn installation(key: &str) -> [String; 7] {
    let digest: String = keys::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    [
        format!(
            "insert into spaces (id, slug, name)
             select md5('space' || n)::uuid, 'space-' || n, 'Space ' || n
             from generate_series(0, {SPACES} - 1) n"
        ),
        "insert into users (id, email, name) values (md5('user')::uuid, 'reader@example.org', 'Reader')"
            .to_owned(),
        format!(
            "insert into api_keys (id, user_id, label, prefix, secret_sha256)
             values (md5('key')::uuid, md5('user')::uuid, '', '', decode('{digest}', 'hex'))"
        ),
        "insert into memberships (space_id, user_id, role) select id, md5('user')::uuid, 'viewer' from spaces"
            .to_owned(),
        format!(
            "insert into connectors (id, space_id, name, connector_type, config, credentials_public)
             select md5('connector' || n)::uuid, md5('space' || n)::uuid, 'airflow', 'airflow', '{{}}', '{{}}'
             from generate_series(0, {SPACES} - 1) n"
        ),
        "insert into connector_state (connector_id, confirmed_at)
         select id, now() from connectors"
            .to_owned(),
        pipelines(),
    ]
}

fn pipelines() -> String {
    format!(
        "insert into pipelines (id, space_id, connector_id, provider, external_id, version, fingerprint,
             log_offset, observed_at, first_seen_at, name, description, owner, owners, tags, schedule,
             is_paused, is_active, provider_metadata, tasks)
         select md5('pipeline' || n)::uuid, md5('space' || n / {PIPELINES_PER_SPACE})::uuid,
             md5('connector' || n / {PIPELINES_PER_SPACE})::uuid, 'airflow', 'pipeline_' || n, n, '', n,
             now(), now(), 'pipeline_' || n, 'Loads what was sold', 'owner-' || n % 10,
             array['owner-' || n % 10], array['tag-' || n % 7], '@hourly', n % 9 = 0, true,
             '{{\"timetable\": \"hourly\"}}', '[]'
         from generate_series(0, {PIPELINES} - 1) n"
    )
}

/// Inserts runs and task runs without their indexes and triggers, which is faster. The indexes are created
/// again, and the runs are counted.
pub async fn without_indexes(
    db: &mut PgConnection,
    insert: impl AsyncFnOnce(&mut PgConnection) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let indexes: Vec<(String, String)> = sqlx::query_as(INDEXES).fetch_all(&mut *db).await?;
    for (drop, _) in &indexes {
        execute(db, drop).await?;
    }
    execute(db, "alter table runs disable trigger user").await?;
    insert(db).await?;
    for (_, create) in &indexes {
        execute(db, create).await?;
        local::print(create);
    }
    execute(db, "alter table runs enable trigger user; select count_all_runs()").await
}

/// SQL that drops and creates each index of the large tables.
const INDEXES: &str = "
    select case when c.oid is null then format('drop index %s', i.indexrelid::regclass)
            else format('alter table %s drop constraint %I', i.indrelid::regclass, c.conname) end,
        case when c.oid is null then pg_get_indexdef(i.indexrelid)
            else format('alter table %s add constraint %I %s', i.indrelid::regclass, c.conname,
                pg_get_constraintdef(c.oid)) end
    from pg_index i left join pg_constraint c on c.conindid = i.indexrelid
    where i.indrelid in ('runs'::regclass, 'task_runs'::regclass)";

/// Executes statements without arguments.
pub async fn execute(db: &mut PgConnection, statements: &str) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(db).await?;
    Ok(())
}
