//! The results as two tables in Markdown.

use crate::TURNS;
use crate::load::{LoadGenerator, PacedLatency, Throughput};
use crate::sql::ComparedRead;

pub(crate) struct ReadsReport {
    compared: String,
    pages: String,
}

impl ReadsReport {
    pub(crate) fn new(load: &LoadGenerator) -> Self {
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        Self {
            compared: format!(
                "{cores} cores, on which everything runs; {} connections, {} s each.\n\n\
                 | read | PostgreSQL alone | bare handler | API | API / PostgreSQL | API / bare handler |\n\
                 |---|---:|---:|---:|---:|---:|\n",
                load.connections,
                load.time.as_secs()
            ),
            pages: format!(
                "Each page is measured at half of its maximum load. The values are medians of {TURNS} \
                 measurements that alternate between both scales.\n\n\
                 | page | requests/s | median | p99 | relative to the p99 above |\n\
                 |---|---:|---:|---:|---:|\n"
            ),
        }
    }

    pub(crate) fn compared(&mut self, read: ComparedRead, alone: f64, bare: &Throughput, api: &Throughput) {
        let (bare, api) = (bare.per_second, api.per_second);
        let percent = |whole: f64| format!("{:.0} %", 100.0 * api / whole);
        self.compared += &format!(
            "| {} | {alone:.0}/s | {bare:.0}/s | {api:.0}/s | {} | {} |\n",
            read.name(),
            percent(alone),
            percent(bare)
        );
        local::print(self.compared.lines().last().unwrap_or_default());
    }

    pub(crate) fn page(&mut self, name: &str, latency: &PacedLatency, before: Option<&PacedLatency>) {
        let ratio =
            before.map(|before| format!("{:.1}", latency.p99.as_secs_f64() / before.p99.as_secs_f64()));
        self.pages += &format!(
            "| {name} | {:.0} | {:.1} ms | {:.1} ms | {} |\n",
            latency.per_second,
            latency.median.as_secs_f64() * 1e3,
            latency.p99.as_secs_f64() * 1e3,
            ratio.unwrap_or_default()
        );
        local::print(self.pages.lines().last().unwrap_or_default());
    }

    pub(crate) fn print(&self) {
        local::print(&format!("\n{}\n{}", self.compared, self.pages));
    }
}
