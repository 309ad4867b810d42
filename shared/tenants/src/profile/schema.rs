//! What settings and custom fields have to look like: the part of JSON Schema (2020-12) that forms are made of.
//!
//! Understood: `type` (one name or several), `properties`, `required`, `additionalProperties` (true or false), `enum`,
//! `minimum`, `maximum`, `minLength`, `maxLength`, `items`, `minItems`, `maxItems`; `title`, `description`, `default` and
//! `$schema` are kept and mean nothing. A schema with any other keyword is refused: nobody shall rely on a rule that is
//! not kept. A complete validator would bring a dozen crates, a regular expression engine among them.

use std::collections::BTreeMap;

use bulkhead_kernel::fault::Violation;
use serde_json::Value;

use super::Document;

/// The most levels of a schema.
const MAX_DEPTH: usize = 16;

/// Keywords that carry no rule.
const NOTES: [&str; 4] = ["title", "description", "default", "$schema"];

/// The schemas of the platform as they were written.
#[derive(Debug, Clone, PartialEq)]
pub struct Schemas {
    /// Of the settings.
    pub settings: Document,
    /// Of the custom fields.
    pub custom_fields: Document,
}

impl Schemas {
    /// Refuses what is not a schema we keep.
    pub fn check(&self) -> Result<(), Vec<Violation>> {
        let mut violations = Vec::new();
        Schema::read(&self.settings, "/settings", &mut violations);
        Schema::read(&self.custom_fields, "/custom_fields", &mut violations);
        if violations.is_empty() { Ok(()) } else { Err(violations) }
    }
}

/// A schema, ready to check with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schema {
    types: Option<Vec<String>>,
    properties: BTreeMap<String, Schema>,
    required: Vec<String>,
    is_closed: bool,
    choices: Option<Vec<Value>>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    lengths: Range,
    items: Option<Box<Schema>>,
    n_items: Range,
}

/// Bounds of a length, both included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Range {
    least: Option<u64>,
    most: Option<u64>,
}

impl Range {
    fn refuses(self, length: usize) -> bool {
        let length = length as u64;
        self.least.is_some_and(|least| length < least) || self.most.is_some_and(|most| length > most)
    }
}

impl Schema {
    /// Reads a schema; `pointer` is where it stands.
    pub fn read(schema: &Document, pointer: &str, violations: &mut Vec<Violation>) -> Self {
        Self::read_level(schema, pointer, violations, 0)
    }

    fn read_level(schema: &Document, pointer: &str, violations: &mut Vec<Violation>, depth: usize) -> Self {
        let mut read = Self::default();
        if depth > MAX_DEPTH {
            violations.push(Violation::new(pointer, "is nested too deeply"));
            return read;
        }
        for (keyword, value) in schema {
            let at = format!("{pointer}/{}", escape(keyword));
            if let Err(expected) = read.read_keyword(keyword, value, &at, violations, depth) {
                violations.push(Violation::new(at, expected));
            }
        }
        read
    }

    fn read_keyword(
        &mut self,
        keyword: &str,
        value: &Value,
        at: &str,
        violations: &mut Vec<Violation>,
        depth: usize,
    ) -> Result<(), &'static str> {
        match keyword {
            "type" => self.types = Some(read_types(value)?),
            "properties" => {
                for (name, property) in value.as_object().ok_or("must be an object")? {
                    let at = format!("{at}/{}", escape(name));
                    let property = read_sub(property, &at, violations, depth);
                    self.properties.insert(name.clone(), property);
                }
            }
            "items" => self.items = Some(Box::new(read_sub(value, at, violations, depth))),
            "required" => self.required = strings(value).ok_or("must be a list of names")?,
            "additionalProperties" => self.is_closed = !value.as_bool().ok_or("must be true or false")?,
            "enum" => self.choices = Some(value.as_array().ok_or("must be a list")?.clone()),
            "minimum" => self.minimum = Some(value.as_f64().ok_or("must be a number")?),
            "maximum" => self.maximum = Some(value.as_f64().ok_or("must be a number")?),
            "minLength" => self.lengths.least = Some(read_length(value)?),
            "maxLength" => self.lengths.most = Some(read_length(value)?),
            "minItems" => self.n_items.least = Some(read_length(value)?),
            "maxItems" => self.n_items.most = Some(read_length(value)?),
            note if NOTES.contains(&note) => {}
            _ => return Err("is a keyword that is not kept here"),
        }
        Ok(())
    }

    /// Reports everything in `value`, which stands at `pointer`, that the schema does not allow.
    pub fn check(&self, value: &Value, pointer: &str, violations: &mut Vec<Violation>) {
        if let Some(types) = &self.types
            && !types.iter().any(|name| is_of_type(value, name))
        {
            violations.push(Violation::new(
                pointer,
                format!("must be of type {}", types.join(" or ")),
            ));
            return;
        }
        if let Some(choices) = &self.choices
            && !choices.contains(value)
        {
            violations.push(Violation::new(pointer, "is none of the allowed values"));
        }
        match value {
            Value::Object(object) => self.check_object(object, pointer, violations),
            Value::Array(items) => self.check_items(items, pointer, violations),
            Value::String(text) if self.lengths.refuses(text.chars().count()) => {
                violations.push(Violation::new(pointer, "is too short or too long"));
            }
            Value::Number(number) => self.check_number(number.as_f64(), pointer, violations),
            _ => {}
        }
    }

    fn check_object(&self, object: &Document, pointer: &str, violations: &mut Vec<Violation>) {
        for name in self.required.iter().filter(|name| !object.contains_key(*name)) {
            violations.push(Violation::new(format!("{pointer}/{}", escape(name)), "is required"));
        }
        for (name, member) in object {
            let at = format!("{pointer}/{}", escape(name));
            match self.properties.get(name) {
                Some(schema) => schema.check(member, &at, violations),
                None if self.is_closed => violations.push(Violation::new(at, "is not known")),
                None => {}
            }
        }
    }

    fn check_items(&self, items: &[Value], pointer: &str, violations: &mut Vec<Violation>) {
        if self.n_items.refuses(items.len()) {
            violations.push(Violation::new(pointer, "has too few or too many items"));
        }
        if let Some(schema) = &self.items {
            for (index, item) in items.iter().enumerate() {
                schema.check(item, &format!("{pointer}/{index}"), violations);
            }
        }
    }

    fn check_number(&self, number: Option<f64>, pointer: &str, violations: &mut Vec<Violation>) {
        let is_below = self.minimum.zip(number).is_some_and(|(least, number)| number < least);
        let is_above = self.maximum.zip(number).is_some_and(|(most, number)| number > most);
        if is_below || is_above {
            violations.push(Violation::new(pointer, "is too small or too large"));
        }
    }
}

fn read_sub(value: &Value, at: &str, violations: &mut Vec<Violation>, depth: usize) -> Schema {
    if let Some(schema) = value.as_object() {
        return Schema::read_level(schema, at, violations, depth + 1);
    }
    violations.push(Violation::new(at, "must be a schema"));
    Schema::default()
}

fn read_types(value: &Value) -> Result<Vec<String>, &'static str> {
    const KNOWN: [&str; 7] = ["object", "array", "string", "number", "integer", "boolean", "null"];
    let names = match value {
        Value::String(name) => vec![name.clone()],
        list => strings(list).unwrap_or_default(),
    };
    if names.is_empty() || !names.iter().all(|name| KNOWN.contains(&name.as_str())) {
        return Err("must be the name of a type, or several");
    }
    Ok(names)
}

fn read_length(value: &Value) -> Result<u64, &'static str> {
    value.as_u64().ok_or("must be a whole number from 0")
}

fn strings(value: &Value) -> Option<Vec<String>> {
    let items = value.as_array()?.iter();
    items.map(|item| item.as_str().map(str::to_owned)).collect()
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match value {
        Value::Null => name == "null",
        Value::Bool(_) => name == "boolean",
        Value::Number(number) => {
            let is_whole = || number.as_f64().is_some_and(|number| number.fract() == 0.0);
            name == "number" || (name == "integer" && is_whole())
        }
        Value::String(_) => name == "string",
        Value::Array(_) => name == "array",
        Value::Object(_) => name == "object",
    }
}

/// A name as a part of a JSON pointer (RFC 6901).
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: &Value) -> Document {
        value.as_object().unwrap().clone()
    }

    /// The pointers of what the schema does not allow in the value.
    fn refused(schema: &Value, value: &Value) -> Vec<String> {
        let mut violations = Vec::new();
        let schema = Schema::read(&object(schema), "", &mut violations);
        assert_eq!(violations, []);
        schema.check(value, "", &mut violations);
        violations.into_iter().map(|violation| violation.pointer).collect()
    }

    #[test]
    fn each_keyword_refuses_what_it_says() {
        for (schema, good, bad) in [
            (json!({"type": "string"}), json!("a"), json!(1)),
            (json!({"type": ["string", "null"]}), json!(null), json!(true)),
            (json!({"type": "integer"}), json!(2.0), json!(2.5)),
            (json!({"type": "number"}), json!(2.5), json!("2.5")),
            (json!({"type": "boolean"}), json!(false), json!(0)),
            (json!({"type": "array"}), json!([]), json!({})),
            (json!({"enum": ["a", 1]}), json!(1), json!("b")),
            (json!({"minimum": 1, "maximum": 3}), json!(3), json!(3.1)),
            (json!({"minimum": 1}), json!(1), json!(0)),
            (json!({"minLength": 2, "maxLength": 3}), json!("äöü"), json!("a")),
            (json!({"maxLength": 3}), json!("abc"), json!("abcd")),
            (json!({"minItems": 1, "maxItems": 2}), json!([1]), json!([])),
            (json!({"maxItems": 2}), json!([1, 2]), json!([1, 2, 3])),
        ] {
            assert_eq!(refused(&schema, &good), [""; 0], "{schema} and {good}");
            assert_eq!(refused(&schema, &bad), [""], "{schema} and {bad}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_by_its_place() {
        let schema = json!({
            "type": "object", "required": ["a/b", "there"], "additionalProperties": false, "title": "Fields",
            "properties": {
                "a/b": {"type": "string"},
                "there": {},
                "list": {"items": {"properties": {"n": {"type": "integer"}}}},
            },
        });
        let value = json!({"there": 1, "other~": 1, "list": [{"n": 1}, {"n": "x"}]});
        let mut pointers = refused(&schema, &value);
        pointers.sort();
        assert_eq!(pointers, ["/a~1b", "/list/1/n", "/other~0"]);
    }

    #[test]
    fn a_schema_with_a_rule_that_is_not_kept_is_refused() {
        let mut deep = json!({});
        for _ in 0..20 {
            deep = json!({"items": deep});
        }
        for schema in [
            json!({"pattern": "^a"}),
            json!({"properties": {"a": {"$ref": "#/x"}}}),
            json!({"type": "text"}),
            json!({"type": []}),
            json!({"required": "a"}),
            json!({"items": true}),
            json!({"maxLength": -1}),
            json!({"additionalProperties": {}}),
            deep,
        ] {
            let schemas = Schemas {
                settings: object(&schema),
                custom_fields: Document::new(),
            };
            assert_eq!(schemas.check().unwrap_err().len(), 1, "{schema}");
        }
    }
}
