//! The same SQL for PostgreSQL alone: the statements of the API's reads are recorded and executed by
//! `pgbench`.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use anyhow::{Context, ensure};
use api::store::page::Paging;
use api::store::pipelines::PipelineFilter;
use api::store::runs::{self, RunQuery, RunsOf};
use contract::ids::{RunId, SpaceId, UserId};
use sqlx::PgPool;
use tokio::process::Command;
use tracing::field::{Field, Visit};
use tracing::instrument::WithSubscriber;
use tracing_subscriber::layer::{self, Layer, SubscriberExt};
use uuid::Uuid;

use crate::data::{self, BenchData};
use crate::load::LoadGenerator;

/// A measured read.
#[derive(Clone, Copy)]
pub(crate) enum ComparedRead {
    RunById,
    FiftyRuns,
}

/// The paths of a read.
pub(crate) struct ReadPaths {
    pub api: Vec<String>,
    pub bare: Vec<String>,
}

impl ComparedRead {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RunById => "run by id, with its 5 tasks",
            Self::FiftyRuns => "50 newest runs of a space",
        }
    }

    pub(crate) fn paths(self, data: &BenchData) -> ReadPaths {
        let tails: Vec<String> = match self {
            Self::RunById => data.runs.iter().map(|id| format!("/runs/{id}")).collect(),
            Self::FiftyRuns => vec!["/runs?size=50".to_owned()],
        };
        let api = tails.iter().map(|tail| format!("{}{tail}", data::orchestration())).collect();
        ReadPaths { api, bare: tails }
    }

    /// Executes the read once.
    async fn execute(self, db: &PgPool, data: &BenchData) -> anyhow::Result<()> {
        let space = SpaceId(data.space);
        match self {
            Self::RunById => {
                runs::find_small(db, space, RunId(data.runs[0]), false).await?;
            }
            Self::FiftyRuns => {
                let query = RunQuery::default();
                let paging = Paging::new(query.order(), 1, 50);
                let all = PipelineFilter::default();
                let no_user = UserId(Uuid::nil());
                runs::list(db, space, no_user, &RunsOf::Space(&all), &query, &paging).await?;
            }
        }
        Ok(())
    }

    /// The arguments of each statement, for `$1`, `$2` …
    fn arguments(self, space: &str) -> Vec<Vec<String>> {
        let run = "md5('run' || :n)::uuid".to_owned();
        let space = format!("'{space}'::uuid");
        match self {
            Self::RunById => vec![vec![run.clone(), space.clone()], vec![run.clone(), run, space]],
            Self::FiftyRuns => {
                vec![vec![space.clone(), space.clone(), "51".to_owned(), space]]
            }
        }
    }
}

/// PostgreSQL's maximum throughput of these reads per second, without a service before it.
pub(crate) async fn pgbench(
    load: &LoadGenerator,
    data: &BenchData,
    read: ComparedRead,
) -> anyhow::Result<f64> {
    let statements = statements(data, read).await?;
    let arguments = read.arguments(&data.space.to_string());
    ensure!(statements.len() == arguments.len(), "the handler sends {} statements", statements.len());
    let mut script = format!("\\set n random(0, {})\n", data.runs.len() - 1);
    for (statement, arguments) in statements.iter().zip(&arguments) {
        script += &format!("{};\n", fill_in(statement, arguments)?);
    }
    let file = std::env::temp_dir().join(format!("orchestration-bench-{}.sql", std::process::id()));
    std::fs::write(&file, script)?;
    let output = Command::new(local::postgres_program("pgbench").await?)
        .args(["-n", "-M", "prepared", "-j", "2", "-c", &load.connections.to_string()])
        .args(["-T", &load.time.as_secs().to_string(), "-f"])
        .arg(&file)
        .arg(&data.url)
        .output()
        .await?;
    std::fs::remove_file(&file)?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let throughput =
        stdout.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    throughput.with_context(|| format!("pgbench: {stdout}{}", String::from_utf8_lossy(&output.stderr)))
}

/// A line of a pgbench script: the statement with its arguments in place of `$1`, `$2` …
fn fill_in(statement: &str, arguments: &[String]) -> anyhow::Result<String> {
    let mut line = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    for (index, argument) in arguments.iter().enumerate().rev() {
        let parameter = format!("${}", index + 1);
        ensure!(line.contains(&parameter), "{line} has no {parameter}");
        line = line.replace(&parameter, argument);
    }
    ensure!(!line.contains('$'), "{line} has more arguments");
    Ok(line)
}

/// The statements that a read sends to PostgreSQL.
async fn statements(data: &BenchData, read: ComparedRead) -> anyhow::Result<Vec<String>> {
    let recorder = StatementRecorder::default();
    let filter = tracing_subscriber::filter::Targets::new().with_target("sqlx::query", tracing::Level::DEBUG);
    let subscriber = tracing_subscriber::registry().with(recorder.clone().with_filter(filter));
    let db = PgPool::connect(&data.url).await?;
    read.execute(&db, data).with_subscriber(subscriber).await?;
    let statements = recorder.0.lock().unwrap().clone();
    Ok(statements)
}

/// Stores the statements that sqlx logs.
#[derive(Clone, Default)]
struct StatementRecorder(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for StatementRecorder {
    fn on_event(&self, event: &tracing::Event<'_>, _: layer::Context<'_, S>) {
        let mut statement = StatementField::default();
        event.record(&mut statement);
        self.0.lock().unwrap().push(statement.0);
    }
}

#[derive(Default)]
struct StatementField(String);

impl Visit for StatementField {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "db.statement" {
            self.0 = value.trim().to_owned();
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}
