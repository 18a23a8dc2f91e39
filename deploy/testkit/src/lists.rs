//! The lists of the API's contract: every filter, sort and window, and the pairs of filters that a user
//! interface asks for. A test bounds what each of them reads, and a benchmark measures it.

use chrono::{TimeDelta, Utc};
use sqlx::PgPool;

/// Conditions on runs. `{day}`, `{week}` and `{month}` are so long ago, `{old}` is two months.
const RUN_FILTERS: [&str; 37] = [
    "",
    "started_from={day}",
    "started_from={month}",
    "started_to={month}",
    "started_from={month}&started_to={week}",
    "ended_from={day}",
    "ended_to={old}",
    "duration_min=3000",
    "duration_max=1",
    "duration_min=60&duration_max=61",
    "status=failed",
    "status=running",
    "status=queued&status=running",
    "status=unknown",
    "status=success",
    "run_type=manual",
    "run_type=backfill",
    "run_type=asset_triggered",
    "run_type=manual&run_type=backfill",
    "run_type=unknown",
    "triggered_by={user}",
    "include_deleted=true",
    "{runs}",
    "run_id=zzz",
    "run_id=T07:15",
    "run_id=scheduled",
    "team_id={team}",
    "team_id=none",
    "criticality=critical",
    "owner=owner-7",
    "tag=tag-7",
    "connector_id={connector}",
    "pipeline_id={pipeline}",
    "watched_only=true",
    "is_active=true",
    "is_active=false",
    "q=pipeline_7",
];

/// So many of them, the first ones, are read of the busiest pipeline, too.
const OF_A_PIPELINE: usize = 26;

/// Pairs of conditions on runs.
const RUN_PAIRS: [&str; 35] = [
    "started_from={day}&status=failed",
    "started_from={week}&status=failed",
    "started_from={month}&status=failed",
    "started_from={day}&status=success",
    "started_from={month}&status=success",
    "started_from={day}&team_id={team}",
    "started_from={month}&team_id={team}",
    "started_from={day}&run_type=manual",
    "started_from={month}&run_type=manual",
    "started_from={month}&run_type=backfill",
    "started_from={day}&duration_min=3000",
    "started_from={month}&duration_min=3000",
    "started_from={month}&criticality=critical",
    "ended_from={week}&status=failed",
    "ended_from={day}&run_type=asset_triggered",
    "started_to={old}&team_id={team}",
    "ended_from={day}&team_id={team}",
    "ended_from={month}&team_id={team}",
    "ended_to={old}&team_id={team}",
    "ended_from={month}&criticality=critical",
    "ended_to={old}&criticality=critical",
    "status=failed&run_type=manual",
    "status=failed&run_type=scheduled",
    "status=failed&owner=owner-7",
    "status=failed&team_id={team}",
    "status=failed&team_id=none",
    "status=failed&duration_min=3000",
    "status=running&team_id={team}",
    "status=success&is_active=true",
    "run_type=manual&team_id={team}",
    "run_type=manual&owner=owner-7",
    "duration_min=60&team_id={team}",
    "duration_min=3000&team_id={team}",
    "connector_id={connector}&status=failed",
    "q=pipeline_7&started_from={week}",
];

/// Sorts of runs, and the conditions that a list in each of the orders is read with.
const RUN_SORTS: [&str; 6] =
    ["started_at", "-started_at", "ended_at", "-ended_at", "duration_seconds", "-duration_seconds"];
const SORTED_RUN_FILTERS: [&str; 8] = [
    "",
    "started_from={day}",
    "started_from={month}",
    "status=failed",
    "status=running",
    "run_type=manual",
    "team_id={team}",
    "team_id={team}&started_from={week}",
];

/// Conditions on pipelines.
const PIPELINE_FILTERS: [&str; 27] = [
    "",
    "page=20",
    "sort=-name",
    "sort=-name&page=20",
    "sort=-last_run",
    "is_active=any",
    "is_active=false",
    "is_paused=true",
    "q=pipeline_7",
    "q=nothing",
    "owner=owner-7",
    "owner=none",
    "tag=tag-7",
    "team_id={team}",
    "team_id=none",
    "criticality=critical",
    "criticality=none",
    "watched_only=true",
    "connector_id={connector}",
    "status=failed",
    "status=never_run",
    "status=running&team_id={team}&q=pipeline",
    "status=failed&team_id={team}&sort=-last_run",
    "health=ok",
    "health=failing&health=late",
    "recent_runs=20&size=50&page=20",
    "{pipelines}",
];

/// Sorts of pipelines by what their runs are, and the windows with the number of rows on a page. The
/// percentiles of the shown pipelines are those of single runs unless they are stored, and the busiest
/// pipeline has 1,500 runs a week.
const METRIC_SORTS: [&str; 4] = ["failed_count", "-failed_count", "success_rate", "-avg_duration"];
const WINDOWS: [(u32, u32); 5] = [(1, 20), (7, 5), (30, 2), (90, 1), (365, 1)];

/// Lists of everything else, and what is read like a list.
const OTHERS: [&str; 14] = [
    "/pipelines/facets",
    "/pipelines/facets?status=failed&owner=owner-7",
    "/pipelines/facets?q=pipeline_7&team_id={team}",
    "/pipelines/facets?health=ok&is_active=any",
    "/pipelines/{pipeline}/grid?runs=25",
    "/pipelines/{pipeline}/grid?runs=100&include_deleted=true",
    "/connectors/{connector}/syncs",
    "/connectors/{connector}/syncs?page=100",
    "/connectors/{connector}/syncs?changed=true",
    "/connectors/{connector}/syncs?changed=false",
    "/connectors/{connector}/syncs?status=failed",
    "/connectors/{connector}/syncs?trigger=manual",
    "/runs/{run}/comments",
    "/runs/{run}/comments?page=100",
];

/// Lists of a space that are not below `orchestration`.
const OF_THE_SPACE: [&str; 16] = [
    "/catalog/spaces/{space}/sync-history",
    "/catalog/spaces/{space}/sync-history?page=100",
    "/catalog/spaces/{space}/sync-history?changed=true",
    "/catalog/spaces/{space}/sync-history?changed=false",
    "/catalog/spaces/{space}/sync-history?status=failed",
    "/catalog/spaces/{space}/sync-history?status=succeeded",
    "/catalog/spaces/{space}/sync-history?trigger=manual",
    "/catalog/spaces/{space}/sync-history?changed=true&trigger=schedule",
    "/spaces/{space}/audit",
    "/spaces/{space}/audit?page=100",
    "/spaces/{space}/audit?from={week}&to={day}",
    "/spaces/{space}/audit?actor_id={user}",
    "/spaces/{space}/audit?action=key.revoked",
    "/spaces/{space}/audit?action=pipeline.triggered&actor_id={user}&from={month}",
    "/spaces/{space}/audit?target_id={pipeline}",
    "/spaces/{space}/audit?target_id={pipeline}&action=key.revoked",
];

/// Returns the paths of the lists below `orchestration`.
fn orchestration_paths() -> Vec<String> {
    let runs = RUN_FILTERS.iter().chain(&RUN_PAIRS).map(|filter| format!("/runs?{filter}"));
    let sorted_runs = RUN_SORTS
        .iter()
        .flat_map(|sort| SORTED_RUN_FILTERS.iter().map(move |filter| format!("/runs?{filter}&sort={sort}")));
    let of_pipeline = RUN_FILTERS[..OF_A_PIPELINE].iter().map(|filter| (*filter).to_owned());
    let sorted_of_pipeline = RUN_SORTS.iter().map(|sort| format!("sort={sort}"));
    let of_pipeline =
        of_pipeline.chain(sorted_of_pipeline).map(|query| format!("/pipelines/{{pipeline}}/runs?{query}"));
    let pipelines = PIPELINE_FILTERS.iter().map(|filter| format!("/pipelines?{filter}"));
    let sorted_pipelines = METRIC_SORTS.iter().flat_map(|sort| {
        let windows = WINDOWS.iter().flat_map(|window| [(window, false), (window, true)]);
        windows.map(move |((days, size), deleted)| {
            format!("/pipelines?sort={sort}&days={days}&size={size}&include_deleted={deleted}")
        })
    });
    let others = OTHERS.iter().map(|path| (*path).to_owned());
    let paths = runs.chain(sorted_runs).chain(of_pipeline).chain(pipelines).chain(sorted_pipelines);
    paths.chain(others).map(|path| format!("/spaces/{{space}}/orchestration{path}")).collect()
}

/// Returns the paths of all lists, which an admin may read.
pub fn paths() -> Vec<String> {
    let of_the_space = OF_THE_SPACE.iter().map(|path| (*path).to_owned());
    orchestration_paths().into_iter().chain(of_the_space).collect()
}

/// What the words in braces stand for.
pub struct ListPlaceholders(Vec<(String, String)>);

impl ListPlaceholders {
    /// The ids of rows are the MD5 hashes of their names, such as `team1`.
    pub async fn of_space(db: &PgPool, slug: &str) -> Self {
        let mut values = vec![("{space}".to_owned(), slug.to_owned())];
        for (name, days) in [("day", 1), ("week", 7), ("month", 30), ("old", 60)] {
            let time = Utc::now() - TimeDelta::days(days);
            values.push((format!("{{{name}}}"), time.format("%Y-%m-%dT%H:%M:%SZ").to_string()));
        }
        let rows: Vec<(String, String)> = sqlx::query_as(
            "select '{' || name || '}', md5(name || number)::uuid::text
             from (values ('team', 1), ('user', 0), ('connector', 3), ('pipeline', 0), ('run', 0))
                 as row (name, number)
             union all
             select '{' || name || 's}', string_agg('id=' || md5(name || number * 13)::uuid, '&')
             from unnest(array['run', 'pipeline']) name, generate_series(0, 199) number group by name",
        )
        .fetch_all(db)
        .await
        .unwrap();
        values.extend(rows);
        Self(values)
    }

    /// Replaces the words in braces.
    pub fn fill(&self, path: &str) -> String {
        self.0.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value))
    }
}
