//! The installation that the benchmarks of reads and of size measure: spaces, a user with an API key,
//! connectors and pipelines. Entity `n` has the id `md5(kind || n)`, which SQL and pgbench can compute too.

use api::auth::keys;
use platform::kafka::KafkaConfig;

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
