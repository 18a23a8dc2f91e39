//! Every filter, sort and window of the contract's lists, and the pairs that a user interface makes, in one
//! space with ten million runs and in one with a third of them.

use std::fmt::Write;
use std::time::Duration;

use sqlx::PgPool;
use testkit::lists::{self, ListPlaceholders};

use crate::data::{self, BenchData};
use crate::load::{LoadGenerator, PacedLatency};
use crate::services::MeasuredServices;

/// What is required of every list: its median and p99, the former also relative to the plain first page of
/// runs, and the growth of its median at three times the runs.
const MAX_MEDIAN: Duration = Duration::from_millis(100);
const MAX_P99: Duration = Duration::from_millis(250);
const MAX_TO_FIRST_PAGE: f64 = 5.0;
const MAX_GROWTH: f64 = 1.3;

const ORCHESTRATION: &str = "/spaces/{space}/orchestration";
const FIRST_PAGE: &str = "/runs";
/// The last page that has a number.
const LAST_PAGE: &str = "/runs?page=200&size=500";

/// Measures every list at half of its maximum load, in the space and in the larger one.
pub(crate) async fn measure(
    load: &LoadGenerator,
    [smaller, larger]: [&BenchData; 2],
) -> anyhow::Result<String> {
    let db = PgPool::connect(&larger.url).await?;
    let placeholders = ListPlaceholders::of_space(&db, data::SLUG).await;
    let services = [&MeasuredServices::start(smaller).await?, &MeasuredServices::start(larger).await?];
    let mut report = ListsReport::default();
    let ends = [FIRST_PAGE, LAST_PAGE].map(|path| format!("{ORCHESTRATION}{path}"));
    for path in ends.into_iter().chain(lists::paths()) {
        let full = format!("{}{}", api::http::BASE_PATH, placeholders.fill(&path));
        let path = path.trim_start_matches(ORCHESTRATION);
        match half_load(load, services, &full).await {
            Ok(latencies) => report.add(path, &latencies),
            Err(error) => report.fail(path, &error),
        }
    }
    Ok(report.finish())
}

async fn half_load(
    load: &LoadGenerator,
    services: [&MeasuredServices; 2],
    path: &str,
) -> anyhow::Result<[PacedLatency; 2]> {
    let [smaller, larger] = services;
    let maximum = load.saturate(&larger.api, Some(&larger.key), &[path.to_owned()]).await?;
    anyhow::ensure!(maximum.per_second > 0.0, "no answer within {} s", load.time.as_secs());
    let rate = maximum.per_second / 2.0;
    let at_smaller = load.paced(&smaller.api, &smaller.key, path, rate).await?;
    Ok([at_smaller, load.paced(&larger.api, &larger.key, path, rate).await?])
}

#[derive(Default)]
struct ListsReport {
    rows: String,
    first_page: Option<Duration>,
    lists: usize,
    misses: usize,
}

impl ListsReport {
    fn add(&mut self, path: &str, [smaller, larger]: &[PacedLatency; 2]) {
        let first_page = *self.first_page.get_or_insert(larger.median);
        let to_first_page = larger.median.as_secs_f64() / first_page.as_secs_f64();
        let growth = larger.median.as_secs_f64() / smaller.median.as_secs_f64();
        let holds = larger.median <= MAX_MEDIAN
            && larger.p99 <= MAX_P99
            && to_first_page <= MAX_TO_FIRST_PAGE
            && growth <= MAX_GROWTH;
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        self.push(
            path,
            holds,
            &format!(
                "{:.0} | {:.1} ms | {:.1} ms | {to_first_page:.1} | {growth:.2}",
                larger.per_second,
                milliseconds(larger.median),
                milliseconds(larger.p99)
            ),
        );
    }

    fn fail(&mut self, path: &str, error: &anyhow::Error) {
        let error = error.to_string();
        self.push(path, false, &format!("{} | | | |", error.lines().next().unwrap_or_default()));
    }

    fn push(&mut self, path: &str, holds: bool, cells: &str) {
        self.lists += 1;
        self.misses += usize::from(!holds);
        let row = format!("| `{path}` | {cells} | {} |", if holds { "yes" } else { "**no**" });
        local::print(&row);
        let _ = writeln!(self.rows, "{row}");
    }

    fn finish(self) -> String {
        format!(
            "{} of {} lists hold: a median of at most {} ms and {MAX_TO_FIRST_PAGE} times the first page, a \
             p99 of at most {} ms, and at most {MAX_GROWTH} times the median at three times the runs.\n\n\
             | list | requests/s | median | p99 | to the first page | growth | holds |\n\
             |---|---:|---:|---:|---:|---:|---|\n{}",
            self.lists - self.misses,
            self.lists,
            MAX_MEDIAN.as_millis(),
            MAX_P99.as_millis(),
            self.rows
        )
    }
}
