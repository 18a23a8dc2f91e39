//! Assertions on JSON that the API returns.

use serde_json::Value;

/// One text field of each item of a list.
pub(crate) fn field_of_each<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|item| item[field].as_str().unwrap()).collect()
}

/// Asserts that a value has the fields of the example, with values of the same types; null in the example is
/// any type.
pub(crate) fn assert_same_shape(found: &Value, example: &Value, path: &str) {
    match (found, example) {
        (Value::Object(found), Value::Object(example)) => {
            for (name, value) in example {
                let field = found.get(name).unwrap_or_else(|| panic!("{path}.{name} is missing"));
                assert_same_shape(field, value, &format!("{path}.{name}"));
            }
        }
        (Value::Array(found), Value::Array(example)) => {
            assert!(!found.is_empty() || example.is_empty(), "{path} is empty and was not compared");
            for (found, example) in found.iter().zip(example) {
                assert_same_shape(found, example, &format!("{path}[]"));
            }
        }
        (_, Value::Null) => {}
        (found, example) => assert_eq!(
            std::mem::discriminant(found),
            std::mem::discriminant(example),
            "{path} is {found} and not like {example}"
        ),
    }
}
