//! With which settings and secrets aliases serve: what the command line says of it.

use http::Method;
use serde_json::Value;

use super::client::Client;
use super::output;

/// The numbers of the configurations that a route runs with, in its order, each once.
pub(super) fn numbers(route: &Value) -> Vec<u64> {
    let shares = route["split"].as_array().into_iter().flatten().map(|share| &share["configuration"]);
    let all = shares.chain([&route["shadow_configuration"]]).filter_map(Value::as_u64);
    all.fold(vec![], |mut numbers, number| {
        if !numbers.contains(&number) {
            numbers.push(number);
        }
        numbers
    })
}

/// The same as text.
pub(super) fn listed(route: &Value) -> String {
    numbers(route).iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

/// What an alias of a plugin's that ever had settings runs with, and what would change that.
pub(super) fn settings(name: &str, alias: &Value) -> Option<String> {
    let newest = alias["newest_configuration"].as_u64().filter(|newest| *newest > 0)?;
    if numbers(alias).iter().all(|number| *number == newest) {
        return Some(format!("  with the newest settings and secrets, configuration {newest}"));
    }
    let shares = alias["split"].as_array().into_iter().flatten();
    let shares = shares.map(|share| (&share["version"], &share["configuration"]));
    let shadow = (!alias["shadow"].is_null()).then_some((&alias["shadow"], &alias["shadow_configuration"]));
    let with = |(version, number): (&Value, &Value)| {
        let number = if number.is_null() { newest.to_string() } else { output::cell(number) };
        format!("{} with configuration {number}", output::cell(version))
    };
    let all = shares.chain(shadow).map(with).collect::<Vec<_>>().join(", ");
    Some(format!("  {all}; the newest is {newest}: `{}` takes it", command(name, alias)))
}

/// What lets an alias take the newest settings.
fn command(name: &str, alias: &Value) -> String {
    match output::cell(&alias["alias"]) {
        alias if alias == aimass_core::name::DEFAULT_ALIAS => format!("aimass deploy {name}"),
        alias => format!("aimass deploy {name} --alias {alias}"),
    }
}

/// Who changes settings may think that they serve: says which aliases still serve with those of before.
pub(super) async fn hint(client: &Client, name: &str, json: bool) {
    if json {
        return;
    }
    // Whoever may set need not be allowed to look. A name has at most a page of aliases.
    let Ok(page) = client.json(Method::GET, &format!("/api/v1/plugins/{name}/aliases"), None).await else { return };
    for alias in page["items"].as_array().into_iter().flatten() {
        let newest = alias["newest_configuration"].as_u64();
        if numbers(alias).iter().any(|number| Some(*number) != newest) {
            let (word, command) = (output::cell(&alias["alias"]), command(name, alias));
            println!("  {name}:{word} still serves with the settings and secrets of before; `{command}` changes that");
        }
    }
}

/// The lines of a comparison.
pub(super) fn differences(diff: &Value) -> Vec<String> {
    let mut lines = vec![];
    if !diff["configuration"].is_null() {
        let [from, to] = ["from", "to"].map(|side| output::cell(&diff["configuration"][side]));
        lines.push(format!("configuration: {from} -> {to}"));
    }
    for (word, field) in [("setting", "settings"), ("secret", "secrets")] {
        for (sign, change) in [("-", "removed"), ("+", "added"), ("~", "changed")] {
            let keys = diff[field][change].as_array().into_iter().flatten();
            lines.extend(keys.map(|key| format!("{word}: {sign} {}", output::printable(&output::cell(key)))));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_alias_says_with_which_settings_it_serves() {
        let alias =
            |split: Value, newest: u64| json!({ "alias": "prod", "split": split, "newest_configuration": newest });
        let one = |number: u64| json!([{ "version": 2, "weight": 1, "configuration": number }]);
        assert_eq!(settings("m", &alias(one(0), 0)), None, "it never had any");
        assert!(settings("m", &alias(one(3), 3)).unwrap().contains("newest settings and secrets, configuration 3"));
        let told = settings("m", &alias(one(3), 4)).unwrap();
        assert_eq!(told, "  2 with configuration 3; the newest is 4: `aimass deploy m` takes it");
        assert_eq!(settings("m", &json!({ "split": [{ "version": 1, "weight": 1 }] })), None, "a model");
        let both = json!({ "split": [{ "configuration": 3 }, { "configuration": 3 }], "shadow_configuration": 5 });
        assert_eq!(listed(&both), "3, 5");
        assert_eq!(command("m", &json!({ "alias": "staging" })), "aimass deploy m --alias staging");
    }
}
