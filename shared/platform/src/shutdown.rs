//! Graceful shutdown: one token per process, cancelled by SIGTERM or SIGINT. A second signal of the same
//! kind, or SIGINT after SIGTERM, ends the process at once.

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
        let (mut is_terminated, mut is_interrupted) = (false, false);
        loop {
            let (is_repeated, exit_code) = tokio::select! {
                // A supervisor may send SIGTERM after a terminal has sent SIGINT to the whole group.
                _ = terminate.recv() => (std::mem::replace(&mut is_terminated, true), TERMINATED),
                _ = interrupt.recv() => {
                    (std::mem::replace(&mut is_interrupted, true) || is_terminated, INTERRUPTED)
                }
            };
            if is_repeated {
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
