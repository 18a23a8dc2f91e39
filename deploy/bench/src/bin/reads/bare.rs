//! A bare handler for comparison: it sends the same SQL and returns JSON, without keys, roles, limits or
//! headers.

use api::store::page::Paging;
use api::store::pipelines::PipelineFilter;
use api::store::runs::{self, Run, RunDetail, RunQuery, RunRead, RunsOf};
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use contract::ids::{RunId, SpaceId, UserId};
use sqlx::PgPool;
use uuid::Uuid;

#[derive(Clone)]
pub(crate) struct BareState {
    pub db: PgPool,
    pub space: SpaceId,
}

pub(crate) fn router(bare: BareState) -> Router {
    Router::new().route("/runs/{id}", get(run)).route("/runs", get(fifty_runs)).with_state(bare)
}

async fn run(State(bare): State<BareState>, Path(id): Path<Uuid>) -> Json<RunDetail> {
    match runs::find_small(&bare.db, bare.space, RunId(id), false).await.unwrap().unwrap() {
        RunRead::Small(run) => Json(*run),
        RunRead::Large => unreachable!("runs have 5 tasks"),
    }
}

async fn fifty_runs(State(bare): State<BareState>) -> Json<Vec<Run>> {
    let query = RunQuery::default();
    let paging = Paging::new(query.order(), 1, 50);
    let all = PipelineFilter::default();
    let no_user = UserId(Uuid::nil());
    let page = runs::list(&bare.db, bare.space, no_user, &RunsOf::Space(&all), &query, &paging).await;
    Json(page.unwrap().unwrap().rows)
}
