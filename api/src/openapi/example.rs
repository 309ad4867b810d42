//! Examples for requests and answers, put together from those of their schemas.

use serde_json::{Map, Value, json};

/// Schemas may refer to each other; ours are not deeper than this.
const MAX_DEPTH: usize = 8;

/// Gives every JSON content of the operation an example.
pub(super) fn add(operation: &mut Value, schemas: &Value) {
    let (request, responses) = (operation["requestBody"].take(), operation["responses"].take());
    if request.is_object() {
        operation["requestBody"] = with_example(request, schemas);
    } else if let Some(fields) = operation.as_object_mut() {
        fields.remove("requestBody");
    }
    if let Value::Object(responses) = responses {
        let completed = responses
            .into_iter()
            .map(|(status, response)| (status, with_example(response, schemas)));
        operation["responses"] = completed.collect::<Map<_, _>>().into();
    }
}

/// The request or response with an example in each of its contents. Problems are shown once, in their own schema.
fn with_example(mut part: Value, schemas: &Value) -> Value {
    let contents = part.get_mut("content").and_then(Value::as_object_mut);
    for (_, content) in contents
        .into_iter()
        .flatten()
        .filter(|(media_type, _)| !media_type.contains("problem"))
    {
        if content.get("example").is_none() {
            content["example"] = of(&content["schema"], schemas, MAX_DEPTH);
        }
    }
    part
}

fn of(schema: &Value, schemas: &Value, depth: usize) -> Value {
    if depth == 0 {
        return Value::Null;
    }
    if let Some(example) = schema.get("example") {
        return example.clone();
    }
    let inner = |schema: &Value| of(schema, schemas, depth - 1);
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|reference| reference.rsplit('/').next())
    {
        return inner(&schemas[name]);
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let fields = parts
            .iter()
            .filter_map(|part| inner(part).as_object().cloned())
            .flatten();
        return fields.collect::<Map<_, _>>().into();
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let first = choices.iter().find(|choice| choice["type"] != "null");
        return first.map_or(Value::Null, inner);
    }
    match word(&schema["type"]) {
        "array" => json!([inner(&schema["items"])]),
        "object" => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            fields
                .map(|(name, field)| (name.clone(), inner(field)))
                .collect::<Map<_, _>>()
                .into()
        }
        "integer" => json!(1),
        "number" => json!(1.5),
        "boolean" => json!(true),
        "string" if schema["format"] == "date-time" => json!("2026-11-20T12:00:00Z"),
        "string" => json!("text"),
        _ => Value::Null,
    }
}

/// The type, also of a schema that takes null besides.
fn word(schema_type: &Value) -> &str {
    let first = schema_type.as_array().into_iter().flatten().find(|one| *one != "null");
    first.unwrap_or(schema_type).as_str().unwrap_or_default()
}
