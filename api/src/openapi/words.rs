//! The schemas of what is not described where it stands: the vocabularies, and types of other crates.

use std::fmt::Display;

use contract::events::SyncReport;
use contract::state::{Criticality, Role, RunState, RunType, SyncStatus, SyncTrigger, TaskState};
use platform::audit::Action;
use strum::VariantArray;
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::routes::{ACTIVITIES, PIPELINE_STATES};
use crate::store::pipelines::PipelineSort;
use crate::store::runs::RunSort;
use crate::stream::{Kind, STATUSES};

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn one_of<T: Display>(words: &[T]) -> RefOr<Schema> {
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    text().enum_values(Some(words)).build().into()
}

/// Every key, and every key behind a `-`.
fn order<T: Display>(keys: &[T]) -> RefOr<Schema> {
    let both: Vec<String> = keys.iter().flat_map(|key| [key.to_string(), format!("-{key}")]).collect();
    one_of(&both)
}

/// A run's status.
pub struct RunStatus;

impl PartialSchema for RunStatus {
    fn schema() -> RefOr<Schema> {
        one_of(RunState::VARIANTS)
    }
}

impl ToSchema for RunStatus {}

/// A pipeline's status: its latest run's, or that there is none.
pub struct PipelineStatus;

impl PartialSchema for PipelineStatus {
    fn schema() -> RefOr<Schema> {
        one_of(&PIPELINE_STATES)
    }
}

impl ToSchema for PipelineStatus {}

/// A task run's status.
pub struct TaskStatus;

impl PartialSchema for TaskStatus {
    fn schema() -> RefOr<Schema> {
        one_of(TaskState::VARIANTS)
    }
}

impl ToSchema for TaskStatus {}

/// What made a run.
pub struct RunKind;

impl PartialSchema for RunKind {
    fn schema() -> RefOr<Schema> {
        one_of(RunType::VARIANTS)
    }
}

impl ToSchema for RunKind {}

/// How much a pipeline matters.
pub struct CriticalityWord;

impl PartialSchema for CriticalityWord {
    fn schema() -> RefOr<Schema> {
        one_of(Criticality::VARIANTS)
    }
}

impl ToSchema for CriticalityWord {}

/// How a sync stands.
pub struct SyncStatusWord;

impl PartialSchema for SyncStatusWord {
    fn schema() -> RefOr<Schema> {
        one_of(SyncStatus::VARIANTS)
    }
}

impl ToSchema for SyncStatusWord {}

/// What asked for a sync.
pub struct SyncTriggerWord;

impl PartialSchema for SyncTriggerWord {
    fn schema() -> RefOr<Schema> {
        one_of(SyncTrigger::VARIANTS)
    }
}

impl ToSchema for SyncTriggerWord {}

/// What a change is of.
pub struct EventKind;

impl PartialSchema for EventKind {
    fn schema() -> RefOr<Schema> {
        one_of(Kind::VARIANTS)
    }
}

impl ToSchema for EventKind {}

/// How a run, a task run or a sync stands.
pub struct EventStatus;

impl PartialSchema for EventStatus {
    fn schema() -> RefOr<Schema> {
        one_of(&STATUSES)
    }
}

impl ToSchema for EventStatus {}

/// What was done.
pub struct ActionWord;

impl PartialSchema for ActionWord {
    fn schema() -> RefOr<Schema> {
        one_of(Action::VARIANTS)
    }
}

impl ToSchema for ActionWord {}

/// The way an act was asked.
pub struct ViaWord;

impl PartialSchema for ViaWord {
    fn schema() -> RefOr<Schema> {
        one_of(&["api", "cli", "kafka"])
    }
}

impl ToSchema for ViaWord {}

/// A member's role.
pub struct RoleWord;

impl PartialSchema for RoleWord {
    fn schema() -> RefOr<Schema> {
        one_of(Role::VARIANTS)
    }
}

impl ToSchema for RoleWord {}

/// A person, by id and name.
pub struct Person;

impl PartialSchema for Person {
    fn schema() -> RefOr<Schema> {
        let id = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)));
        ObjectBuilder::new().property("id", id).property("name", text()).build().into()
    }
}

impl ToSchema for Person {}

/// What a sync did, in numbers.
pub struct Report;

impl PartialSchema for Report {
    fn schema() -> RefOr<Schema> {
        let count = || ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
        let fields = serde_json::to_value(SyncReport::default()).unwrap_or_default();
        let fields = fields.as_object().into_iter().flatten().map(|(field, _)| field.clone());
        fields.fold(ObjectBuilder::new(), |report, field| report.property(field, count())).build().into()
    }
}

impl ToSchema for Report {}

/// By what pipelines are sorted.
pub struct PipelineOrder;

impl PartialSchema for PipelineOrder {
    fn schema() -> RefOr<Schema> {
        order(&PipelineSort::ALL)
    }
}

impl ToSchema for PipelineOrder {}

/// By what runs are sorted.
pub struct RunOrder;

impl PartialSchema for RunOrder {
    fn schema() -> RefOr<Schema> {
        order(&RunSort::ALL)
    }
}

impl ToSchema for RunOrder {}

/// Whether a pipeline is active.
pub struct Activity;

impl PartialSchema for Activity {
    fn schema() -> RefOr<Schema> {
        one_of(&ACTIVITIES)
    }
}

impl ToSchema for Activity {}

/// RFC 3339, or a date for its midnight in UTC.
pub struct Moment;

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        let format = |format| text().format(Some(SchemaFormat::KnownFormat(format)));
        let either = AnyOfBuilder::new().item(format(KnownFormat::DateTime)).item(format(KnownFormat::Date));
        RefOr::T(Schema::AnyOf(either.examples(["2026-01-01T05:00:00Z", "2026-01-01"]).build()))
    }
}

impl ToSchema for Moment {}

/// An object of any JSON that can be stored; spelled out in `inputs`.
pub struct JsonObject;

impl PartialSchema for JsonObject {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().build().into()
    }
}

impl ToSchema for JsonObject {}
