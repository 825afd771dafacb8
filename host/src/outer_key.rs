//! The key from elsewhere that seals the key file: out of an environment variable, or what a command prints.

use std::process::{Command, Stdio};

use zeroize::{Zeroize, Zeroizing};

/// Where the key that seals the key file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OuterKey {
    /// This environment variable holds it.
    Variable(String),
    /// This command prints it: a client of a vault, of a cloud's key service, of a TPM.
    Command(String),
}

impl OuterKey {
    /// Both cannot be.
    pub(crate) fn of(variable: Option<String>, command: Option<String>) -> Result<Option<Self>, String> {
        match (variable, command) {
            (Some(_), Some(_)) => Err("`key-env` and `key-command` do not go together".to_owned()),
            (Some(name), None) => Ok(Some(Self::Variable(name))),
            (None, Some(command)) => Ok(Some(Self::Command(command))),
            (None, None) => Ok(None),
        }
    }

    /// Fetches the key.
    ///
    /// # Errors
    /// A sentence that says what is missing, without what was found.
    pub(crate) fn fetch(&self) -> Result<Zeroizing<[u8; 32]>, String> {
        match self {
            Self::Variable(name) => match std::env::var(name) {
                Ok(text) => read(Zeroizing::new(text.into_bytes()), &format!("the variable {name}")),
                Err(_) => Err(format!("`key-env` names the variable {name}, which is not set")),
            },
            Self::Command(command) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", command]).stdin(Stdio::null()).stderr(Stdio::inherit());
                let output = shell.output().map_err(|e| format!("`key-command` cannot be run: {e}"))?;
                let text = Zeroizing::new(output.stdout);
                match output.status.success() {
                    true => read(text, "what `key-command` prints"),
                    false => Err(format!("`key-command` failed: {}", output.status)),
                }
            }
        }
    }
}

/// 32 bytes in hex, with or without space around it.
fn read(mut text: Zeroizing<Vec<u8>>, what: &str) -> Result<Zeroizing<[u8; 32]>, String> {
    let mut key = Zeroizing::new([0; 32]);
    let decoded = hex::decode_to_slice(text.trim_ascii(), &mut *key);
    text.zeroize();
    decoded.map(|()| key).map_err(|_| format!("{what} is not 64 hex digits: make a key with `openssl rand -hex 32`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_gives_the_key_or_a_reason_that_does_not_quote_it() {
        let command = |text: &str| OuterKey::Command(text.to_owned()).fetch();
        assert_eq!(*command(&format!("echo {}", "0a".repeat(32))).unwrap(), [10; 32]);
        assert!(
            command("echo not-hex").unwrap_err().contains("openssl")
                && !command("echo x1y").unwrap_err().contains("x1y")
        );
        assert!(command("exit 3").unwrap_err().contains("failed"));
        let missing = OuterKey::Variable("AIMASS_TEST_NO_SUCH_VARIABLE".to_owned()).fetch().unwrap_err();
        assert!(missing.contains("AIMASS_TEST_NO_SUCH_VARIABLE"));
        assert!(OuterKey::of(Some("A".to_owned()), Some("b".to_owned())).is_err());
    }
}
