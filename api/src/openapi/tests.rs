use super::*;

fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (format!("{method} {path}"), operation))
    });
    all.filter(|(_, operation)| operation["responses"].is_object())
        .collect()
}

#[test]
fn the_committed_document_is_what_the_code_says() {
    let made = serde_json::to_string_pretty(&document()).unwrap();
    let committed = include_str!("../../openapi.json").trim_end();
    assert!(
        made == committed,
        "api/openapi.json is out of date: make openapi writes it anew"
    );
    assert!(document()["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[test]
fn every_operation_says_who_may_call_it_what_fails_and_is_named_once() {
    let document = document();
    let mut ids = BTreeSet::new();
    let operations = operations(&document);
    assert!(operations.len() >= 25, "{}", operations.len());
    for (name, operation) in operations {
        let id = operation["operationId"].as_str().unwrap();
        assert!(id.split('_').count() >= 2, "{name}: {id} is not verb_noun");
        assert!(ids.insert(id.to_owned()), "{name}: {id} is used twice");
        assert!(
            operation["x-permission"].is_string(),
            "{name} does not say who may call it"
        );
        assert!(operation["summary"].is_string(), "{name} has no summary");
        assert!(operation["tags"][0].is_string(), "{name} has no tag");
        for code in operation["x-problem-codes"].as_array().unwrap() {
            let is_known = Code::ALL.iter().any(|known| known.as_str() == code);
            assert!(is_known, "{name}: {code}");
        }
        let internal = &operation["responses"]["500"]["content"][PROBLEM_JSON]["schema"]["$ref"];
        assert_eq!(internal, "#/components/schemas/Problem", "{name}");
        let is_secured = operation["security"].is_array();
        assert_eq!(is_secured, operation["x-permission"] != PUBLIC, "{name}");
    }
}

/// OpenAPI knows no null but in an example: what is not there is left out.
#[test]
fn nothing_in_an_operation_is_null() {
    let document = document();
    for (name, operation) in operations(&document) {
        for (key, value) in operation.as_object().unwrap() {
            assert!(!value.is_null(), "{name}: {key}");
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(
                parameter["schema"].get("type") != Some(&Value::Null),
                "{name}: {parameter}"
            );
        }
    }
}

#[test]
fn every_answer_is_described_and_every_content_has_an_example() {
    let document = document();
    for (name, operation) in operations(&document) {
        let answers = operation["responses"].as_object().unwrap();
        for (status, answer) in answers {
            let description = answer["description"].as_str().unwrap_or_default();
            assert!(!description.is_empty(), "{name}: {status} has no description");
        }
        let parts = answers.values().chain(operation.get("requestBody"));
        let contents = parts.filter_map(|part| part["content"].as_object()).flatten();
        for (media_type, content) in contents.filter(|(media_type, _)| *media_type != PROBLEM_JSON) {
            let example = &content["example"];
            let streams = [
                "text/event-stream",
                "application/x-tar",
                "application/x-ndjson",
                "text/csv",
            ];
            let is_stream = streams.contains(&media_type.as_str());
            assert!(
                example.is_object() || example.is_array() || (is_stream && example.is_string()),
                "{name}: {media_type} has no example"
            );
            assert!(
                !example.to_string().contains("\"text\""),
                "{name}: {example} says nothing"
            );
        }
    }
}
