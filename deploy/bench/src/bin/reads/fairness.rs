//! Fairness: how long another key's small reads take while one key sends as many expensive reads as it can,
//! and how long its statements run after its clients have left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::time::{Instant, sleep};

use crate::data::{self, BenchData};
use crate::load::{LoadGenerator, PacedLatency};
use crate::services::{APPLICATION, MeasuredServices};
use crate::space::KEYS;

/// The number of expensive reads at a time.
const EXPENSIVE_READS: usize = 64;
/// A list that adds up the days of every pipeline of the space.
const EXPENSIVE: &str = "/pipelines?size=1&sort=success_rate&days=364&include_deleted=true";
/// Small reads per second.
const RATE: f64 = 50.0;
/// For how long statements are looked for after the clients have left.
const WATCHED: Duration = Duration::from_secs(8);

/// Measures the small reads alone and beside the expensive ones.
pub(crate) async fn measure(load: &LoadGenerator, data: &BenchData) -> anyhow::Result<String> {
    let served = MeasuredServices::start(data).await?;
    let run = format!("{}/runs/{}", data::orchestration(), data.runs[0]);
    let alone = load.paced(&served.api, KEYS[0], &run, RATE).await?;
    let greedy = GreedyKey::start(&served);
    sleep(Duration::from_secs(2)).await;
    let (beside, not_ready) =
        tokio::join!(load.paced(&served.api, KEYS[0], &run, RATE), count_not_ready(&served.api, load.time));
    let beside = beside?;
    let responses = greedy.leave();
    let left_running = longest_statement(data).await?;
    Ok(report(&alone, &beside, not_ready?, &responses, left_running))
}

fn report(
    alone: &PacedLatency,
    beside: &PacedLatency,
    not_ready: usize,
    [answered, refused]: &[usize; 2],
    left_running: Duration,
) -> String {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    format!(
        "{EXPENSIVE_READS} expensive reads of one key at once: {answered} were answered, {refused} \
         refused.\n\n\
         | | median | p99 |\n|---|---:|---:|\n\
         | a run of another key, alone | {:.1} ms | {:.1} ms |\n\
         | … beside the expensive reads | {:.1} ms | {:.1} ms |\n\
         | ratio (at most 3) | {:.1} | {:.1} |\n\n\
         `/readyz` was not 200: {not_ready} times. After the clients had left, statements ran on for {:.1} s \
         (at most 1 s).\n",
        milliseconds(alone.median),
        milliseconds(alone.p99),
        milliseconds(beside.median),
        milliseconds(beside.p99),
        beside.median.as_secs_f64() / alone.median.as_secs_f64(),
        beside.p99.as_secs_f64() / alone.p99.as_secs_f64(),
        left_running.as_secs_f64()
    )
}

/// The clients of one key, each of which sends the next expensive read as soon as it has a response.
struct GreedyKey {
    clients: Vec<tokio::task::JoinHandle<()>>,
    /// The numbers of responses that were answers and of all others.
    responses: Arc<[AtomicUsize; 2]>,
}

impl GreedyKey {
    fn start(served: &MeasuredServices) -> Self {
        let responses = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let url = format!("http://{}{}{EXPENSIVE}", served.api, data::orchestration());
        let clients = (0..EXPENSIVE_READS).map(|_| {
            let (url, responses) = (url.clone(), responses.clone());
            tokio::spawn(async move {
                let client = reqwest::Client::builder().no_proxy().build().unwrap();
                loop {
                    let response = client.get(&url).bearer_auth(KEYS[1]).send().await;
                    let is_refused = !response.is_ok_and(|response| response.status() == 200);
                    responses[usize::from(is_refused)].fetch_add(1, Ordering::Relaxed);
                    if is_refused {
                        sleep(Duration::from_millis(100)).await;
                    }
                }
            })
        });
        Self { clients: clients.collect(), responses }
    }

    /// Closes all connections, whatever is under way. Returns the numbers of responses.
    fn leave(self) -> [usize; 2] {
        self.clients.iter().for_each(tokio::task::JoinHandle::abort);
        self.responses.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}

/// Returns how often the service said that it is not ready.
async fn count_not_ready(address: &str, time: Duration) -> anyhow::Result<usize> {
    let (client, end) = (reqwest::Client::builder().no_proxy().build()?, Instant::now() + time);
    let mut count = 0;
    while Instant::now() < end {
        let response = client.get(format!("http://{address}/readyz")).send().await?;
        count += usize::from(response.status() != 200);
        sleep(Duration::from_millis(200)).await;
    }
    Ok(count)
}

/// Returns for how long statements that run now run on.
async fn longest_statement(data: &BenchData) -> anyhow::Result<Duration> {
    let db = PgPool::connect(&data.url).await?;
    let left_at = Instant::now();
    let now: DateTime<Utc> = sqlx::query_scalar("select clock_timestamp()").fetch_one(&db).await?;
    let mut longest = Duration::ZERO;
    while left_at.elapsed() < WATCHED {
        let is_running: bool = sqlx::query_scalar(
            "select exists (select from pg_stat_activity where application_name = $1 and state = 'active'
                 and query_start <= $2 and datname = current_database())",
        )
        .bind(APPLICATION)
        .bind(now)
        .fetch_one(&db)
        .await?;
        if is_running {
            longest = left_at.elapsed();
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(longest)
}
