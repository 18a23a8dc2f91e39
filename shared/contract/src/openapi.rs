//! OpenAPI schemas of the contract's types (feature `openapi`). They are written by hand because a derived
//! schema would repeat the Rust documentation as its description.

use std::borrow::Cow;

use strum::VariantArray;
use utoipa::openapi::{ArrayBuilder, KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::events::{SyncReport, UnreadableEntry, UserRef};
use crate::state::{
    Criticality, EntityKind, Health, IncidentKind, IncidentStatus, Role, RunState, RunType, SyncStatus,
    SyncTrigger, TaskState, TeamRole,
};

/// The schema of a string that is one of these values.
pub fn string_enum<T: ToString>(values: &[T]) -> RefOr<Schema> {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    string().enum_values(Some(values)).build().into()
}

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

macro_rules! string_enums {
    ($($type:ident as $name:literal,)*) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                string_enum($type::VARIANTS)
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    )*};
}

string_enums! {
    RunState as "RunStatus",
    TaskState as "TaskStatus",
    RunType as "RunKind",
    Criticality as "CriticalityWord",
    Role as "RoleWord",
    TeamRole as "TeamRoleWord",
    SyncStatus as "SyncStatusWord",
    SyncTrigger as "SyncTriggerWord",
    IncidentKind as "IncidentKindWord",
    IncidentStatus as "IncidentStatusWord",
    Health as "HealthWord",
}

impl PartialSchema for UserRef {
    fn schema() -> RefOr<Schema> {
        let id = string().format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)));
        ObjectBuilder::new().property("id", id).property("name", string()).build().into()
    }
}

impl ToSchema for UserRef {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Person")
    }
}

impl PartialSchema for SyncReport {
    fn schema() -> RefOr<Schema> {
        let count = || ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
        let fields = serde_json::to_value(Self::default()).unwrap_or_default();
        let fields = fields.as_object().into_iter().flatten().map(|(field, _)| field.clone());
        let report = fields.fold(ObjectBuilder::new(), |report, field| match field.as_str() {
            "unreadable" => report.property(field, ArrayBuilder::new().items(UnreadableEntry::schema())),
            _ => report.property(field, count()),
        });
        report.build().into()
    }
}

impl PartialSchema for UnreadableEntry {
    fn schema() -> RefOr<Schema> {
        let row = ObjectBuilder::new().property("what", string_enum(&EntityKind::KNOWN));
        row.property("id", string()).property("reason", string()).build().into()
    }
}

impl ToSchema for SyncReport {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Report")
    }
}
