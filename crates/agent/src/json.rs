//! JSON objects with their parts in a given order.
//!
//! What the agent tells machines stays the same from one version to the next, and reads the same from
//! one run to the next.

use serde_json::Value;

/// Writes an object, its parts in this order.
pub(crate) fn object(parts: &[(&str, Value)]) -> String {
    let mut json = String::from("{");
    for (index, (name, value)) in parts.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        json.push_str(&Value::from(*name).to_string());
        json.push(':');
        json.push_str(&value.to_string());
    }
    json.push('}');
    json
}

/// Writes an array of what is JSON already.
pub(crate) fn array(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    format!("[{}]", items.join(","))
}

/// Writes an object of which the values are JSON already, its parts in this order.
pub(crate) fn object_of(parts: &[(&str, String)]) -> String {
    let parts: Vec<String> = parts
        .iter()
        .map(|(name, value)| format!("{}:{value}", Value::from(*name)))
        .collect();
    format!("{{{}}}", parts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_their_order_and_texts_are_escaped() {
        let parts = [("b", Value::from(1)), ("a\"", Value::from("\n"))];
        assert_eq!(object(&parts), r#"{"b":1,"a\"":"\n"}"#);
        assert_eq!(object(&[]), "{}");
        let items = ["1".to_owned(), object(&[])];
        assert_eq!(array(items), "[1,{}]");
        assert_eq!(object_of(&[("x", "[1]".to_owned())]), r#"{"x":[1]}"#);
    }
}
