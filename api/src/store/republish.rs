//! Publishes once more what PostgreSQL alone stores, for new or emptied topics.

use contract::ids::{CommentId, IncidentId, PipelineId};
use platform::incidents;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{comments, governance};

/// Few enough rows that a session that changes one of them waits only briefly.
const BATCH: i64 = 500;

/// How much has been published.
#[derive(Clone, Copy, Debug)]
pub struct Republished {
    pub pipelines: usize,
    pub comments: usize,
    pub incidents: usize,
}

/// Inserts the current state of all governance, comments and incidents into the outbox.
pub async fn republish(db: &PgPool) -> sqlx::Result<Republished> {
    let governance = "select pipeline_id from pipeline_governance where pipeline_id > $1
        order by pipeline_id limit $2 for update";
    let pipelines = in_batches(db, governance, async |db, ids| {
        governance::publish(db, None, &ids.iter().copied().map(PipelineId).collect::<Vec<_>>()).await
    });
    let comments = "select id from comments where id > $1 order by id limit $2 for update";
    let comments = in_batches(db, comments, async |db, ids| {
        comments::publish(db, &ids.iter().copied().map(CommentId).collect::<Vec<_>>(), false).await
    });
    let incidents = "select id from incidents where id > $1 order by id limit $2 for update";
    let incidents = in_batches(db, incidents, async |db, ids| {
        incidents::publish_state(db, &ids.iter().copied().map(IncidentId).collect::<Vec<_>>()).await
    });
    Ok(Republished { pipelines: pipelines.await?, comments: comments.await?, incidents: incidents.await? })
}

/// Locks the rows in batches, each of which is published in a transaction of its own, and returns how many
/// there are. `lock` selects the ids of the next rows after an id.
async fn in_batches(
    db: &PgPool,
    lock: &'static str,
    publish: impl AsyncFn(&mut PgConnection, &[Uuid]) -> sqlx::Result<()>,
) -> sqlx::Result<usize> {
    let (mut after, mut published) = (Uuid::nil(), 0);
    loop {
        let mut tx = db.begin().await?;
        let locked = sqlx::query_scalar(lock).bind(after).bind(BATCH);
        let ids: Vec<Uuid> = locked.fetch_all(&mut *tx).await?;
        let Some(last) = ids.last() else { return Ok(published) };
        publish(&mut tx, &ids).await?;
        tx.commit().await?;
        (after, published) = (*last, published + ids.len());
    }
}
