//! Checks every answer that a test gets against openapi.yaml: its status, headers, type and members
//! must be listed there. (tests/conformance checks patterns and formats, with generated requests.)

use std::sync::OnceLock;

use serde_json::Value;
use serde_json::value::RawValue;

use super::Reply;

/// Headers of HTTP itself, which any answer may have.
const OF_HTTP: [&str; 4] = ["connection", "content-length", "content-type", "date"];

fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        serde_saphyr::from_str(include_str!("../../../openapi.yaml")).expect("YAML")
    })
}

fn resolved(value: &Value) -> &Value {
    match value["$ref"].as_str() {
        Some(reference) => {
            let pointer = reference.strip_prefix('#').expect("a local reference");
            let found = document().pointer(pointer);
            resolved(found.unwrap_or_else(|| panic!("{reference} leads nowhere")))
        }
        None => value,
    }
}

/// The path's entry in the document.
fn route(path: &str) -> Option<&'static Value> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let given: Vec<_> = path.split('/').collect();
    let paths = document()["paths"].as_object().expect("paths");
    paths.iter().find_map(|(template, route)| {
        let known: Vec<_> = template.split('/').collect();
        let fits = known.len() == given.len()
            && known.iter().zip(&given).all(|(known, given)| {
                known == given || (known.starts_with('{') && !given.is_empty())
            });
        fits.then_some(route)
    })
}

/// The response that the document lists for a method, a path and a status.
fn listed(method: &str, path: &str, status: u16) -> Option<&'static Value> {
    let Some(route) = route(path) else {
        // An unknown path.
        assert!(
            matches!(status, 400 | 404 | 431),
            "{path} isn't there, and answered {status}"
        );
        return None;
    };
    let method = if method == "HEAD" { "GET" } else { method };
    let operation = match &route[method.to_ascii_lowercase()] {
        // An unknown method has an answer that the path's other methods list.
        Value::Null => ["get", "post"]
            .iter()
            .map(|method| &route[method])
            .find(|operation| operation.is_object() && matches!(status, 400 | 405 | 431))
            .unwrap_or(&Value::Null),
        operation => operation,
    };
    let response = &operation["responses"][status.to_string()];
    assert!(
        response.is_object(),
        "{method} {path} answered {status}, which openapi.yaml doesn't list"
    );
    Some(resolved(response))
}

/// Panics if the document doesn't list this answer.
pub fn check(method: &str, path: &str, reply: &Reply) {
    let what = format!("{method} {path}: {}", reply.status);
    assert!(
        reply.header("x-request-id").is_some(),
        "{what}: no X-Request-ID"
    );
    let Some(response) = listed(method, path, reply.status) else {
        return;
    };
    let headers = response["headers"]
        .as_object()
        .expect("every answer lists headers");
    for (name, header) in headers {
        let header = resolved(header);
        let Some(value) = reply.header(name) else {
            assert_ne!(header["required"], true, "{what}: {name} is missing");
            continue;
        };
        if header["schema"]["type"] == "integer" {
            let number: i64 = value
                .parse()
                .unwrap_or_else(|_| panic!("{what}: {name}: {value}"));
            let least = header["schema"]["minimum"].as_i64().unwrap_or(i64::MIN);
            assert!(number >= least, "{what}: {name}: {number}");
        }
    }
    for (name, _) in &reply.headers {
        let is_listed = OF_HTTP.contains(&name.as_str())
            || headers.keys().any(|known| known.eq_ignore_ascii_case(name));
        assert!(is_listed, "{what}: {name} isn't listed");
    }
    let content = response["content"]
        .as_object()
        .expect("every answer has content");
    let content_type = reply.header("content-type").expect("a content type");
    let schema = &content
        .get(content_type)
        .unwrap_or_else(|| panic!("{what}: {content_type} isn't listed"))["schema"];
    if method != "HEAD" && content_type == "application/json" {
        match serde_json::from_slice(&reply.body) {
            Ok(value) => check_value(&what, schema, &value),
            // A payload is kept byte for byte, and may be too deep for this parser or have too
            // large a number. It must still be JSON.
            Err(_) => drop(serde_json::from_slice::<&RawValue>(&reply.body).expect("JSON")),
        }
    }
}

fn check_value(what: &str, schema: &Value, value: &Value) {
    let schema = resolved(schema);
    for part in schema["allOf"].as_array().into_iter().flatten() {
        check_value(what, part, value);
    }
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some(other) => panic!("{what}: this test knows no {other}"),
        None => true,
    };
    assert!(fits, "{what}: {value} is no {}", schema["type"]);
    if let Some(known) = schema["enum"].as_array() {
        assert!(
            known.contains(value),
            "{what}: {value} is none of {known:?}"
        );
    }
    if let (Some(least), Some(number)) = (schema["minimum"].as_i64(), value.as_i64()) {
        assert!(number >= least, "{what}: {number}");
    }
    if let (Some(schema), Some(items)) = (schema.get("items"), value.as_array()) {
        for (at, item) in items.iter().enumerate() {
            check_value(&format!("{what} [{at}]"), schema, item);
        }
    }
    let (Some(properties), Some(members)) = (schema["properties"].as_object(), value.as_object())
    else {
        return;
    };
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().expect("a name");
        assert!(
            members.contains_key(name),
            "{what}: {name} is missing in {value}"
        );
    }
    for (name, member) in members {
        let schema = properties
            .get(name)
            .unwrap_or_else(|| panic!("{what}: {name} isn't listed"));
        check_value(&format!("{what} .{name}"), schema, member);
    }
}
