//! The same SQL for PostgreSQL alone: what the handlers send is listened to, and given to `pgbench`.

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

use crate::data::{self, Data};
use crate::load::Load;

/// A read that is compared.
#[derive(Clone, Copy)]
pub(crate) enum Read {
    RunById,
    FiftyRuns,
}

/// Where a read is asked for.
pub(crate) struct Paths {
    pub api: Vec<String>,
    pub bare: Vec<String>,
}

impl Read {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RunById => "run by id, with its 5 tasks",
            Self::FiftyRuns => "50 newest runs of a space",
        }
    }

    pub(crate) fn paths(self, data: &Data) -> Paths {
        let tails: Vec<String> = match self {
            Self::RunById => data.runs.iter().map(|id| format!("/runs/{id}")).collect(),
            Self::FiftyRuns => vec!["/runs?size=50".to_owned()],
        };
        let api = tails.iter().map(|tail| format!("{}{tail}", data::orchestration())).collect();
        Paths { api, bare: tails }
    }

    /// Reads once, as the handlers do.
    async fn ask(self, db: &PgPool, data: &Data) -> anyhow::Result<()> {
        let space = SpaceId(data.space);
        match self {
            Self::RunById => {
                runs::find(db, space, RunId(data.runs[0]), false).await?;
            }
            Self::FiftyRuns => {
                let paging = Paging::new(1, 50);
                let all = PipelineFilter::default();
                let nobody = UserId(Uuid::nil());
                runs::list(db, space, nobody, &RunsOf::Space(&all), &RunQuery::default(), paging).await?;
            }
        }
        Ok(())
    }

    /// What stands for `$1`, `$2` … in each statement.
    fn arguments(self, space: &str) -> Vec<Vec<String>> {
        let run = "md5('run' || :n)::uuid".to_owned();
        let space = format!("'{space}'::uuid");
        match self {
            Self::RunById => vec![vec![run.clone(), space.clone()], vec![run.clone(), run, space]],
            Self::FiftyRuns => {
                vec![vec![space.clone(), space.clone(), "50".to_owned(), "0".to_owned(), space]]
            }
        }
    }
}

/// How many of these reads a second PostgreSQL bears when nobody stands before it.
pub(crate) async fn pgbench(load: &Load, data: &Data, read: Read) -> anyhow::Result<f64> {
    let statements = statements(data, read).await?;
    let arguments = read.arguments(&data.space.to_string());
    ensure!(statements.len() == arguments.len(), "the handler sends {} statements", statements.len());
    let mut script = format!("\\set n random(0, {})\n", data.runs.len() - 1);
    for (statement, arguments) in statements.iter().zip(&arguments) {
        script += &format!("{};\n", filled(statement, arguments)?);
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
    let said = String::from_utf8_lossy(&output.stdout);
    let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    rate.with_context(|| format!("pgbench: {said}{}", String::from_utf8_lossy(&output.stderr)))
}

/// One line of pgbench's, with these in place of `$1`, `$2` …
fn filled(statement: &str, arguments: &[String]) -> anyhow::Result<String> {
    let mut line = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    for (index, argument) in arguments.iter().enumerate().rev() {
        let place = format!("${}", index + 1);
        ensure!(line.contains(&place), "{line} has no {place}");
        line = line.replace(&place, argument);
    }
    ensure!(!line.contains('$'), "{line} has more arguments");
    Ok(line)
}

/// What a read sends to PostgreSQL.
async fn statements(data: &Data, read: Read) -> anyhow::Result<Vec<String>> {
    let recorder = Recorder::default();
    let only = tracing_subscriber::filter::Targets::new().with_target("sqlx::query", tracing::Level::DEBUG);
    let listening = tracing_subscriber::registry().with(recorder.clone().with_filter(only));
    let db = PgPool::connect(&data.url).await?;
    read.ask(&db, data).with_subscriber(listening).await?;
    let seen = recorder.0.lock().unwrap().clone();
    Ok(seen)
}

/// Keeps the statements that sqlx tells of.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &tracing::Event<'_>, _: layer::Context<'_, S>) {
        let mut statement = Statement::default();
        event.record(&mut statement);
        self.0.lock().unwrap().push(statement.0);
    }
}

#[derive(Default)]
struct Statement(String);

impl Visit for Statement {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "db.statement" {
            self.0 = value.trim().to_owned();
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}
