//! A writer that changes a hundred rows a second in Airflow's own database while syncs page through them.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::mirrored_airflow::MirroredAirflow;

/// Rows that one write changes.
const ROWS: i32 = 10;
const WRITE_INTERVAL: Duration = Duration::from_millis(100);
const DURATION: Duration = Duration::from_secs(20);

/// Syncs while the writer writes, and at least three times.
pub(super) async fn write_while_syncing(mirrored: &MirroredAirflow) {
    let until = Instant::now() + DURATION;
    let sync = async {
        let mut syncs = 0;
        while syncs < 3 || Instant::now() < until {
            mirrored.poll().await;
            syncs += 1;
        }
    };
    tokio::select! {
        () = sync => {}
        written = write(mirrored) => panic!("the writer ended: {written:?}"),
    }
}

/// Changes one range of mapped tasks after another, as a scheduler does that retries tasks.
async fn write(mirrored: &MirroredAirflow) -> Result<(), sqlx::Error> {
    let mut interval = tokio::time::interval(WRITE_INTERVAL);
    for round in 0.. {
        interval.tick().await;
        let from = round * 7 % 2000;
        let indexes: Vec<i32> = (0..ROWS).map(|step| (from + step * 191) % 2000).collect();
        let state = ["success", "failed", "skipped"][(round % 3) as usize];
        sqlx::query(
            "update task_instance set state = $2, try_number = try_number + 1, end_date = clock_timestamp(),
                 updated_at = clock_timestamp()
             where dag_id = 'crowd' and task_id = 'one' and map_index = any($1)",
        )
        .bind(&indexes)
        .bind(state)
        .execute(&mirrored.metadata)
        .await?;
        if !mirrored.is_airflow_2() {
            // Airflow 3 gives a retried task instance a new id, which orders it after all others.
            let ids: Vec<Uuid> = indexes.iter().map(|_| Uuid::now_v7()).collect();
            sqlx::query(
                "update task_instance set id = fresh.id from unnest($1::int[], $2::uuid[]) fresh (map_index,
                 id)
                 where dag_id = 'crowd' and task_id = 'one' and task_instance.map_index = fresh.map_index",
            )
            .bind(&indexes)
            .bind(&ids)
            .execute(&mirrored.metadata)
            .await?;
        }
        sqlx::query(
            "update dag_run set end_date = clock_timestamp(), updated_at = clock_timestamp()
             where dag_id = 'simple' and run_id = 'kept'",
        )
        .execute(&mirrored.metadata)
        .await?;
    }
    Ok(())
}
