//! Facets: each is counted under the filters on the others.

use axum::http::Method;
use serde_json::{Value, json};

use crate::app::TestApi;
use crate::seed::{VIEWER, hours_ago};

/// The values of a facet with their counts: `value count value count`.
fn counts(facets: &Value, facet: &str) -> String {
    let values = facets[facet].as_array().unwrap().iter();
    values
        .map(|counted| format!("{} {}", counted["value"].as_str().unwrap(), counted["count"]))
        .collect::<Vec<_>>()
        .join(" ")
}

async fn seed(test: &TestApi) {
    for (name, status, owners, tags) in [
        ("a", "failed", "{ann,bob}", "{daily}"),
        ("b", "failed", "{bob}", "{daily,finance}"),
        ("c", "success", "{bob}", "{}"),
        ("d", "", "{}", "{}"),
    ] {
        let pipeline = test.pipeline(name).await;
        test.sql(&format!(
            "update pipelines set owners = '{owners}', tags = '{tags}' where id = '{pipeline}'"
        ))
        .await;
        if !status.is_empty() {
            test.run(pipeline, "r", status, hours_ago(1)).await;
        }
        if name < "c" {
            test.sql(&format!(
                "insert into pipeline_governance (pipeline_id, space_id, team_id, criticality)
                 select id, space_id, '{}', 'high' from pipelines where id = '{pipeline}'",
                test.team
            ))
            .await;
        }
    }
    let inactive = test.pipeline("inactive").await;
    test.sql(&format!("update pipelines set is_active = false where id = '{inactive}'")).await;
    test.pipeline_of(test.other_connector, "theirs").await;
}

#[tokio::test]
async fn each_facet_is_counted_under_the_filters_on_the_others() {
    let test = TestApi::new().await;
    seed(&test).await;
    let (team, connector) = (test.team, test.connector);
    let facets = test.read("/pipelines/facets").await;
    assert_eq!(counts(&facets, "status"), "failed 2 never_run 1 success 1");
    assert_eq!(counts(&facets, "health"), "ok 3 unknown 1");
    assert_eq!(counts(&facets, "owner"), "bob 3 ann 1 none 1");
    assert_eq!(counts(&facets, "tag"), "daily 2 none 2 finance 1");
    assert_eq!(counts(&facets, "criticality"), "high 2 none 2");
    assert_eq!(counts(&facets, "team"), format!("{team} 2 none 2"));
    assert_eq!(counts(&facets, "connector"), format!("{connector} 4"));
    assert_eq!(facets["team"][0]["name"], "Finance data");
    assert_eq!(facets["team"][1], json!({"value": "none", "name": null, "count": 2}));
    assert_eq!(facets["connector"][0]["name"], "prod airflow");

    // The filter on the status does not apply to its own facet, the one on the owner does.
    let facets = test.read("/pipelines/facets?status=failed&owner=ann").await;
    assert_eq!(counts(&facets, "status"), "failed 1");
    assert_eq!(counts(&facets, "owner"), "bob 2 ann 1");
    assert_eq!(counts(&facets, "tag"), "daily 1");

    for (query, facet, expected) in [
        ("criticality=none", "criticality", "high 2 none 2"),
        ("criticality=none", "status", "never_run 1 success 1"),
        ("team_id=none&status=success", "team", "none 1"),
        ("tag=finance", "tag", "daily 2 none 2 finance 1"),
        ("tag=finance", "owner", "bob 1"),
        ("q=ann", "status", "failed 1"),
        ("is_active=false", "status", "never_run 1"),
        ("watched_only=true", "status", ""),
        ("owner=none", "status", "never_run 1"),
        ("connector_id=00000000-0000-0000-0000-000000000000", "status", ""),
    ] {
        let facets = test.read(&format!("/pipelines/facets?{query}")).await;
        assert_eq!(counts(&facets, facet), expected, "{query}: {facet}");
    }
}

#[tokio::test]
async fn a_facet_has_at_most_a_hundred_values() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    test.sql(&format!(
        "update pipelines set tags = array(
             select 'tag ' || lpad(n::text, 3, '0') from generate_series(1, 130) n)
         where id = '{pipeline}'"
    ))
    .await;
    let facets = test.read("/pipelines/facets").await;
    let tags = facets["tag"].as_array().unwrap();
    assert_eq!(
        (tags.len(), &tags[0]["value"], &tags[99]["value"]),
        (100, &json!("tag 001"), &json!("tag 100"))
    );
    let bad = test.request(Method::GET, VIEWER, "/pipelines/facets?status=good&days=0", Value::Null).await;
    assert_eq!(bad.invalid_fields(), ["query.days", "query.status"]);
}
