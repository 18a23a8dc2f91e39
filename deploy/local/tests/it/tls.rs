//! Tests of TLS connections to a real PostgreSQL and a real Kafka, whose certificates are signed by a private
//! authority.

use std::time::{Duration, Instant};

use local::SecureKafka;
use sqlx::PgPool;

use crate::operator::Operator;

const POSTGRES: &str = "postgres-tls-test";

/// Starts a PostgreSQL with TLS, writes `authority.pem` to the folder, and returns the URL of a database.
async fn postgres_over_tls(folder: &std::path::Path) -> String {
    let certificates = local::certificates(folder).await.unwrap();
    let url = local::postgres_instance(POSTGRES).await.unwrap();
    let server = PgPool::connect(&url).await.unwrap();
    // The server writes the files itself, because it must own them.
    for (file, name) in [(&certificates.key, "server.key"), (&certificates.certificate, "server.crt")] {
        let text = std::fs::read_to_string(file).unwrap();
        let write = format!(
            "copy (select unnest(string_to_array($pem${text}$pem$, chr(10))))
             to program 'umask 077; cat > {name}'"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(write)).execute(&server).await.unwrap();
    }
    sqlx::raw_sql("alter system set ssl = on").execute(&server).await.unwrap();
    sqlx::raw_sql("select pg_reload_conf()").execute(&server).await.unwrap();
    local::ensure_database(&url, "over_tls").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_connection_over_tls_rejects_an_unknown_authority() {
    let folder = tempfile::tempdir().unwrap();
    let url = postgres_over_tls(folder.path()).await;
    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    local::certificates(&other).await.unwrap();
    let operator = Operator::new(&[]).await;
    let migrate = |authority: &std::path::Path| {
        let options =
            format!("sslmode=verify-full&sslrootcert={}", authority.join("authority.pem").display());
        format!("DATABASE_URL='{url}?{options}' orchestration-api migrate")
    };
    operator.shell(&migrate(folder.path())).await.unwrap();
    let error = operator.shell(&migrate(&other)).await.unwrap_err();
    assert!(error.contains("certificate"), "{error}");
    assert!(local::LocalService::named(POSTGRES).stop().await.unwrap());
}

/// The test needs programs with the feature `kafka-tls`; `.ci/run` builds them and then runs the test.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs programs built with --features kafka-tls"]
async fn kafka_connection_over_tls_rejects_a_wrong_password_and_an_unknown_authority() {
    let name = "kafka-tls-test";
    let kafka = local::secure_kafka_instance(name).await.unwrap();
    for mechanism in ["SCRAM-SHA-512", "PLAIN"] {
        assert_sync_request_is_consumed(&kafka, mechanism).await;
    }
    let database = local::test_database().await.unwrap();
    let wrong = SecureKafka { password: "wrong".to_owned(), ..kafka.clone() };
    let unknown = SecureKafka { authority: "/etc/ssl/certs/ca-certificates.crt".into(), ..kafka };
    for (kafka, reason) in [(wrong, "authentication"), (unknown, "certificate")] {
        let operator = operator(&kafka, "SCRAM-SHA-512", &database.url).await;
        let run =
            "ORCHESTRATION_LOG=info timeout 20 orchestration-worker run --metrics-listen 127.0.0.1:0 2>&1";
        let output = operator.shell(run).await.unwrap_err().to_lowercase();
        assert!(output.contains(reason), "{output}");
        assert!(!output.contains("worker started"), "{output}");
    }
    assert!(local::LocalService::named(name).stop().await.unwrap());
}

async fn operator(kafka: &SecureKafka, mechanism: &str, database: &str) -> Operator {
    let SecureKafka { bootstrap_servers, authority, user, password } = kafka;
    let options = format!(
        "security.protocol=SASL_SSL,sasl.mechanism={mechanism},sasl.username={user},sasl.password={password},\
         ssl.ca.location={}",
        authority.display()
    );
    Operator::new(&[
        ("DATABASE_URL", database),
        ("KAFKA_BOOTSTRAP_SERVERS", bootstrap_servers),
        ("ORCHESTRATION_KAFKA_PREFIX", &format!("{mechanism}-{}.", uuid::Uuid::new_v4())),
        ("ORCHESTRATION_KAFKA_OPTIONS", &options),
        ("ORCHESTRATION_SEALING_KEYS", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("ORCHESTRATION_ALLOW_PRIVATE_NETWORKS", "true"),
        // No server listens here. The sync may fail; the test only checks that its request is consumed.
        ("AIRFLOW_URL", "http://127.0.0.1:9"),
    ])
    .await
}

async fn assert_sync_request_is_consumed(kafka: &SecureKafka, mechanism: &str) {
    let database = local::test_database().await.unwrap();
    let mut operator = operator(kafka, mechanism, &database.url).await;
    operator.start().await;
    operator.shell(REQUEST_A_SYNC).await.unwrap_or_else(|error| panic!("{error}"));
    let deadline = Instant::now() + Duration::from_secs(120);
    let accepted = "select count(*) = 1 from syncs where accepted_at is not null and trigger = 'manual'";
    while !sqlx::query_scalar::<_, bool>(accepted).fetch_one(&database.pool).await.unwrap() {
        assert!(Instant::now() < deadline, "{mechanism}: the request is not consumed");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    operator.stop().await;
}

const REQUEST_A_SYNC: &str = r#"
    orchestration-api space create finance --name Finance
    orchestration-api user create ada@example.org --name Ada
    orchestration-api member set finance ada@example.org admin
    key=$(orchestration-api --json key create ada@example.org | jq -r .key)
    send() { curl -fsS -H "Authorization: Bearer $key" -H 'content-type: application/json' "$@"; }
    config="{\"base_url\": \"$AIRFLOW_URL\", \"schedule\": \"0 0 1 1 1 *\"}"
    credentials='{"auth_type": "basic", "username": "a", "password": "b"}'
    connector=$(send "$ORCHESTRATION_URL/api/v1.0/catalog/spaces/finance/connectors" -d "{\"name\": \"a\",
        \"connector_type\": \"airflow\", \"config\": $config, \"credentials\": $credentials}" | jq -r .id)
    send -X POST "$ORCHESTRATION_URL/api/v1.0/spaces/finance/orchestration/connectors/$connector/sync"
"#;
