//! The plans of executed statements, which PostgreSQL sends as notices.

use std::mem;
use std::sync::{Arc, Mutex};

use derive_more::Display;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, registry};

/// The target of the notices that `sqlx` receives.
const NOTICES: &str = "sqlx::postgres::notice";

/// The number of characters of a statement that a failed test shows.
const SHOWN: usize = 2_000;

/// The plans of the statements of this thread.
pub(super) struct ExplainedStatements {
    plans: Arc<Mutex<Vec<Value>>>,
    _guard: DefaultGuard,
}

impl ExplainedStatements {
    pub(super) fn collect() -> Self {
        let plans = Arc::default();
        let guard = registry().with(NoticeLayer(Arc::clone(&plans))).set_default();
        Self { plans, _guard: guard }
    }

    /// Returns the plans of the statements since the last call.
    pub(super) fn take(&self) -> Vec<Value> {
        mem::take(&mut self.plans.lock().unwrap())
    }
}

struct NoticeLayer(Arc<Mutex<Vec<Value>>>);

impl<S: Subscriber> Layer<S> for NoticeLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == NOTICES {
            event.record(&mut PlanVisitor(&self.0));
        }
    }
}

struct PlanVisitor<'a>(&'a Mutex<Vec<Value>>);

impl Visit for PlanVisitor<'_> {
    fn record_str(&mut self, _: &Field, message: &str) {
        if let Some((_, plan)) = message.split_once("plan:\n") {
            self.0.lock().unwrap().push(serde_json::from_str(plan).unwrap());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// What a statement has touched: rows of tables and entries of indexes, and buffers.
#[derive(Display)]
#[display("{rows} rows, {buffers} buffers: {statement}")]
pub(super) struct Touched {
    pub rows: u64,
    pub buffers: u64,
    statement: String,
}

impl Touched {
    pub(super) fn by(explained: &Value) -> Self {
        let plan = &explained["Plan"];
        // A statement that the API has explained alone has touched nothing.
        let blocks = |name: &str| plan[name].as_u64().unwrap_or(0);
        let buffers = ["Shared Hit Blocks", "Shared Read Blocks"].map(blocks);
        let text = explained["Query Text"].as_str().unwrap();
        Self {
            rows: rows(plan).round() as u64,
            buffers: buffers.iter().sum(),
            statement: text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(SHOWN).collect(),
        }
    }

    /// A statement that did not end within the time of a request.
    pub(super) fn of_cancelled() -> Self {
        Self { rows: u64::MAX, buffers: u64::MAX, statement: String::new() }
    }
}

/// Returns the rows and the entries of indexes that a plan has read.
fn rows(plan: &Value) -> f64 {
    let number = |name: &str| plan[name].as_f64().unwrap_or(0.0);
    let reads = matches!(
        plan["Node Type"].as_str(),
        Some("Seq Scan" | "Index Scan" | "Index Only Scan" | "Bitmap Index Scan" | "Tid Scan")
    );
    let own =
        number("Actual Rows") + number("Rows Removed by Filter") + number("Rows Removed by Index Recheck");
    let below: f64 = plan["Plans"].as_array().into_iter().flatten().map(rows).sum();
    below + if reads { own * number("Actual Loops") } else { 0.0 }
}
