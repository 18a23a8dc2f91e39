//! The limits that are learned where single classes have few runs.

use crate::fleet::{Fleet, this_hour};

/// The class of a run that is due at this hour, and after how many seconds it is slow, and ends late.
async fn limits(fleet: &Fleet, history: &'static str) -> (String, f64, f64) {
    let pipeline = fleet.pipeline("sales").await;
    let due_at = this_hour();
    fleet.hourly(pipeline, due_at, history).await;
    fleet.learn().await;
    sqlx::query_as(
        "select class, round(slow_after_seconds), round(finish_after_seconds) from expectation_at($1, $2)",
    )
    .bind(pipeline)
    .bind(due_at)
    .fetch_one(&fleet.owner)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_duration_that_is_usual_in_other_hours_is_not_slow() {
    // A fifth of the runs takes six times as long as the others, but none that was due at this hour.
    let history = "case when n % 24 <> 0 and n % 5 = 0 then 1800 else 300 end";
    let (class, slow_after, finish_after) = limits(&Fleet::new().await, history).await;
    assert_eq!(class, "day_kind_hour");
    assert_eq!(slow_after, 1.25 * 1_800.0);
    assert_eq!(finish_after, 2.0 + 1_800.0 + 0.25 * 1_800.0);
}

#[tokio::test]
async fn an_hour_that_always_takes_longer_does_not_raise_the_limits_of_others() {
    // Every eighth hour takes six times as long.
    let history = "case when (n + 4) % 8 = 0 then 1800 else 300 end";
    let (class, slow_after, finish_after) = limits(&Fleet::new().await, history).await;
    assert_eq!(class, "day_kind_hour");
    assert_eq!(slow_after, 1.25 * 300.0);
    assert_eq!(finish_after, 2.0 + 300.0 + 0.25 * 300.0);
}
