//! The entry point of the worker: parses the command line and runs the command.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use platform::db;
use platform::telemetry::{LogConfig, start_logging};
use tokio::runtime::Runtime;
use worker::app;
use worker::cli::{DeadLettersCommand, WorkerCli, WorkerCommand};
use worker::commands::{dead_letters, rebuild, sync};

/// How long threads that do not end may keep a process whose command has ended.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let outcome = Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        let outcome = runtime.block_on(run(WorkerCli::parse().command));
        runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: WorkerCommand) -> anyhow::Result<()> {
    match command {
        WorkerCommand::Run(args) => start(&args.settings.log, app::run(&args)).await,
        WorkerCommand::Sync(args) => start(&args.settings.log, sync::sync(&args)).await,
        WorkerCommand::Rebuild(args) => start(&args.settings.log, rebuild::rebuild(&args)).await,
        WorkerCommand::DeadLetters(DeadLettersCommand::List(args)) => {
            start(&args.settings.log, dead_letters::list(&args)).await
        }
        WorkerCommand::DeadLetters(DeadLettersCommand::Replay(args)) => {
            start(&args.settings.log, dead_letters::replay(&args)).await
        }
        WorkerCommand::DeadLetters(DeadLettersCommand::Discard(args)) => {
            start(&args.settings.log, dead_letters::discard(&args)).await
        }
    }
}

/// Starts logging and runs a command. An error that comes from the database gets advice for the operator.
async fn start(log: &LogConfig, command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let _logging = start_logging(log, "orchestration-worker").map_err(anyhow::Error::msg)?;
    command.await.map_err(|error| match db::advice(error.as_ref()) {
        Some(advice) => error.context(advice),
        None => error,
    })
}
