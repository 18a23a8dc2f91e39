//! OpenAPI schemas of values that have no Rust type of their own.

use contract::state::Criticality;
use strum::VariantArray;
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{ArrayBuilder, KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

/// The value of a filter that finds rows without a value.
pub const NONE: &str = "none";
/// The maximum number of ids in a query.
pub const MAX_IDS: usize = 200;
/// The maximum number of characters of a search.
pub const MAX_SEARCH_LENGTH: usize = 200;
/// The maximum number of different words of a search.
pub const MAX_SEARCH_WORDS: usize = 8;

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

/// An id, or `none`.
pub struct IdOrNone;

impl PartialSchema for IdOrNone {
    fn schema() -> RefOr<Schema> {
        let none = contract::openapi::string_enum(&[NONE]);
        RefOr::T(Schema::AnyOf(AnyOfBuilder::new().item(uuid()).item(none).build()))
    }
}

impl ToSchema for IdOrNone {}

/// A criticality, or `none`.
pub struct CriticalityOrNone;

impl PartialSchema for CriticalityOrNone {
    fn schema() -> RefOr<Schema> {
        let words = Criticality::VARIANTS.iter().map(ToString::to_string);
        contract::openapi::string_enum(&words.chain([NONE.to_owned()]).collect::<Vec<_>>())
    }
}

impl ToSchema for CriticalityOrNone {}

/// Ids of rows.
pub struct IdList;

impl PartialSchema for IdList {
    fn schema() -> RefOr<Schema> {
        ArrayBuilder::new().items(uuid()).max_items(Some(MAX_IDS)).into()
    }
}

impl ToSchema for IdList {}

fn uuid() -> ObjectBuilder {
    let format = SchemaFormat::KnownFormat(KnownFormat::Uuid);
    ObjectBuilder::new().schema_type(Type::String).format(Some(format))
}

/// The text of a search.
pub struct SearchText;

impl PartialSchema for SearchText {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .max_length(Some(MAX_SEARCH_LENGTH))
            .pattern(Some(format!(r"^\s*(?:[^\s\u0000]+(?:\s+|$)){{0,{MAX_SEARCH_WORDS}}}$")))
            .into()
    }
}

impl ToSchema for SearchText {}

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
