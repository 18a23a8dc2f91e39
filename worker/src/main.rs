//! The worker's entry: reads the command line and starts what it says.

use clap::Parser;
use platform::db;
use platform::telemetry::start_logging;
use worker::config::{Cli, Command, DeadLetters};
use worker::{dead_letters, foreground, process, rebuild};

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => start(&args.settings.log, process::run(&args)).await,
        Command::Sync(args) => start(&args.settings.log, foreground::sync(&args)).await,
        Command::Rebuild(args) => start(&args.settings.log, rebuild::rebuild(&args)).await,
        Command::DeadLetters(DeadLetters::List(args)) => {
            start(&args.settings.log, dead_letters::list(&args)).await
        }
        Command::DeadLetters(DeadLetters::Replay(args)) => {
            start(&args.settings.log, dead_letters::replay(&args)).await
        }
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

async fn start(
    log: &platform::telemetry::LogConfig,
    command: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let _logging = start_logging(log, "orchestration-worker").map_err(anyhow::Error::msg)?;
    command.await.map_err(|error| match db::advice(error.as_ref()) {
        Some(advice) => error.context(advice),
        None => error,
    })
}
