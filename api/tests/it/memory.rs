//! The memory of an API process under large requests and over large rows.

use std::time::Duration;

use contract::ids::PipelineId;
use futures::future::join_all;
use serde_json::json;
use testkit::{
    ApiProcess, FakeAirflow, ProgramSettings, TriggerBehavior, eventually, kafka_config, sealing_keys,
};

use crate::app::{SPACE, TestApi};
use crate::read_permits::insert_mapped;
use crate::seed::{EDITOR, hours_ago};

const MAX_MEMORY_MIB: u64 = 200;
const TIMEOUT: Duration = Duration::from_secs(120);
const TRIGGERS: usize = 20;
const LISTS: usize = 50;

/// A `conf` of a mebibyte, with as many values as there may be: decoded, they would take far more memory.
fn large_conf() -> String {
    let items = vec![r#"{"":0}"#; 24_000];
    format!(r#"{{"conf":{{"a":[{}],"b":"{}"}}}}"#, items.join(","), "b".repeat((1 << 20) - 24_000 * 7 - 100))
}

/// Inserts a pipeline with runs whose `conf` has three mebibytes.
async fn insert_large_runs(test: &TestApi) -> PipelineId {
    let pipeline = test.pipeline("p").await;
    for n in 0..20 {
        test.run(pipeline, &format!("r{n}"), "success", hours_ago(n)).await;
    }
    test.sql("update runs set conf = jsonb_build_object('x', repeat('x', 3 << 20))").await;
    pipeline
}

/// Starts the program.
async fn start_api(test: &TestApi) -> ApiProcess {
    let settings = ProgramSettings {
        database_url: test.database.api_url.clone(),
        kafka: kafka_config("127.0.0.1:9", ""),
        sealing_keys: sealing_keys("a"),
    };
    ApiProcess::start(&settings, &["--request-timeout", "120"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn large_triggers_and_lists_of_large_runs_use_bounded_memory() {
    let test = TestApi::new().await;
    let fake = FakeAirflow::start(0).await;
    fake.set_behavior(TriggerBehavior::CreateAndHang);
    let config = json!({"base_url": fake.url, "max_requests_in_flight": 32});
    test.sql(&format!("update connectors set config = '{config}'")).await;
    let pipeline = insert_large_runs(&test).await;
    let api = start_api(&test).await;
    let client = reqwest::Client::builder().timeout(TIMEOUT).build().unwrap();
    let base = format!("{}/api/v1.0/spaces/{SPACE}/orchestration", api.url);
    let body = large_conf();
    let triggers: Vec<_> = (0..TRIGGERS)
        .map(|_| {
            let trigger = client.post(format!("{base}/pipelines/{pipeline}/trigger")).body(body.clone());
            tokio::spawn(trigger.bearer_auth(EDITOR).send())
        })
        .collect();
    let are_sent = async || fake.trigger_requests() == TRIGGERS;
    eventually("every trigger is sent", TIMEOUT, are_sent).await;
    eprintln!("peak after the triggers were sent: {} MiB", api.peak_memory());
    let lists = (0..LISTS).map(|_| client.get(format!("{base}/runs")).bearer_auth(EDITOR).send());
    let mut answered = 0;
    for response in join_all(lists).await {
        let response = response.unwrap();
        answered += usize::from(response.status() == 200);
        // A list that waits for too long gets a 503.
        if response.status() == 503 {
            continue;
        }
        let runs: serde_json::Value = response.json().await.unwrap();
        assert_eq!((&runs[0]["conf"], &runs[0]["conf_bytes"]), (&json!(null), &json!((3 << 20) + 8)));
    }
    let peak = api.peak_memory();
    triggers.iter().for_each(tokio::task::JoinHandle::abort);
    eprintln!("peak {peak} MiB, {answered} of {LISTS} lists");
    assert!(answered > 0);
    assert!(peak < MAX_MEMORY_MIB, "{peak} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_runs_with_the_largest_listed_confs_use_bounded_memory() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    test.sql(&format!(
        "insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version,
             fingerprint, log_offset, observed_at, status, run_type, run_after, conf, conf_bytes)
         select md5('run' || n)::uuid, space_id, connector_id, id, 'airflow', 'run ' || n, 1, '', 0, now(),
             'success', 'manual', now(), jsonb_build_object('x', repeat('x', 16000)), 16008
         from pipelines, generate_series(1, 500) n where id = '{pipeline}'"
    ))
    .await;
    let api = start_api(&test).await;
    let client = reqwest::Client::builder().timeout(TIMEOUT).build().unwrap();
    let page = format!("{}/api/v1.0/spaces/{SPACE}/orchestration/runs?size=500", api.url);
    let lists = (0..LISTS).map(|_| client.get(&page).bearer_auth(EDITOR).send());
    // All responses wait for their clients at once.
    let responses = join_all(lists).await;
    let peak = api.peak_memory();
    let mut answered = 0;
    for response in responses {
        let response = response.unwrap();
        if response.status() == 503 {
            continue;
        }
        answered += 1;
        let runs: Vec<serde_json::Value> = response.json().await.unwrap();
        assert!(runs.len() == 500 && runs.iter().all(|run| run["conf_bytes"] == 16008));
        let shown = runs.iter().filter(|run| run["conf"].is_object()).count();
        assert_eq!(shown, (1 << 20) / 16009, "of 16,009 bytes each, as PostgreSQL writes them");
        assert!(runs[0]["conf"].is_object());
    }
    eprintln!("peak {peak} MiB, {answered} of {LISTS} pages");
    assert!(answered > 0);
    assert!(peak < MAX_MEMORY_MIB, "{peak} MiB");
}

/// The number of bytes of a description and of a note, and of all owners or tags of a pipeline.
const LONG_TEXT: usize = 64 * 1024;
const NAMES: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_rows_with_the_longest_texts_use_bounded_memory() {
    let test = TestApi::new().await;
    let names = format!("array(select repeat(n::text, 1000) from generate_series(1, {NAMES}) n)");
    test.sql(&format!(
        "insert into pipelines (id, space_id, connector_id, provider, external_id, version, fingerprint,
             log_offset, observed_at, first_seen_at, name, description, owners, owner, tags, is_paused,
             is_active, provider_metadata, tasks)
         select md5('pipeline' || n)::uuid, space_id, id, 'airflow', n, 1, '', 0, now(), now(), n,
             repeat('d', {LONG_TEXT}), {names}, repeat('1', 1000), {names}, false, true, '{{}}', '[]'
         from connectors, generate_series(1, 500) n where id = '{}'",
        test.connector
    ))
    .await;
    test.sql(&format!(
        "insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version,
             fingerprint, log_offset, observed_at, status, run_type, run_after, conf, note)
         select id, space_id, connector_id, id, 'airflow', name, 1, '', 0, now(), 'success', 'manual', now(),
             '{{}}', repeat('n', {LONG_TEXT})
         from pipelines"
    ))
    .await;
    let api = start_api(&test).await;
    let client = reqwest::Client::builder().timeout(TIMEOUT).build().unwrap();
    let base = format!("{}/api/v1.0/spaces/{SPACE}/orchestration", api.url);
    for (list, text) in [("pipelines", "description"), ("runs", "note")] {
        let get = |path: &str| client.get(format!("{base}/{list}{path}")).bearer_auth(EDITOR).send();
        let responses = join_all((0..LISTS).map(|_| get("?size=500"))).await;
        let peak = api.peak_memory();
        let mut ids = Vec::new();
        for response in responses {
            let body: serde_json::Value = response.unwrap().json().await.unwrap();
            let Some(page) = body.as_array() else { continue };
            assert!(page.len() == 500 && page.iter().all(|row| row[text].is_null()));
            ids.push(page[0]["id"].as_str().unwrap().to_owned());
        }
        eprintln!("{list}: peak {peak} MiB, {} of {LISTS} pages", ids.len());
        assert!(peak < MAX_MEMORY_MIB, "{list}: {peak} MiB");
        let id = &ids[0];
        let whole: serde_json::Value = get(&format!("/{id}")).await.unwrap().json().await.unwrap();
        assert_eq!(whole[text].as_str().map(str::len), Some(LONG_TEXT));
    }
}

const READS: usize = 64;
const TASK_RUNS: usize = 30_000;

#[tokio::test(flavor = "multi_thread")]
async fn runs_with_very_many_task_runs_use_bounded_memory() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    let run = test.run(pipeline, "r", "success", hours_ago(1)).await;
    insert_mapped(&test, run, TASK_RUNS).await;
    let api = start_api(&test).await;
    let client = reqwest::Client::builder().timeout(TIMEOUT).build().unwrap();
    let url = format!("{}/api/v1.0/spaces/{SPACE}/orchestration/runs/{run}", api.url);
    let read = async || {
        let response = client.get(&url).bearer_auth(EDITOR).send().await.unwrap();
        let run: serde_json::Value = response.json().await.unwrap();
        run["tasks"].as_array().map(Vec::len)
    };
    let reads = join_all((0..READS).map(|_| read())).await;
    let answered: Vec<usize> = reads.into_iter().flatten().collect();
    let peak = api.peak_memory();
    eprintln!("peak {peak} MiB, {} of {READS} runs", answered.len());
    assert!(!answered.is_empty() && answered.iter().all(|tasks| *tasks == TASK_RUNS));
    assert!(peak < MAX_MEMORY_MIB, "{peak} MiB");
}
