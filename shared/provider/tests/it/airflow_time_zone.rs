//! The time zone of a schedule, which the details of a DAG have and no list.

use serde_json::{Value, json};
use wiremock::Mock;
use wiremock::matchers::path;

use crate::airflow_server::{provider, response, start_airflow};

async fn time_zone(release: &str, timezone: Value) -> Option<String> {
    let server = start_airflow(release).await;
    let api = if release.starts_with('2') { "v1" } else { "v2" };
    Mock::given(path(format!("/api/{api}/dags/daily_sales/details")))
        .respond_with(response(200, json!({"dag_id": "daily_sales", "timezone": timezone}).to_string()))
        .expect(1)
        .mount(&server)
        .await;
    provider(&server.uri()).time_zone("daily_sales").await.unwrap()
}

#[tokio::test]
async fn the_time_zone_of_a_schedule_is_a_name_or_unknown() {
    for (timezone, name) in [
        (json!("UTC"), Some("UTC")),
        (json!("Europe/Berlin"), Some("Europe/Berlin")),
        (json!("America/Port-au-Prince"), Some("America/Port-au-Prince")),
        (json!("Timezone('Europe/Berlin')"), Some("Europe/Berlin")),
        (json!("+02:00"), None),
        (json!("FixedTimezone(7200, name=\"+02:00\")"), None),
        (json!(7200), None),
        (Value::Null, None),
    ] {
        for release in ["2.11", "3.1", "3.3"] {
            assert_eq!(time_zone(release, timezone.clone()).await.as_deref(), name, "{release}: {timezone}");
        }
    }
}

#[tokio::test]
async fn details_that_fail_are_requested_once() {
    let server = start_airflow("3.3").await;
    let details = path("/api/v2/dags/daily_sales/details");
    Mock::given(details).respond_with(response(500, "{}")).expect(1).mount(&server).await;
    provider(&server.uri()).time_zone("daily_sales").await.unwrap_err();
}
