//! A writer that changes a hundred rows a second in Airflow's own database while syncs page through them.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::scene::Scene;

/// So many rows at a time, ten times a second.
const ROWS: i32 = 10;
const BEAT: Duration = Duration::from_millis(100);
const LENGTH: Duration = Duration::from_secs(20);

/// Syncs as long as the writer writes, and at least three times.
pub async fn write_while_syncing(scene: &Scene) {
    let until = Instant::now() + LENGTH;
    let sync = async {
        let mut syncs = 0;
        while syncs < 3 || Instant::now() < until {
            scene.poll().await;
            syncs += 1;
        }
    };
    tokio::select! {
        () = sync => {}
        written = write(scene) => panic!("the writer ended: {written:?}"),
    }
}

/// Takes one stretch of the crowd after another, as a scheduler that tries tasks again does.
async fn write(scene: &Scene) -> Result<(), sqlx::Error> {
    let mut beat = tokio::time::interval(BEAT);
    for round in 0.. {
        beat.tick().await;
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
        .execute(&scene.metadata)
        .await?;
        if !scene.is_airflow_2() {
            // Whatever is tried again gets a new id, which puts it behind all others.
            let ids: Vec<Uuid> = indexes.iter().map(|_| Uuid::now_v7()).collect();
            sqlx::query(
                "update task_instance set id = fresh.id from unnest($1::int[], $2::uuid[]) fresh (map_index, id)
                 where dag_id = 'crowd' and task_id = 'one' and task_instance.map_index = fresh.map_index",
            )
            .bind(&indexes)
            .bind(&ids)
            .execute(&scene.metadata)
            .await?;
        }
        sqlx::query(
            "update dag_run set end_date = clock_timestamp(), updated_at = clock_timestamp()
             where dag_id = 'simple' and run_id = 'kept'",
        )
        .execute(&scene.metadata)
        .await?;
    }
    Ok(())
}
