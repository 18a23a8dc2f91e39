//! Readiness: whether this process can serve reads. PostgreSQL is asked on a connection that requests do not
//! use, so that slow requests do not make the process unready. Kafka is reported, but reads do not need it.

use std::time::{Duration, Instant};

use platform::db;
use platform::kafka::KafkaProbe;
use serde::Serialize;
use sqlx::PgPool;
use tokio::sync::Mutex;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::store::migrations;

const POSTGRES_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the result of a check is used again: requests for it need no key.
const RESULT_TTL: Duration = Duration::from_millis(500);

/// The state of a part of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartState {
    Ok,
    /// It does not answer.
    Away,
    /// The schema is missing, or older than this version.
    Missing,
    /// It cannot be checked while another part is away.
    Unknown,
}

/// The state of every part that requests depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PartStates {
    pub postgresql: PartState,
    pub schema: PartState,
    /// Live events and new syncs need it, reads do not.
    pub kafka: PartState,
}

impl PartStates {
    /// Returns why reads cannot be served; none if they can.
    pub fn obstacle(self) -> Option<&'static str> {
        match (self.postgresql, self.schema) {
            (PartState::Ok, PartState::Ok) => None,
            (PartState::Ok, _) => {
                Some("The schema is missing or older than this version; run `orchestration-api migrate`")
            }
            _ => Some("PostgreSQL does not answer"),
        }
    }
}

/// Checks the parts.
pub struct ReadinessProbe {
    control_db: PgPool,
    kafka: KafkaProbe,
    last: Mutex<Option<(PartStates, Instant)>>,
}

impl ReadinessProbe {
    /// `control_db` is the pool whose connections requests do not use.
    pub fn new(control_db: PgPool, kafka: KafkaProbe) -> Self {
        Self { control_db, kafka, last: Mutex::new(None) }
    }

    /// Checks every part, within two seconds. Concurrent calls share one check.
    pub async fn check(&self) -> PartStates {
        let mut last = self.last.lock().await;
        if let Some((states, checked_at)) = *last
            && checked_at.elapsed() < RESULT_TTL
        {
            return states;
        }
        let ((postgresql, schema), is_kafka_reachable) =
            tokio::join!(check_database(&self.control_db), self.kafka.is_reachable());
        let kafka = if is_kafka_reachable { PartState::Ok } else { PartState::Away };
        let states = PartStates { postgresql, schema, kafka };
        *last = Some((states, Instant::now()));
        states
    }
}

/// Returns the state of PostgreSQL and of the schema.
async fn check_database(db: &PgPool) -> (PartState, PartState) {
    match timeout(POSTGRES_TIMEOUT, migrations::is_applied(db, db::schema_version())).await {
        Ok(Ok(true)) => (PartState::Ok, PartState::Ok),
        Ok(Ok(false)) => (PartState::Ok, PartState::Missing),
        Ok(Err(sqlx::Error::Database(error))) if is_missing(error.code().as_deref()) => {
            (PartState::Ok, PartState::Missing)
        }
        Ok(Err(_)) | Err(_) => (PartState::Away, PartState::Unknown),
    }
}

/// Whether the SQLSTATE says that there is no schema, or that its privileges are not granted yet.
fn is_missing(code: Option<&str>) -> bool {
    matches!(code, Some("42P01" | "42501" | "3F000"))
}
