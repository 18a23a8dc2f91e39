//! The schemas of requests, exact enough to validate against: the service accepts whatever they accept. What
//! a schema cannot express, such as the allowed addresses, is in the descriptions.

use std::collections::BTreeSet;

use provider::connector::{AIRFLOW, ConnectorConfig, ConnectorConfigPatch, RESERVED_HEADERS};
use serde_json::{Map, Value, json};

use super::reference;
use crate::store::connectors::MAX_EXTRA_HEADERS;

/// Any text that PostgreSQL can store.
const TEXT: &str = r"^[^\u0000]*$";
/// Any text that PostgreSQL can store, and that is not only white space.
const NOT_BLANK: &str =
    r"^[^\u0000]*[^\u0000\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\u0000]*$";
/// Formats that need no pattern.
const FORMATS: [&str; 7] = ["uuid", "date-time", "date", "uri", "cron", "pem", "pem-key"];

/// Writes the schemas that cannot be derived.
pub(super) fn write(schemas: &mut Value) {
    let any = reference("schemas", "Json");
    let of_any =
        json!({"type": "object", "propertyNames": {"pattern": TEXT}, "additionalProperties": any.clone()});
    schemas["Json"] = json!({
        "description": "Any JSON without the character NUL",
        "anyOf": [{"type": ["null", "boolean", "number"]}, {"type": "string", "pattern": TEXT},
                  {"type": "array", "items": any}, of_any.clone()],
    });
    schemas["JsonObject"] = of_any;
    schemas["AirflowConfig"] =
        ConnectorConfigPatch::schema("How to reach and poll an Airflow.", &["base_url"]);
    schemas["AirflowConfigChange"] =
        ConnectorConfigPatch::schema("What of a configuration is to become different.", &[]);
    schemas["CredentialsInput"] = credentials();
    schemas["NewConnector"] = new_connector();
    schemas["ConnectorChange"] = connector_change();
}

/// Adds a pattern to every text in a schema that has no stricter constraint.
pub(super) fn limit_text(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if is_free_text(fields) {
                let blank = fields.get("minLength").is_none_or(|least| *least == 0);
                fields.insert("pattern".to_owned(), json!(if blank { TEXT } else { NOT_BLANK }));
            }
            fields.values_mut().for_each(limit_text);
        }
        Value::Array(items) => items.iter_mut().for_each(limit_text),
        _ => {}
    }
}

fn is_free_text(fields: &Map<String, Value>) -> bool {
    let is_text = match fields.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "string"),
        kind => kind.is_some_and(|kind| kind == "string"),
    };
    let format = fields.get("format").and_then(Value::as_str).unwrap_or_default();
    is_text
        && !FORMATS.contains(&format)
        && !["enum", "const", "pattern"].iter().any(|word| fields.contains_key(*word))
}

/// Returns the names of the schemas that request bodies use.
pub(super) fn request_schemas(paths: &Value, schemas: &Value) -> BTreeSet<String> {
    let operations = paths.as_object().into_iter().flatten().flat_map(|(_, methods)| methods.as_object());
    let bodies = operations.flatten().filter_map(|(_, operation)| operation.get("requestBody"));
    let mut names = BTreeSet::new();
    bodies.for_each(|body| collect(body, schemas, &mut names));
    names
}

fn collect(value: &Value, schemas: &Value, names: &mut BTreeSet<String>) {
    let Value::Object(fields) = value else {
        return value.as_array().into_iter().flatten().for_each(|item| collect(item, schemas, names));
    };
    let referred = fields.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
    if let Some(name) = referred
        && names.insert(name.to_owned())
    {
        collect(&schemas[name], schemas, names);
    }
    fields.values().for_each(|value| collect(value, schemas, names));
}

fn credentials() -> Value {
    let username = json!({"type": "string", "minLength": 1, "maxLength": 500});
    let basic = json!({"username": username, "password": secret(0)});
    json!({
        "description": "What the provider requires; written whole, and read back without its secrets. \
            `password`, or no `auth_type`, is read back as `basic`, and `api_token` as `token`. `oauth2` is \
            a client of an identity provider, and `service_account` an account of Google with its key file; \
            their tokens are renewed before they expire. A client certificate is presented to Airflow and to \
            the token endpoint if they ask for one; an `oauth2` client that has one needs no secret.",
        "oneOf": [
            variant(Some("none"), json!({})),
            variant(Some("basic"), basic.clone()),
            variant(Some("password"), basic.clone()),
            variant(None, basic),
            variant(Some("token"), json!({"token": secret(1)})),
            variant(Some("api_token"), json!({"api_token": secret(1)})),
            client(&json!({"client_secret": secret(1)})),
            client(&client_certificate()),
            service_account(),
        ],
    })
}

/// Credentials of which these properties are required. Headers and a client certificate may be added.
fn variant(word: Option<&str>, mut properties: Value) -> Value {
    if let Some(word) = word {
        properties["auth_type"] = json!({"const": word});
    }
    let required: Vec<_> = properties.as_object().into_iter().flat_map(Map::keys).cloned().collect();
    properties["headers"] = headers();
    add(&mut properties, &client_certificate());
    json!({
        "type": "object", "additionalProperties": false, "required": required, "properties": properties,
        "dependentRequired": {"client_certificate": ["client_key"], "client_key": ["client_certificate"]},
    })
}

/// A client of an identity provider, which authenticates with these properties.
fn client(authentication: &Value) -> Value {
    let mut required = json!({
        "token_url": {"type": "string", "format": "uri", "maxLength": 2000, "description": "The token \
            endpoint, at an address that this installation may reach"},
        "client_id": {"type": "string", "minLength": 1, "maxLength": 500},
    });
    add(&mut required, authentication);
    let mut client = variant(Some("oauth2"), required);
    add(&mut client["properties"], &targets());
    client
}

fn service_account() -> Value {
    let text = json!({"type": "string", "minLength": 1, "maxLength": 500});
    let key = json!({
        "description": "The key file as Google issues it. Its other fields are not kept.",
        "type": "object", "required": ["type", "client_email", "private_key", "token_uri"],
        "properties": {
            "type": {"const": "service_account"},
            "client_email": text,
            "private_key_id": {"type": ["string", "null"], "minLength": 1, "maxLength": 500},
            "private_key": private_key("The RSA key as PEM"),
            "token_uri": {"type": "string", "format": "uri", "maxLength": 2000},
        },
    });
    let mut account = variant(Some("service_account"), json!({"key": key}));
    add(&mut account["properties"], &targets());
    account["description"] = "With an `audience` for ID tokens, or with a `scope` for access tokens; with \
        neither for those of the scope that Cloud Composer requires."
        .into();
    let is_null = |name: &str| json!({"properties": {name: {"type": "null"}}});
    account["anyOf"] = json!([is_null("scope"), is_null("audience")]);
    account
}

/// What tokens are requested for.
fn targets() -> Value {
    let text = json!({"type": ["string", "null"], "minLength": 1, "maxLength": 2000});
    json!({"scope": text, "audience": text})
}

fn client_certificate() -> Value {
    json!({
        "client_certificate": {
            "type": "string", "format": "pem", "maxLength": ConnectorConfig::MAX_CA_CERTIFICATE,
            "description": "The certificate as PEM, with those of intermediate authorities after it; it is \
                read back",
        },
        "client_key": private_key("The private key of the certificate as PEM, without a passphrase"),
    })
}

fn private_key(description: &str) -> Value {
    json!({
        "type": "string", "format": "pem-key", "maxLength": 10_000, "writeOnly": true,
        "description": description,
    })
}

fn secret(min: usize) -> Value {
    json!({"type": "string", "format": "password", "minLength": min, "maxLength": 10_000})
}

/// Adds the fields of an object to another one.
fn add(to: &mut Value, fields: &Value) {
    for (name, field) in fields.as_object().into_iter().flatten() {
        to[name] = field.clone();
    }
}

fn headers() -> Value {
    let reserved: Vec<String> = RESERVED_HEADERS.iter().map(|name| in_any_case(name.as_str())).collect();
    json!({
        "description": "Headers that every request carries besides; of these only the names are read back",
        "type": ["object", "null"], "maxProperties": MAX_EXTRA_HEADERS,
        "propertyNames": {"pattern": format!("^(?!(?:{})$)[A-Za-z0-9!#$%&'*+.^_`|~-]+$", reserved.join("|"))},
        "additionalProperties": {"type": "string", "format": "password", "minLength": 1, "maxLength": 10_000,
            "pattern": "^[ -~]*[!-~][ -~]*$"},
    })
}

/// Returns a pattern for a word in any letter case.
fn in_any_case(word: &str) -> String {
    let pattern = |c: char| {
        if c.is_ascii_alphabetic() { format!("[{}{c}]", c.to_ascii_uppercase()) } else { c.to_string() }
    };
    word.chars().map(pattern).collect()
}

fn new_connector() -> Value {
    let of_type = |title: &str, connector_type: Value, config: Value, required: &[&str]| {
        json!({
            "title": title, "type": "object", "required": required,
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 200},
                "connector_type": connector_type,
                "is_active": {"type": ["boolean", "null"], "default": true},
                "config": config,
                "credentials": {"anyOf": [reference("schemas", "CredentialsInput"), {"type": "null"}]},
            },
        })
    };
    let other = json!({"type": "string", "minLength": 1, "maxLength": 100, "not": {"const": AIRFLOW}});
    let object = json!({"anyOf": [reference("schemas", "JsonObject"), {"type": "null"}]});
    json!({
        "description": "What a connector is made of.",
        "oneOf": [
            of_type("An Airflow", json!({"const": AIRFLOW}), reference("schemas", "AirflowConfig"),
                    &["name", "connector_type", "config"]),
            of_type("Anything else, which is only stored", other, object, &["name", "connector_type"]),
        ],
    })
}

fn connector_change() -> Value {
    json!({
        "description": "What of a connector is to become different; what is left out stays.",
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 200},
            "connector_type": {"type": "string", "description": "Only as it is already"},
            "is_active": {"type": "boolean"},
            "config": {
                "description": "Of an airflow connector, field by field; of another, any object, as a whole",
                "anyOf": [reference("schemas", "AirflowConfigChange"), reference("schemas", "JsonObject")],
            },
            "credentials": reference("schemas", "CredentialsInput"),
        },
    })
}
