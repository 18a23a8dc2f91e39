//! Background tasks that run at an interval until the process stops.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// When a periodic task runs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextRun {
    /// At once: there is more work.
    AtOnce,
    /// After the interval.
    AfterInterval,
}

/// Runs the task until stopped. A run that has started is not cancelled; the pause after it is.
pub async fn run_every<F>(interval: Duration, stop: CancellationToken, mut task: F)
where
    F: AsyncFnMut() -> NextRun,
{
    while !stop.is_cancelled() {
        if task().await == NextRun::AfterInterval {
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_runs_until_it_is_stopped_and_pauses_only_when_idle() {
        let stop = CancellationToken::new();
        let mut runs = 0;
        let started = std::time::Instant::now();
        run_every(Duration::from_millis(50), stop.clone(), async || {
            runs += 1;
            match runs {
                1 => NextRun::AfterInterval,
                10 => {
                    stop.cancel();
                    NextRun::AfterInterval
                }
                _ => NextRun::AtOnce,
            }
        })
        .await;
        assert_eq!(runs, 10);
        assert!((50..1000).contains(&started.elapsed().as_millis()));
    }
}
