//! The executable: parses the command line and runs the library.

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    match api::run(api::cli::Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orchestration-api: {error:#}");
            ExitCode::FAILURE
        }
    }
}
