//! The results as tables in Markdown.

use crate::browser::{Measured, PageTimes};
use crate::data::ConsoleScale;
use crate::feed::EVENTS_PER_SECOND;

pub(crate) fn print(scale: &ConsoleScale, measured: &Measured) {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let mut text = format!(
        "\n{cores} cores, on which everything runs; Chromium; {} pipelines, a grid of {} tasks × {} runs, \
         a run of {} mapped tasks; {EVENTS_PER_SECOND} events a second to the console, none to Airflow.\n\n\
         | page | | first picture | hover, p95 | click, p95 | DOM nodes | beside text |\n\
         |---|---|---:|---:|---:|---:|---:|\n",
        scale.pipelines, scale.grid_tasks, scale.grid_runs, scale.mapped_task_runs
    );
    for page in &measured.pages {
        text += &row(&page.name, "console", &page.console);
        let Some(airflow) = &page.airflow else { continue };
        text += &row("", "Airflow 3.3", airflow);
        let ratio = airflow.first_picture / page.console.first_picture;
        text += &format!("| | Airflow / console | {ratio:.1} | | | | |\n");
    }
    text += "\n| page under events | main thread busy | events seen |\n|---|---:|---:|\n";
    for page in &measured.busy {
        text += &format!("| {} | {:.1} % | {} |\n", page.name, page.percent, page.events);
    }
    local::print(&text);
}

fn row(page: &str, whose: &str, times: &PageTimes) -> String {
    format!(
        "| {page} | {whose} | {:.0} ms | {:.0} ms | {:.0} ms | {} | {} |\n",
        times.first_picture, times.hover_p95, times.click_p95, times.nodes, times.nodes_beside_text
    )
}
