//! From bytes to a DTO, with the place of what is wrong as a JSON pointer (RFC 6901).

use bulkhead_kernel::fault::{Code, Violation};
use serde::de::DeserializeOwned;
use serde_json::{Value, error::Category};
use serde_path_to_error::{Path, Segment};

use crate::problem::Problem;

/// PostgreSQL cannot store U+0000, and nothing of ours means it.
const NUL: &str = "must not contain the character U+0000";

/// Reads a JSON document. What is no JSON is malformed; what is not the wanted shape is invalid.
pub(super) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    refuse_escaped_nul(bytes)?;
    refuse_other_than_object(bytes)?;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().clone();
        json_problem(&path, &error.into_inner())
    })?;
    deserializer.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

/// Reads `application/x-www-form-urlencoded` pairs. `prefix` stands before each name in a pointer: `/` in a body,
/// nothing in a query.
pub(super) fn form<T: DeserializeOwned>(bytes: &[u8], prefix: &str) -> Result<T, Problem> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(bytes)
        .map_err(|_| Problem::with_detail(Code::MalformedRequest, "The form is not well encoded."))?;
    if let Some((name, _)) = pairs
        .iter()
        .find(|(name, value)| name.contains('\0') || value.contains('\0'))
    {
        return Err(Problem::invalid(vec![Violation::new(
            format!("{prefix}{name}").replace('\0', ""),
            NUL,
        )]));
    }
    let fields = serde::de::value::MapDeserializer::<_, serde_urlencoded::de::Error>::new(
        pairs.iter().map(|(name, value)| (name.as_str(), Scalar(value))),
    );
    serde_path_to_error::deserialize(fields).map_err(|error| {
        let path = error.path().clone();
        let violation = violation(&path, &error.into_inner().to_string());
        let name = violation.pointer.trim_start_matches('/');
        Problem::invalid(vec![Violation::new(format!("{prefix}{name}"), violation.detail)])
    })
}

/// One value of a form: text that also reads as a number or a truth value where the DTO wants one.
struct Scalar<'a>(&'a str);

impl<'de> serde::de::IntoDeserializer<'de, serde_urlencoded::de::Error> for Scalar<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed {
    ($($method:ident => $visit:ident, $wanted:literal;)*) => {$(
        fn $method<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            match self.0.parse() {
                Ok(value) => visitor.$visit(value),
                Err(_) => Err(serde::de::Error::custom(concat!("expected ", $wanted))),
            }
        }
    )*};
}

impl<'de> serde::Deserializer<'de> for Scalar<'de> {
    type Error = serde_urlencoded::de::Error;

    parsed! {
        deserialize_bool => visit_bool, "true or false";
        deserialize_u16 => visit_u16, "a whole number";
        deserialize_u32 => visit_u32, "a whole number";
        deserialize_u64 => visit_u64, "a whole number";
        deserialize_i32 => visit_i32, "a whole number";
        deserialize_i64 => visit_i64, "a whole number";
    }

    fn deserialize_any<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_option<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: serde::de::Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: serde::de::Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_enum(serde::de::value::BorrowedStrDeserializer::new(self.0))
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i128 u8 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

/// Serde would take the fields of a DTO from an array as well, by their order.
fn refuse_other_than_object(bytes: &[u8]) -> Result<(), Problem> {
    if bytes.trim_ascii_start().first() == Some(&b'{') {
        return Ok(());
    }
    match serde_json::from_slice::<serde::de::IgnoredAny>(bytes) {
        Ok(_) => Err(Problem::invalid(vec![Violation::new("", "must be an object")])),
        Err(error) => Err(malformed(&error)),
    }
}

fn json_problem(path: &Path, error: &serde_json::Error) -> Problem {
    match error.classify() {
        Category::Data => Problem::invalid(vec![violation(path, &error.to_string())]),
        Category::Syntax | Category::Eof | Category::Io => malformed(error),
    }
}

/// Says where the document stops being JSON.
fn malformed(error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    Problem::with_detail(
        Code::MalformedJson,
        format!("The body is not valid JSON (line {line}, column {column})."),
    )
}

/// Names the place; for a field that is missing or there twice that is the field itself, which serde's path does not reach.
fn violation(path: &Path, message: &str) -> Violation {
    // serde_json adds the position, which the pointer says better.
    let detail = message.split(" at line ").next().unwrap_or(message);
    let pointer = pointer(path);
    for (complaint, ours) in [
        ("missing field `", "is required"),
        ("duplicate field `", "is given twice"),
    ] {
        if let Some(field) = detail.strip_prefix(complaint).and_then(|rest| rest.strip_suffix('`')) {
            return Violation::new(format!("{pointer}/{}", escaped(field)), ours);
        }
    }
    if detail.starts_with("unknown field") {
        return Violation::new(pointer, "is not a field of this request");
    }
    match detail.rsplit_once("expected ") {
        Some((_, expected)) => Violation::new(pointer, format!("must be {}", in_words(expected))),
        None => Violation::new(pointer, detail),
    }
}

/// What serde expected, without the names of our types.
fn in_words(expected: &str) -> &str {
    match expected {
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number in range",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "an array",
        "a map" => "an object",
        other if other.starts_with("struct ") => "an object",
        other => other,
    }
}

fn pointer(path: &Path) -> String {
    let segments = path.iter().filter_map(|segment| match segment {
        Segment::Seq { index } => Some(format!("/{index}")),
        Segment::Map { key } => Some(format!("/{}", escaped(key))),
        Segment::Enum { .. } | Segment::Unknown => None,
    });
    segments.collect()
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// A NUL can stand in JSON only as an escape; only then the document is looked through for its place.
fn refuse_escaped_nul(bytes: &[u8]) -> Result<(), Problem> {
    if !bytes.windows(6).any(|window| window == br"\u0000") {
        return Ok(());
    }
    let document: Value = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    match find_nul(&document, String::new()) {
        Some(pointer) => Err(Problem::invalid(vec![Violation::new(pointer, NUL)])),
        None => Ok(()),
    }
}

/// The first string or key with a NUL; depth is bounded by the parser.
fn find_nul(value: &Value, at: String) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then_some(at),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| find_nul(item, format!("{at}/{index}"))),
        Value::Object(fields) => fields.iter().find_map(|(key, field)| {
            if key.contains('\0') {
                return Some(at.clone());
            }
            find_nul(field, format!("{at}/{}", escaped(key)))
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json as value;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code, reason = "only its type matters here")]
        name: String,
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        size: u32,
    }

    #[derive(Debug, Deserialize)]
    struct Numbers {
        page: Option<u32>,
        is_on: Option<bool>,
    }

    fn refusal(text: &str) -> Value {
        let problem = json::<Outer>(text.as_bytes()).unwrap_err();
        serde_json::to_value(problem.body("", "")).unwrap()
    }

    fn pointer_of(text: &str) -> String {
        let body = refusal(text);
        assert_eq!(body["code"], "validation", "{body}");
        body["errors"][0]["pointer"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_violation_points_to_its_place() {
        assert_eq!(pointer_of(r#"{"name":1,"inner":[]}"#), "/name");
        assert_eq!(
            pointer_of(r#"{"name":"a","inner":[{"size":1},{"size":"x"}]}"#),
            "/inner/1/size"
        );
        assert_eq!(pointer_of(r#"{"name":"a","inner":[{"size":1},{}]}"#), "/inner/1/size");
        assert_eq!(pointer_of(r#"{"name":"a"}"#), "/inner");
        assert_eq!(pointer_of(r#"{"name":"a","name":"b"}"#), "/name");
        assert_eq!(pointer_of(r#"{"name":"a","inner":[],"a/b~":1}"#), "/a~1b~0");
        assert_eq!(pointer_of(r#"{"name":"a","inner":[{"size":-1}]}"#), "/inner/0/size");
        assert_eq!(pointer_of(r#"{"name":"a","inner":{}}"#), "/inner");
        for text in ["[]", r#"["a",[]]"#, " 1", "null", r#""x""#] {
            assert_eq!(pointer_of(text), "", "{text}");
        }
    }

    #[test]
    fn a_violation_is_told_in_words_of_json() {
        for (size, wanted) in [
            ("1.5", "a whole number in range"),
            ("-1", "a whole number in range"),
            ("99999999999999999999", "a whole number in range"),
            ("\"x\"", "a whole number in range"),
            ("null", "a whole number in range"),
        ] {
            let body = refusal(&format!(r#"{{"name":"a","inner":[{{"size":{size}}}]}}"#));
            assert_eq!(
                body["errors"][0]["detail"],
                format!("must be {wanted}"),
                "{size}: {body}"
            );
        }
        assert_eq!(
            refusal(r#"{"name":[],"inner":[]}"#)["errors"][0]["detail"],
            "must be a string"
        );
        assert_eq!(
            refusal(r#"{"name":"a","inner":{}}"#)["errors"][0]["detail"],
            "must be an array"
        );
    }

    #[test]
    fn what_is_no_json_says_where() {
        for text in [
            "",
            "{",
            r#"{"name":}"#,
            "nope",
            r#"{"name":"a","inner":[]} x"#,
            "{\"name\":\"a\u{0}\"}",
        ] {
            let body = refusal(text);
            assert_eq!(
                (body["code"].as_str(), body["status"].as_u64()),
                (Some("malformed_json"), Some(400)),
                "{text}"
            );
            assert!(body["detail"].as_str().unwrap().contains("line 1"), "{body}");
        }
        let deep = format!("{{\"name\":{}", "[".repeat(100_000));
        assert_ne!(refusal(&deep)["status"], 500);
    }

    #[test]
    fn a_nul_is_refused_wherever_it_hides() {
        assert_eq!(pointer_of(r#"{"name":"a\u0000b","inner":[]}"#), "/name");
        assert_eq!(pointer_of(r#"{"name":"a","inner":[{"x":"\u0000"}]}"#), "/inner/0/x");
        let escaped_backslash = json::<Outer>(br#"{"name":"a\\u0000b","inner":[{"size":7}]}"#).unwrap();
        assert_eq!(escaped_backslash.inner[0].size, 7);
    }

    #[test]
    fn form_values_are_read_as_what_the_field_is() {
        let numbers: Numbers = form(b"page=3&is_on=true&other=x", "").unwrap();
        assert_eq!((numbers.page, numbers.is_on), (Some(3), Some(true)));

        let problem = form::<Numbers>(b"page=three", "").unwrap_err();
        let body = serde_json::to_value(problem.body("", "")).unwrap();
        assert_eq!(
            body["errors"],
            value!([{"pointer": "page", "detail": "must be a whole number"}])
        );

        let problem = form::<Numbers>(b"page=1%00", "/").unwrap_err();
        let body = serde_json::to_value(problem.body("", "")).unwrap();
        assert_eq!(body["errors"][0]["pointer"], "/page");
    }
}
