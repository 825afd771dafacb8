//! The bucket of a trigger, as the command line is told of it.

use std::path::Path;

use clap::Args;
use serde_json::{Map, Value, json};

use super::{Failure, Outcome};

/// What the three parts of credentials are called in the environment, and, in small letters, in a file.
const PARTS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "access_key_id"),
    ("AWS_SECRET_ACCESS_KEY", "secret_access_key"),
    ("AWS_SESSION_TOKEN", "session_token"),
];

/// Where it is, and whose rights it is read with.
#[derive(Args)]
pub(super) struct Where {
    /// Where the bucket's storage answers; left out, at Amazon in the region
    #[arg(long, value_name = "URL", requires = "bucket")]
    endpoint: Option<String>,
    /// The region that requests are signed for
    #[arg(long, value_name = "REGION", default_value = "us-east-1", requires = "bucket")]
    region: String,
    /// What requests are signed with: a file as ~/.aws/credentials is one, or `env` for AWS_ACCESS_KEY_ID,
    /// AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN. Kept sealed, and not needed again for the same bucket
    #[arg(long, value_name = "FILE", requires = "bucket")]
    credentials: Option<String>,
    /// Which profile of that file
    #[arg(long, value_name = "NAME", default_value = "default", requires = "credentials")]
    profile: String,
}

impl Where {
    /// The source of a trigger.
    pub(super) fn source(&self, url: &str, suffix: Option<&str>, every_seconds: u64) -> Value {
        let mut source = json!({ "url": url, "region": self.region, "every_seconds": every_seconds });
        for (field, value) in [("endpoint", self.endpoint.as_deref()), ("suffix", suffix)] {
            if let Some(value) = value {
                source[field] = json!(value);
            }
        }
        source
    }

    /// What requests are signed with, if that is said.
    pub(super) fn credentials(&self) -> Outcome<Option<Value>> {
        let (parts, from) = match self.credentials.as_deref() {
            None => return Ok(None),
            Some("env") => {
                let set =
                    |(variable, part): (&str, &str)| Some((part.to_owned(), json!(std::env::var(variable).ok()?)));
                (PARTS.into_iter().filter_map(set).collect(), "the environment".to_owned())
            }
            Some(file) => {
                let text = std::fs::read_to_string(Path::new(file));
                let text = text.map_err(|e| Failure::new(format!("--credentials: {file}: {e}")))?;
                (profile(&text, &self.profile), format!("the profile `{}` of {file}", self.profile))
            }
        };
        for (variable, part) in &PARTS[..2] {
            if !parts.contains_key(*part) {
                let in_file = variable.to_lowercase();
                let name = if self.credentials.as_deref() == Some("env") { *variable } else { in_file.as_str() };
                return Err(Failure::new(format!("--credentials: {from} has no {name}")));
            }
        }
        Ok(Some(Value::Object(parts)))
    }
}

/// The credentials of one profile of a file as AWS's own programs have it: `[default]`, and lines `name = value`.
fn profile(text: &str, wanted: &str) -> Map<String, Value> {
    let mut found = Map::new();
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = name.trim() == wanted;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| inside) {
            let part = PARTS.iter().find(|(variable, _)| variable.eq_ignore_ascii_case(name.trim()));
            if let Some((_, part)) = part {
                found.insert((*part).to_owned(), json!(value.trim()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read_as_amazons_programs_do() {
        let text = "# mine\n[default]\naws_access_key_id = A\naws_secret_access_key=b/c+d==\nregion = x\n\n[ other ]\n\
                    aws_access_key_id = O\n; note\naws_secret_access_key = p\naws_session_token = t\n";
        assert_eq!(
            Value::Object(profile(text, "default")),
            json!({ "access_key_id": "A", "secret_access_key": "b/c+d==" })
        );
        let other = json!({ "access_key_id": "O", "secret_access_key": "p", "session_token": "t" });
        assert_eq!(Value::Object(profile(text, "other")), other);
        assert!(profile(text, "third").is_empty());
    }
}
