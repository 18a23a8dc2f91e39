//! `cargo demo` and `cargo local`: the command line of this crate.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use local::{Benchmark, Component, LocalService, bench, demo, logs, print, status, table};

/// Runs a real PostgreSQL, Kafka and Airflow on this machine, and our worker and API
#[derive(Parser)]
#[command(name = "cargo local", bin_name = "cargo local")]
struct LocalArguments {
    #[command(subcommand)]
    command: LocalCommand,
}

#[derive(Subcommand)]
enum LocalCommand {
    /// Start everything, with a demo space
    Demo {
        /// Port of the API (default: 8080, or the next free port)
        #[arg(long)]
        port: Option<u16>,
        /// Start an OpenID Connect provider too, at which people sign in to the console
        #[arg(long)]
        oidc: bool,
    },
    /// Start one part, or all parts
    Up { part: Option<Component> },
    /// Stop one part, or all parts
    Down { part: Option<Component> },
    /// Show the end of the log of one part, or of all parts
    Logs {
        part: Option<Component>,
        /// Keep printing new lines until Ctrl-C
        #[arg(short, long)]
        follow: bool,
        /// Number of lines
        #[arg(short = 'n', long, default_value_t = 40)]
        lines: usize,
    },
    /// Show which parts run, their addresses and their health
    Status {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Run a benchmark and print a table
    Bench {
        benchmark: Benchmark,
        /// Duration of each measurement, in seconds
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
        /// Parts of the benchmark, and its own options, after `--`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(LocalArguments::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  why: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(command: LocalCommand) -> Result<()> {
    match command {
        LocalCommand::Demo { port, oidc } => demo(port, oidc).await,
        LocalCommand::Up { part } => up(part).await,
        LocalCommand::Down { part } => down(part).await,
        LocalCommand::Logs { part, follow, lines } => logs(&services(part), lines, follow).await,
        LocalCommand::Bench { benchmark, seconds, arguments } => bench(benchmark, seconds, arguments).await,
        LocalCommand::Status { json } => {
            let all = status().await?;
            print(&if json { serde_json::to_string_pretty(&all)? } else { table(&all) });
            Ok(())
        }
    }
}

async fn up(part: Option<Component>) -> Result<()> {
    for part in part.map_or(Component::ALL.to_vec(), |part| vec![part]) {
        part.start().await?;
    }
    print(&table(&status().await?));
    Ok(())
}

async fn down(part: Option<Component>) -> Result<()> {
    for service in services(part) {
        if service.stop().await? {
            print(&format!("stopped {}", service.name));
        }
    }
    Ok(())
}

fn services(part: Option<Component>) -> Vec<LocalService> {
    part.map_or_else(LocalService::all, |part| vec![part.service()])
}
