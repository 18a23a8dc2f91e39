//! The least that a service could do: ask PostgreSQL the same questions and answer in JSON. No keys, no
//! roles, no limits, no headers.

use api::store::page::Paging;
use api::store::pipelines::PipelineFilter;
use api::store::runs::{self, Run, RunDetail, RunQuery, RunsOf};
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use contract::ids::{RunId, SpaceId, UserId};
use sqlx::PgPool;
use uuid::Uuid;

#[derive(Clone)]
pub(crate) struct Bare {
    pub db: PgPool,
    pub space: SpaceId,
}

pub(crate) fn router(bare: Bare) -> Router {
    Router::new().route("/runs/{id}", get(run)).route("/runs", get(fifty_runs)).with_state(bare)
}

async fn run(State(bare): State<Bare>, Path(id): Path<Uuid>) -> Json<RunDetail> {
    Json(runs::find(&bare.db, bare.space, RunId(id), false).await.unwrap().unwrap())
}

async fn fifty_runs(State(bare): State<Bare>) -> Json<Vec<Run>> {
    let paging = Paging::new(1, 50);
    let of = PipelineFilter::default();
    let nobody = UserId(Uuid::nil());
    let page =
        runs::list(&bare.db, bare.space, nobody, &RunsOf::Space(&of), &RunQuery::default(), paging).await;
    Json(page.unwrap().unwrap().rows)
}
