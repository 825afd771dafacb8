use std::collections::BTreeSet;

use http::Method;
use serde_json::Value;

use super::*;

fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let each = |(path, methods): (&String, &'_ Value)| {
        let path = path.clone();
        methods.as_object().unwrap().keys().map(move |method| (path.clone(), method.clone())).collect::<Vec<_>>()
    };
    let names: Vec<_> = paths.iter().flat_map(each).collect();
    names.into_iter().map(|(path, method)| (format!("{method} {path}"), &paths[&path][&method])).collect()
}

#[test]
fn every_route_of_the_api_is_described_in_full() {
    let mut missing = vec![];
    for route in routes() {
        let name = format!("{} {}", route.method, route.path);
        let api = ["/api/v1", "/v2"].iter().any(|prefix| route.path.starts_with(prefix));
        let Some(describe) = route.described else {
            assert!(!api, "{name} is no page and no gRPC method: give it to `add`");
            continue;
        };
        if texts::summary(route.method.as_str(), route.path).is_none() {
            missing.push(format!("{name} has no summary in openapi/texts.rs"));
        }
        let mut schemas = Schemas::new();
        let mut by_types = Operation::default();
        describe(&mut by_types, &mut schemas);
        if by_types.unsaid {
            details::add(&route, &mut by_types, &mut schemas);
            let said = !by_types.answers.is_empty() && (route.method == Method::GET || by_types.body.is_some());
            if !said {
                missing.push(format!("{name} takes or gives what types do not say: openapi/details.rs has to"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn the_document_holds_together() {
    let document = openapi();
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document) {
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{name}");
        let answers = operation["responses"].as_object().unwrap();
        assert!(answers.keys().any(|status| status.starts_with('2')), "{name} never succeeds");
        let guarded = !operation["security"].as_array().unwrap().is_empty();
        assert_eq!(guarded, answers.contains_key("403"), "{name}: {answers:?}");
    }
    every_reference_leads_somewhere(&document, &document);
    no_comment_is_left(&document);
}

fn every_reference_leads_somewhere(value: &Value, document: &Value) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| every_reference_leads_somewhere(item, document)),
        Value::Object(fields) => {
            if let Some(Value::String(target)) = fields.get("$ref") {
                let pointer = target.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{target}");
            }
            fields.values().for_each(|field| every_reference_leads_somewhere(field, document));
        }
        _ => {}
    }
}

/// Doc comments become descriptions, which have no use for Rust.
fn no_comment_is_left(value: &Value) {
    match value {
        Value::Array(items) => items.iter().for_each(no_comment_is_left),
        Value::Object(fields) => {
            if let Some(Value::String(text)) = fields.get("description") {
                assert!(!["::", "```", "[`"].iter().any(|sign| text.contains(sign)), "{text}");
            }
            assert!(fields.get("anyOf").is_none_or(Value::is_array), "{fields:?}");
            fields.values().for_each(no_comment_is_left);
        }
        _ => {}
    }
}

#[test]
fn what_a_caller_needs_is_there() {
    let document = openapi();
    let upload = &document["paths"]["/api/v1/plugins/{name}"]["put"];
    assert_eq!(upload["security"], json!([{ "token": ["plugins:write"] }]));
    for status in ["200", "201", "202", "400", "401", "403", "404", "409", "412", "413", "422", "500", "503", "507"] {
        assert!(upload["responses"].get(status).is_some(), "{status}");
    }
    let list = &document["paths"]["/api/v1/tokens"]["get"];
    assert_eq!(list["security"], json!([{ "token": ["tokens:read"] }, { "token": ["operator"] }]));
    let names: Vec<_> = list["parameters"].as_array().unwrap().iter().map(|p| p["name"].clone()).collect();
    assert_eq!(names, ["after", "limit"]);
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["Name"]["maxLength"], 63);
    assert!(schemas["TokenRequest"]["properties"]["scopes"].to_string().contains("plugins:write"));
    assert_eq!(schemas["PageOfTokenDocument"]["required"], json!(["items", "next"]));
    // What has a default may be left out of a request and stands in every answer.
    assert_eq!(schemas["TokenRequest"]["required"], json!(["subject"]));
}
