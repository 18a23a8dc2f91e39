//! The parameters of a DAG, which only the details of the DAG contain. The releases wrap a default in
//! different objects; all of them have `value`, `schema` and, if there is one, `description`.

use serde_json::{Value, json};

use super::client::Response;
use super::error_body;
use super::fields::RowFields;
use super::rows::body_fields;
use crate::{ProviderError, RunParameter};

/// The maximum number of parameters of a DAG; further ones are left out.
const MAX_PARAMETERS: usize = 200;

/// Decodes the parameters from the details of a DAG, in their order there.
pub(super) fn parameters(response: &Response, dag: &str) -> Result<Vec<RunParameter>, ProviderError> {
    let text = error_body::json(response)?;
    let body = body_fields(&text)?;
    if body.shown_id("dag_id").as_deref() != Some(dag) {
        return Err(ProviderError::malformed("not what was asked for"));
    }
    let Some(raw) = body.raw("params") else { return Ok(Vec::new()) };
    let mut fields = RowFields::of(raw).ok_or_else(|| ProviderError::malformed("params is no object"))?;
    let names = fields.field_names().into_iter().take(MAX_PARAMETERS);
    Ok(names.map(|name| parameter(&mut fields, name)).collect())
}

fn parameter(fields: &mut RowFields<'_>, name: String) -> RunParameter {
    let wrapped = fields.raw(&name).and_then(RowFields::of);
    let Some(mut wrapped) = wrapped.filter(|wrapped| wrapped.has("value") && wrapped.has("schema")) else {
        let value = fields.value(&name).unwrap_or_default();
        return RunParameter { name, value, description: None, schema: json!({}), is_redacted: false };
    };
    let schema = wrapped.value("schema").filter(Value::is_object).unwrap_or_else(|| json!({}));
    let described = wrapped.long_text("description");
    let description = described.or_else(|| schema["description"].as_str().map(str::to_owned));
    let value = wrapped.value("value").unwrap_or_default();
    RunParameter { name, value, description, schema, is_redacted: false }
}
