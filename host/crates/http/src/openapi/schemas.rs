//! The schemas of the document, each named once.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

const PLACE: &str = "#/components/schemas/";

/// Collects what the operations name.
///
/// What is sent and what is answered differ even for one type (a field with a default may be left out of the one and
/// always stands in the other), so there are two generators. Requests hold all in one piece.
pub(crate) struct Schemas {
    answers: SchemaGenerator,
    requests: SchemaGenerator,
    named: BTreeMap<String, Value>,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        let inline = |settings: &mut SchemaSettings| settings.inline_subschemas = true;
        Self {
            answers: settings().for_serialize().into_generator(),
            requests: settings().for_deserialize().with(inline).into_generator(),
            named: BTreeMap::new(),
        }
    }

    /// A reference to what is answered.
    pub(super) fn answer<T: JsonSchema>(&mut self) -> Value {
        self.answers.subschema_for::<T>().to_value()
    }

    /// What is sent, in one piece.
    pub(super) fn inline<T: JsonSchema>(&mut self) -> Value {
        self.requests.subschema_for::<T>().to_value()
    }

    /// A reference to what is sent.
    pub(super) fn request<T: JsonSchema>(&mut self) -> Value {
        let schema = self.inline::<T>();
        if T::inline_schema() {
            return schema;
        }
        let answered = self.answers.definitions().get(&*T::schema_name());
        let name = match answered {
            Some(other) if *other != schema => format!("{}Request", T::schema_name()),
            _ => T::schema_name().into_owned(),
        };
        self.name(&name, schema)
    }

    /// Gives a schema a name, and returns a reference to it.
    pub(super) fn name(&mut self, name: &str, schema: Value) -> Value {
        self.named.insert(name.to_owned(), schema);
        reference(name)
    }

    /// All of them by name.
    pub(super) fn finish(mut self) -> Value {
        let mut all: Map<String, Value> = self.requests.take_definitions(true);
        all.extend(self.named);
        // An answer's name stands; a request of the same name that is another was made before the answer was known.
        for (name, schema) in self.answers.take_definitions(true) {
            all.insert(name, schema);
        }
        Value::Object(all)
    }
}

/// A reference to a named schema.
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{PLACE}{name}") })
}

/// Makes descriptions out of doc comments, and takes out what says nothing.
pub(super) fn tidy(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(fields) => {
            if let Some(Value::String(text)) = fields.get_mut("description") {
                *text = prose(text);
            }
            // To leave it out is what it says already.
            if fields.get("default").is_some_and(Value::is_null) {
                fields.remove("default");
            }
            fields.values_mut().for_each(tidy);
        }
        _ => {}
    }
}

/// A doc comment without its examples, and without the brackets of its links.
fn prose(comment: &str) -> String {
    let text = comment.split("```").next().unwrap_or_default().trim();
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("[`") {
        plain.push_str(before);
        let (name, after) = link.split_once("`]").unwrap_or((link, ""));
        plain.push('`');
        plain.push_str(name.rsplit("::").next().unwrap_or(name));
        plain.push('`');
        rest = after;
        if let Some((_, after)) = rest.strip_prefix('(').and_then(|target| target.split_once(')')) {
            rest = after;
        }
    }
    plain + rest
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn doc_comments_become_prose() {
        assert_eq!(prose("A thing.\n\n```\nlet x = 1;\n```"), "A thing.");
        assert_eq!(prose("See [`crate::Name`] and [`B`](crate::B) too."), "See `Name` and `B` too.");
        assert_eq!(prose("[1, 2] of `x`"), "[1, 2] of `x`");
    }
}
