//! OpenAPI schemas of values that have no Rust type of their own.

use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

/// A time in RFC 3339, or a date, which means its midnight in UTC.
pub struct TimeOrDate;

impl PartialSchema for TimeOrDate {
    fn schema() -> RefOr<Schema> {
        let format = |format| {
            ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(format)))
        };
        let either = AnyOfBuilder::new().item(format(KnownFormat::DateTime)).item(format(KnownFormat::Date));
        RefOr::T(Schema::AnyOf(either.examples(["2026-01-01T05:00:00Z", "2026-01-01"]).build()))
    }
}

impl ToSchema for TimeOrDate {}

/// An object with any JSON that PostgreSQL can store. The document's builder replaces this schema with the
/// exact one.
pub struct JsonObject;

impl PartialSchema for JsonObject {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().build().into()
    }
}

impl ToSchema for JsonObject {}

/// Returns the schema of a sort parameter: every key, and every key behind a `-` for descending order.
pub fn sort_keys<T: ToString>(keys: &[T]) -> RefOr<Schema> {
    let both: Vec<String> =
        keys.iter().flat_map(|key| [key.to_string(), format!("-{}", key.to_string())]).collect();
    contract::openapi::string_enum(&both)
}
