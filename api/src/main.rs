//! The executable: parses the command line and runs the library.

use std::process::ExitCode;
use std::time::Duration;

use platform::command_line;
use tokio::runtime::Runtime;

/// How long threads that do not end may keep a process whose command has ended.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = command_line::parse();
    let outcome = Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        let outcome = runtime.block_on(api::run(cli));
        runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orchestration-api: {error:#}");
            ExitCode::FAILURE
        }
    }
}
