//! Query plans: reads find their rows by an index, and never scan a large table sequentially.

use api::store::page::Paging;
use api::store::pipelines::PipelineFilter;
use api::store::runs::{self, RunFilter, RunQuery, RunsOf};
use api::store::task_runs;
use contract::ids::{SpaceId, UserId};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use crate::app::TestApi;
use crate::seed::hours_ago;

#[tokio::test]
async fn runs_and_their_task_runs_are_read_by_index_including_deleted_ones() {
    let test = TestApi::new().await;
    let run = test.run(test.pipeline("p").await, "r", "failed", hours_ago(2)).await;
    test.task_run(run, "extract", -1, "failed").await;
    let space: SpaceId = SpaceId(test.id(&format!("select space_id from runs where id = '{run}'")).await);
    // One connection, whose statistics are flushed below. A sequential scan is planned only if no index fits.
    let options = (*test.db.connect_options()).clone().options([("enable_seqscan", "off")]);
    let db = PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let no_user = UserId(Uuid::nil());
    let before = sequential_scans(&db).await;
    for include_deleted in [false, true] {
        let query = RunQuery { filter: RunFilter { include_deleted, ..RunFilter::default() }, sort: None };
        let paging = Paging::new(1, 50);
        runs::list(&db, space, no_user, &RunsOf::Space(&PipelineFilter::default()), &query, paging)
            .await
            .unwrap();
        runs::find(&db, space, run, include_deleted).await.unwrap();
        task_runs::list(&db, space, run, include_deleted).await.unwrap();
        assert_eq!(sequential_scans(&db).await, before, "include_deleted: {include_deleted}");
    }
}

/// The number of sequential scans of the tables of runs and task runs.
async fn sequential_scans(db: &PgPool) -> i64 {
    sqlx::query("select pg_stat_force_next_flush()").execute(db).await.unwrap();
    sqlx::query_scalar(
        "select sum(seq_scan)::bigint from pg_stat_user_tables where relname in ('runs', 'task_runs')",
    )
    .fetch_one(db)
    .await
    .unwrap()
}
