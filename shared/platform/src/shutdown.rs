//! Graceful shutdown: one token per process, cancelled by SIGTERM or SIGINT. A second signal of the same kind
//! ends the process at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit codes of a process that a signal ends, as shells have them.
const TERMINATED: i32 = 128 + 15;
const INTERRUPTED: i32 = 128 + 2;

/// Returns a token that is cancelled by SIGTERM or SIGINT.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        let mut received = [0; 2];
        loop {
            // A supervisor may send SIGTERM after a terminal has sent SIGINT to the whole group.
            let (kind, exit_code) = tokio::select! {
                _ = terminate.recv() => (0, TERMINATED),
                _ = interrupt.recv() => (1, INTERRUPTED),
            };
            received[kind] += 1;
            if received[kind] > 1 {
                tracing::warn!("second signal: open requests and tasks are cancelled");
                exit(exit_code);
            }
            tracing::info!("shutdown requested");
            stop.cancel();
        }
    });
    Ok(token)
}

#[expect(clippy::disallowed_methods, reason = "a second signal does not wait for destructors")]
fn exit(code: i32) -> ! {
    std::process::exit(code)
}
