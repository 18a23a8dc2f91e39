//! The entry point of the worker: parses the command line and runs the command.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use platform::telemetry::{LogConfig, start_logging};
use platform::{command_line, db};
use tokio::runtime::Runtime;
use worker::app;
use worker::cli::{DeadLettersCommand, WorkerCli, WorkerCommand};
use worker::commands::{backtest, dead_letters, rebuild, republish, sync};

/// How long threads that do not end may keep a process whose command has ended.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// How glibc allocates memory, unless the environment says otherwise. By default freed memory stays in up to
/// eight arenas for each core, and a large buffer that was freed raises the size from which buffers are
/// returned.
const MALLOC: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "2"), ("MALLOC_MMAP_THRESHOLD_", "131072")];

fn main() -> ExitCode {
    limit_memory();
    let WorkerCli { command } = command_line::parse();
    let outcome = Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        let outcome = runtime.block_on(run(command));
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

/// Replaces this process by itself with [`MALLOC`] in its environment, which glibc reads only at the start of
/// a process. If that fails, the process continues as it is.
fn limit_memory() {
    let unset = MALLOC.into_iter().filter(|(name, _)| std::env::var_os(name).is_none());
    let unset: Vec<_> = unset.collect();
    if let (false, Ok(program)) = (unset.is_empty(), std::env::current_exe()) {
        let error = Command::new(program).args(std::env::args_os().skip(1)).envs(unset).exec();
        eprintln!("the memory of this process is not limited: {error}");
    }
}

async fn run(command: WorkerCommand) -> anyhow::Result<()> {
    match command {
        WorkerCommand::Run(args) => start(&args.settings.log, app::run(&args)).await,
        WorkerCommand::Sync(args) => start(&args.settings.log, sync::sync(&args)).await,
        WorkerCommand::Rebuild(args) => start(&args.settings.log, rebuild::rebuild(&args)).await,
        WorkerCommand::Backtest(args) => start(&args.settings.log, backtest::backtest(&args)).await,
        WorkerCommand::Republish(args) => start(&args.settings.log, republish::republish(&args)).await,
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
