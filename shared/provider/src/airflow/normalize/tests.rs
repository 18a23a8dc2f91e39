//! All states and types of Airflow are mapped, and no value makes the mapping fail.

use proptest::prelude::*;

use super::*;
use contract::ids::ConnectorId;

fn source() -> Source {
    Source { space: "demo".to_owned(), connector_id: ConnectorId(uuid::Uuid::nil()) }
}

fn observation() -> Observation {
    Observation { version: 7, at: DateTime::UNIX_EPOCH }
}

fn dag() -> Dag {
    Dag {
        dag_id: "daily_sales".to_owned(),
        display_name: None,
        description: None,
        owners: Vec::new(),
        tags: Vec::new(),
        schedule: None,
        is_paused: false,
        is_stale: false,
        next_run_at: Some(DateTime::UNIX_EPOCH),
        url: String::new(),
        raw: json!({}),
    }
}

fn dag_run() -> DagRun {
    DagRun {
        dag_id: "daily_sales".to_owned(),
        run_id: "r1".to_owned(),
        state: None,
        run_type: None,
        logical_date: None,
        data_interval_start: None,
        data_interval_end: None,
        run_after: None,
        queued_at: None,
        start_date: None,
        end_date: None,
        conf: Conf::Read(RunConf::default()),
        note: None,
        url: String::new(),
    }
}

fn task_instance() -> TaskInstance {
    TaskInstance {
        dag_id: "daily_sales".to_owned(),
        run_id: "r1".to_owned(),
        task_id: "load".to_owned(),
        map_index: -1,
        run_date: None,
        display_name: None,
        operator: None,
        state: None,
        try_number: 0,
        max_tries: 0,
        queued_when: None,
        start_date: None,
        end_date: None,
        duration: None,
        pool: None,
        queue: None,
        hostname: None,
    }
}

#[test]
fn every_state_and_type_of_airflow_is_mapped() {
    let tasks = [
        ("scheduled", TaskState::Scheduled),
        ("queued", TaskState::Queued),
        ("running", TaskState::Running),
        ("success", TaskState::Success),
        ("failed", TaskState::Failed),
        ("skipped", TaskState::Skipped),
        ("upstream_failed", TaskState::UpstreamFailed),
        ("deferred", TaskState::Deferred),
        ("removed", TaskState::Removed),
        ("up_for_retry", TaskState::Retrying),
        ("restarting", TaskState::Retrying),
        ("up_for_reschedule", TaskState::Scheduled),
        ("awaiting_input", TaskState::Deferred),
        ("invented_tomorrow", TaskState::Unknown),
    ];
    for (state, expected) in tasks {
        let task =
            task_run(&source(), observation(), TaskInstance { state: Some(state.into()), ..task_instance() });
        assert_eq!((task.status, task.provider_status.as_deref()), (expected, Some(state)));
    }
    let runs = [
        ("scheduled", RunType::Scheduled),
        ("manual", RunType::Manual),
        ("backfill", RunType::Backfill),
        ("dataset_triggered", RunType::AssetTriggered),
        ("asset_triggered", RunType::AssetTriggered),
        ("operator_triggered", RunType::Manual),
        ("asset_materialization", RunType::Manual),
        ("invented_tomorrow", RunType::Unknown),
    ];
    for (run_type, expected) in runs {
        assert_eq!(
            run(&source(), observation(), DagRun { run_type: Some(run_type.into()), ..dag_run() }).run_type,
            expected
        );
    }
}

#[test]
fn a_task_without_state_is_pending() {
    let task = task_run(&source(), observation(), task_instance());
    assert_eq!((task.status, task.provider_status), (TaskState::Pending, None));
}

#[test]
fn empty_texts_become_none() {
    let empty = || Some(String::new());
    let given = TaskInstance { hostname: empty(), queue: empty(), display_name: empty(), ..task_instance() };
    let task = task_run(&source(), observation(), given);
    assert_eq!((task.hostname, task.queue, task.name.as_str()), (None, None, "load"));
    assert_eq!(run(&source(), observation(), DagRun { note: empty(), ..dag_run() }).note, None);
}

#[test]
fn owners_are_split_at_commas_deduplicated_and_sorted() {
    let owners = ["web, data", " data ,", "airflow"].map(str::to_owned).to_vec();
    let pipeline = pipeline(&source(), observation(), Dag { owners, ..dag() });
    assert_eq!(pipeline.owners, ["airflow", "data", "web"]);
    assert_eq!(pipeline.owner.as_deref(), Some("airflow"));
}

#[test]
fn a_new_parse_does_not_change_the_metadata() {
    let dag = |parsed: &str, tags: [&str; 2]| {
        let tags = tags.map(|name| json!({"name": name}));
        json!({
            "dag_id": "daily_sales", "last_parsed_time": parsed, "next_dagrun_run_after": parsed,
            "tags": tags,
        })
    };
    let first = metadata(dag("2026-01-01T00:00:00Z", ["a", "b"]));
    assert_eq!(first, metadata(dag("2026-01-01T00:00:30Z", ["b", "a"])));
    assert_eq!(first, json!({"dag_id": "daily_sales", "tags": [{"name": "a"}, {"name": "b"}]}));
}

#[test]
fn a_commit_of_the_bundle_is_no_change_of_the_definition() {
    let of_commit = |commit: &str, description: &str| {
        let raw = json!({"dag_id": "daily_sales", "bundle_version": commit});
        let description = Some(description.to_owned());
        pipeline(&source(), observation(), Dag { raw, description, ..dag() })
    };
    let before = of_commit("3f2a", "Loads sales");
    assert_eq!(before.provider_metadata["bundle_version"], "3f2a");
    assert!(is_same_definition(&before, &of_commit("77c1", "Loads sales")));
    assert!(!is_same_definition(&before, &of_commit("77c1", "Loads all sales")));
}

#[test]
fn a_paused_pipeline_has_no_next_run() {
    let paused = Dag { is_paused: true, ..dag() };
    assert_eq!(pipeline(&source(), observation(), paused).next_run_at, None);
    assert_eq!(pipeline(&source(), observation(), dag()).next_run_at, Some(DateTime::UNIX_EPOCH));
}

#[test]
fn a_graph_has_upstream_and_downstream_tasks() {
    let task = |task_id: &str, downstream: &[&str]| Task {
        task_id: task_id.to_owned(),
        operator: None,
        downstream: downstream.iter().map(|&name| name.to_owned()).collect(),
    };
    let nodes = tasks(vec![task("c", &[]), task("a", &["c", "b"]), task("b", &["c", "gone"])]);
    let edges: Vec<_> = nodes
        .iter()
        .map(|node| format!("{} > {} > {}", node.upstream.join(","), node.task_id, node.downstream.join(",")))
        .collect();
    assert_eq!(edges, [" > a > b,c", "a > b > c,gone", "a,b > c > "]);
}

fn moment() -> impl Strategy<Value = Option<DateTime<Utc>>> {
    let range = DateTime::<Utc>::MIN_UTC.timestamp()..DateTime::<Utc>::MAX_UTC.timestamp();
    proptest::option::of(range.prop_map(|second| DateTime::from_timestamp(second, 0).unwrap()))
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(any::<String>(), inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_dag_run_becomes_a_run(
        state in any::<Option<String>>(),
        start in moment(),
        end in moment(),
        conf in json_value(),
    ) {
        let dag_run = DagRun {
            run_type: state.clone(),
            state: state.clone(),
            start_date: start,
            end_date: end,
            conf: Conf::Read(conf.into()),
            ..dag_run()
        };
        let run = run(&source(), observation(), dag_run);
        prop_assert_eq!(run.provider_status, state);
        let is_object = run.conf.get().starts_with('{');
        prop_assert!(is_object);
        prop_assert!(run.duration_seconds.is_none_or(|seconds| seconds >= 0.0));
    }

    #[test]
    fn any_task_instance_becomes_a_task_run(
        state in any::<Option<String>>(),
        start in moment(),
        end in moment(),
        map_index in any::<i32>(),
        duration in any::<Option<f64>>(),
        host in any::<String>(),
    ) {
        let instance = TaskInstance {
            state: state.clone(), start_date: start, end_date: end, map_index, duration, hostname: Some(host),
            ..task_instance()
        };
        let task = task_run(&source(), observation(), instance);
        prop_assert_eq!(task.provider_status, state);
        prop_assert!(task.duration_seconds.is_none_or(|seconds| seconds >= 0.0));
        prop_assert!(!task.hostname.is_some_and(|host| host.is_empty() || host.contains('\0')));
    }

    #[test]
    fn any_dag_becomes_a_pipeline(
        owners in proptest::collection::vec(any::<String>(), 0..5),
        raw in json_value(),
    ) {
        let pipeline = pipeline(&source(), observation(), Dag { owners, raw, ..dag() });
        prop_assert!(pipeline.provider_metadata.is_object());
        prop_assert!(pipeline.owners.is_sorted());
    }
}
