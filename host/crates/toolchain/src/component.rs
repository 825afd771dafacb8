//! What a component looks like from outside.

use std::path::Path;

use crate::error::At;
use crate::{Result, ToolchainError};

/// `\0asm`, then version 13 of layer 1: a component. (Layer 0, version 1, is a core module.) Source: the component
/// model's binary format.
const COMPONENT: [u8; 8] = [0, b'a', b's', b'm', 13, 0, 1, 0];
const CORE_MODULE: [u8; 8] = [0, b'a', b's', b'm', 1, 0, 0, 0];

/// The bytes of the component at `path`.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).at(path)?;
    let problem = match bytes.first_chunk::<8>() {
        Some(&COMPONENT) => return Ok(bytes),
        Some(&CORE_MODULE) => "it is a core module; compile for wasm32-wasip2",
        _ => "it does not begin as one",
    };
    Err(ToolchainError::NotAComponent(path.to_owned(), problem))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_a_component_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.wasm");
        for (bytes, is_component) in [(&COMPONENT[..], true), (&CORE_MODULE[..], false), (&b"\0asm"[..], false)] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(read(&path).is_ok(), is_component);
        }
    }
}
