//! Takes out of a schema what a TOML file can't hold: it has no null, and widths of integers are
//! no business of an editor.

use serde_json::{Map, Value};

/// Simplifies a schema and all schemas within it.
pub(super) fn simplify(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            simplify_fields(fields);
            fields.values_mut().for_each(simplify);
        }
        Value::Array(items) => items.iter_mut().for_each(simplify),
        _ => {}
    }
}

fn simplify_fields(fields: &mut Map<String, Value>) {
    let is_null = |value: &Value| *value == "null" || value["type"] == "null";
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|name| !is_null(name));
        if let [only] = &types[..] {
            let only = only.clone();
            fields.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = fields.get_mut("anyOf") {
        choices.retain(|choice| !is_null(choice));
        if let [Value::Object(only)] = &choices[..] {
            let only = only.clone();
            fields.remove("anyOf");
            fields.extend(only);
        }
    }
    // The name of a Rust type, such as uint32.
    if fields.get("format").is_some_and(Value::is_string) {
        fields.remove("format");
    }
    // `facts` has the defaults: these are written as the program holds them.
    if fields.contains_key("type") || fields.contains_key("$ref") || fields.contains_key("anyOf") {
        fields.remove("default");
    }
    if let Some(Value::String(text)) = fields.get_mut("description") {
        *text = plain_text(text);
    }
}

/// A doc comment without its line ends and its links.
fn plain_text(doc: &str) -> String {
    let words: Vec<&str> = doc.split_whitespace().collect();
    words.join(" ").replace("[`", "`").replace("`]", "`")
}
