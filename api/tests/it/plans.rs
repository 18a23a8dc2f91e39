//! What lists read: how many rows and buffers each statement of PostgreSQL touches for each filter, each
//! sort and the pairs that a user interface makes, on a million runs in one space. The numbers depend on no
//! clock.

mod explained;

use api::store::page::DEFAULT_PAGE_SIZE;
use axum::http::Method;
use local::TestDatabase;
use sqlx::AssertSqlSafe;
use testkit::lists::{self, ListPlaceholders};

use self::explained::{ExplainedStatements, Touched};
use crate::app::{SPACE, TestApi};
use crate::seed::{ADMIN, VIEWER};

/// What a statement may touch, besides the rows before a page behind the hundredth.
const MAX_ROWS: u64 = 20_000;
const MAX_BUFFERS: u64 = 5_000;

/// What a search for text that no pipeline has may touch.
const MAX_SEARCHED: u64 = 100;

/// The last pages of lists, and pages far from the first. Those of some filters and sorts touch more, and are
/// better read by cursor.
const DEEP_PAGES: [&str; 14] = [
    "/runs?page=1000",
    "/runs?page=1000&include_deleted=true",
    "/runs?page=1000&status=success",
    "/runs?page=400&status=failed",
    "/runs?page=250&run_type=manual",
    "/runs?page=1000&started_from={month}",
    "/runs?page=101&started_from={month}&status=failed",
    "/runs?page=1000&sort=-started_at",
    "/runs?page=101&run_id=scheduled",
    "/pipelines/{pipeline}/runs?page=150",
    "/connectors/{connector}/syncs?page=200",
    "/runs/{run}/comments?page=150",
    "/catalog/spaces/{space}/sync-history?page=1000",
    "/spaces/{space}/audit?page=1000",
];

/// Every index of the lists, and a list that is too expensive without it.
const INDEXES: [(&str, &str); 26] = [
    ("syncs_space_status", "/catalog/spaces/{space}/sync-history?status=failed"),
    ("syncs_space_trigger", "/catalog/spaces/{space}/sync-history?trigger=manual"),
    ("syncs_space_changed", "/catalog/spaces/{space}/sync-history?changed=true"),
    ("syncs_connector", "/connectors/{connector}/syncs?page=100"),
    ("syncs_space", "/catalog/spaces/{space}/sync-history"),
    ("audit_action", "/spaces/{space}/audit?action=key.revoked"),
    ("audit_target", "/spaces/{space}/audit?target_id={pipeline}"),
    ("runs_scheduled_id", "/runs?run_id=T07:15"),
    ("runs_external_id", "/runs?run_id=zzz"),
    ("runs_disordered", "/runs?started_to={month}"),
    ("runs_triggered_by", "/runs?triggered_by={user}"),
    ("runs_space_type_ordered", "/runs?run_type=backfill"),
    ("runs_space_status_ordered", "/runs?status=failed"),
    ("runs_pipeline_type", "/runs?run_type=manual&team_id={team}"),
    ("runs_pipeline_status", "/runs?status=unknown&team_id={team}"),
    ("runs_space_status_ended", "/runs?ended_from={month}&status=failed"),
    ("runs_space_type", "/runs?started_from={month}&run_type=manual"),
    ("runs_space_status", "/runs?started_from={month}&status=failed"),
    ("runs_pipeline_counted", "/runs?ended_from={day}&team_id={team}"),
    ("runs_pipeline_ordered", "/runs?is_active=false"),
    ("runs_space_duration", "/runs?sort=-duration_seconds"),
    ("runs_space_ended", "/runs?sort=-ended_at"),
    ("runs_space_started", "/runs?sort=-started_at"),
    ("runs_space_ordered", "/runs"),
    ("task_runs_run", "/runs/{run}"),
    ("comments_run", "/runs/{run}/comments?page=100"),
];

/// The indexes of runs that have other uses.
const OTHER_INDEXES: [&str; 2] = ["runs_pkey", "runs_unfinished"];

#[tokio::test]
async fn statements_touch_few_rows_and_buffers_whatever_the_filter_and_the_sort_of_a_list() {
    let test = ListTest::start().await;
    let mut excessive = Vec::new();
    for path in lists::paths().into_iter().chain(DEEP_PAGES.map(full_path)) {
        if let Some(touched) = test.excessive(&path).await {
            excessive.push(format!("{path}: {touched}"));
        }
    }
    assert!(excessive.is_empty(), "{}", excessive.join("\n"));
    for searched in test.touched(&full_path("/pipelines?q=nothing")).await {
        assert!(searched.rows < MAX_SEARCHED, "{searched}");
    }
    test.assert_indexes_are_listed().await;
    let mut unused = Vec::new();
    for (index, path) in INDEXES {
        test.api.sql(&format!("drop index {index}")).await;
        if test.excessive(&full_path(path)).await.is_none() {
            unused.push(format!("without {index} {path} is as cheap"));
        }
    }
    assert!(unused.is_empty(), "{}", unused.join("\n"));
}

/// Returns the path of a list, which is below `orchestration` unless it says so itself.
fn full_path(path: &str) -> String {
    let is_full = path.starts_with("/spaces") || path.starts_with("/catalog");
    if is_full { path.to_owned() } else { format!("/spaces/{{space}}/orchestration{path}") }
}

/// Returns how many rows are before the page of a path, if it is behind the hundredth.
fn rows_before(path: &str) -> u64 {
    let page = path.split(['?', '&']).find_map(|part| part.strip_prefix("page=")?.parse::<u64>().ok());
    page.filter(|page| *page > 100).map_or(0, |page| (page - 1) * DEFAULT_PAGE_SIZE as u64)
}

/// An API whose database explains its statements.
struct ListTest {
    api: TestApi,
    statements: ExplainedStatements,
    placeholders: ListPlaceholders,
}

impl ListTest {
    async fn start() -> Self {
        let api = TestApi::new().await;
        platform::db::create_text_indexes(&api.db).await.unwrap();
        for rows in [include_str!("plans/million.sql"), include_str!("plans/others.sql"), "vacuum analyze"] {
            api.sql(rows).await;
        }
        // A worker has computed the metrics of every pipeline.
        while platform::pipeline_metrics::refresh(&api.db).await.unwrap() {}
        api.sql("vacuum analyze pipeline_metrics").await;
        explain_statements(&api.database).await;
        let placeholders = ListPlaceholders::of_space(&api.db, SPACE).await;
        Self { api, statements: ExplainedStatements::collect(), placeholders }
    }

    /// Asserts that the test knows what each index of runs is for: each of them makes writes slower.
    async fn assert_indexes_are_listed(&self) {
        let indexes: Vec<String> = sqlx::query_scalar(
            "select indexrelid::regclass::text from pg_index where indrelid = 'runs'::regclass",
        )
        .fetch_all(&self.api.db)
        .await
        .unwrap();
        for index in indexes {
            let is_of_lists = INDEXES.iter().any(|(listed, _)| *listed == index);
            assert!(is_of_lists || OTHER_INDEXES.contains(&index.as_str()), "what is {index} for?");
        }
    }

    /// Reads a list, and returns what the most expensive of the statements that touch too much has touched.
    async fn excessive(&self, path: &str) -> Option<Touched> {
        let max_rows = MAX_ROWS + rows_before(path);
        let touched = self.touched(path).await.into_iter();
        let excessive = touched.filter(|touched| touched.rows > max_rows || touched.buffers > MAX_BUFFERS);
        excessive.max_by_key(|touched| touched.rows)
    }

    /// Reads a list, and returns what each statement has touched.
    async fn touched(&self, path: &str) -> Vec<Touched> {
        let path = self.placeholders.fill(path);
        self.statements.take();
        let key = if path.contains("/audit") { ADMIN } else { VIEWER };
        let response = self.api.send(Method::GET, key, &path, None).await;
        // What takes longer than a request may has touched too much.
        if response.status == 503 {
            return vec![Touched::of_cancelled()];
        }
        assert_eq!(response.status, 200, "{path}: {}", response.body);
        let statements = self.statements.take();
        assert!(!statements.is_empty(), "no statement of {path} was explained");
        statements.iter().map(Touched::by).collect()
    }
}

/// Makes PostgreSQL send the plan of each statement to who executes it. Only a superuser may say so, and
/// connections that are opened later obey.
async fn explain_statements(database: &TestDatabase) {
    let name: String =
        sqlx::query_scalar("select current_database()").fetch_one(&database.pool).await.unwrap();
    let admin = local::test_pool(&local::postgres().await.unwrap()).unwrap();
    for (setting, value) in [
        ("session_preload_libraries", "auto_explain"),
        ("auto_explain.log_min_duration", "0"),
        ("auto_explain.log_analyze", "on"),
        ("auto_explain.log_timing", "off"),
        ("auto_explain.log_buffers", "on"),
        ("auto_explain.log_nested_statements", "on"),
        ("auto_explain.log_format", "json"),
        ("auto_explain.log_level", "notice"),
    ] {
        let statement = AssertSqlSafe(format!("alter database {name} set {setting} = '{value}'"));
        sqlx::raw_sql(statement).execute(&admin).await.unwrap();
    }
}
