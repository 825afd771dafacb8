//! What an uploaded component is, before any of it runs.

use aimass_core::event::Inspection;
use aimass_core::limits::{InvocationLimits, MAX_COMPONENT};
use aimass_core::{Code, Fault, Result};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::host;

/// The interface that makes a component a model plugin.
pub(crate) const MODEL_INTERFACE: &str = "aimass:plugin/model@0.1.0";

/// What a component is called that exports it.
pub(crate) const MODEL_WORLD: &str = "model-plugin";

/// The interface that makes a component one that is told of events.
pub(crate) const EVENTS_INTERFACE: &str = "aimass:plugin/events@0.1.0";

/// What a component is called that exports it.
pub(crate) const EVENTS_WORLD: &str = "event-plugin";

/// What a component is called that exports `wasi:http/incoming-handler`.
pub(crate) const HTTP_WORLD: &str = "wasi:http/proxy";

/// Names in a list that somebody has to read.
const MAX_NAMED: usize = 20;

fn invalid(detail: impl Into<String>) -> Fault {
    Fault::new(Code::InvalidComponent, detail)
}

/// Looks at the first bytes. This comes before wasmtime sees anything: some of its functions take compiled code as
/// readily as WebAssembly, and a tenant's compiled code would run without any sandbox.
pub(crate) fn preamble(wasm: &[u8]) -> Result<()> {
    if wasm.len() as u64 > MAX_COMPONENT {
        return Err(invalid(format!("a component is at most {MAX_COMPONENT} bytes")));
    }
    match wasm {
        // magic, version 13, layer 1: a component, in the encoding that was standardised with WASI 0.2.
        [b'\0', b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(invalid(
            "this is a core module, not a component; build for wasm32-wasip2, or wrap it with `wasm-tools component new`",
        )),
        [b'\0', b'a', b's', b'm', ..] => Err(invalid("this version of the WebAssembly encoding is not known")),
        [0x7f, b'E', b'L', b'F', ..] => {
            Err(invalid("this is compiled code; upload the WebAssembly component that it was made from"))
        }
        _ => Err(invalid("this is no WebAssembly")),
    }
}

/// Why there is no compiled code.
pub(crate) enum Refusal {
    /// The component is not valid.
    Invalid(Fault),
    /// The system gave no more memory.
    OutOfMemory,
}

/// Validates and compiles. Only a compiler's own process calls it.
pub(crate) fn compile(engine: &Engine, wasm: &[u8]) -> Result<Vec<u8>, Refusal> {
    preamble(wasm).map_err(Refusal::Invalid)?;
    engine.precompile_component(wasm).map_err(|error| {
        let of = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>()?.raw_os_error());
        if of == Some(rustix::io::Errno::NOMEM.raw_os_error()) {
            return Refusal::OutOfMemory;
        }
        Refusal::Invalid(invalid(format!("{error:#}")))
    })
}

/// Imports and exports, and what they make the component usable for.
pub(crate) fn surface(engine: &Engine, component: &Component) -> Result<Inspection> {
    let ty = component.component_type();
    let sorted = |names: &mut Vec<String>| names.sort_unstable();
    let mut imports: Vec<String> = ty.imports(engine).map(|(name, _)| name.to_owned()).collect();
    let mut exports: Vec<String> = ty.exports(engine).map(|(name, _)| name.to_owned()).collect();
    sorted(&mut imports);
    sorted(&mut exports);

    let unknown: Vec<&str> = imports.iter().map(String::as_str).filter(|name| !given(name)).collect();
    if !unknown.is_empty() {
        let more =
            if unknown.len() > MAX_NAMED { format!(" and {} more", unknown.len() - MAX_NAMED) } else { String::new() };
        let named = unknown[..unknown.len().min(MAX_NAMED)].join("`, `");
        return Err(Fault::new(Code::UnsupportedImport, format!("the platform does not give `{named}`{more}")));
    }

    let mut worlds = Vec::new();
    if exports.iter().any(|name| interface(name) == interface(MODEL_INTERFACE)) {
        worlds.push(MODEL_WORLD.to_owned());
    }
    if exports.iter().any(|name| interface(name) == interface(EVENTS_INTERFACE)) {
        worlds.push(EVENTS_WORLD.to_owned());
    }
    if exports.iter().any(|name| interface(name) == "wasi:http/incoming-handler") {
        worlds.push(HTTP_WORLD.to_owned());
    }
    if worlds.is_empty() {
        return Err(invalid(format!(
            "it exports nothing that the platform can call; export `{MODEL_INTERFACE}` (a model plugin), \
             `{EVENTS_INTERFACE}` (one that is told of events) or `wasi:http/incoming-handler` (an HTTP function)"
        )));
    }
    Ok(Inspection { worlds, imports, exports, signature: None, device: Default::default() })
}

/// Refuses what could never be instantiated within the limits.
pub(crate) fn resources(component: &Component, limits: &InvocationLimits) -> Result<()> {
    let Some(needs) = component.resources_required() else {
        return Err(invalid("it imports a core module or instance"));
    };
    // Counted in pages; no other page size is let in.
    if needs.max_initial_memory_size.unwrap_or(0).saturating_mul(64 << 10) > limits.memory as u64 {
        return Err(invalid(format!("a memory starts larger than the limit of {} bytes", limits.memory)));
    }
    if needs.max_initial_table_size.unwrap_or(0) > limits.table_elements as u64 {
        return Err(invalid(format!("a table starts larger than the limit of {} elements", limits.table_elements)));
    }
    Ok(())
}

fn given(import: &str) -> bool {
    host::GIVEN.contains(&interface(import))
}

/// The name without its version.
fn interface(name: &str) -> &str {
    name.split_once('@').map_or(name, |(interface, _)| interface)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn f01_only_a_component_passes_the_preamble() {
        let component = b"\0asm\x0d\0\x01\0";
        assert!(preamble(component).is_ok());
        let long = vec![0; MAX_COMPONENT as usize + 1];
        for bad in
            [&b""[..], b"\0asm", b"\0asm\x01\0\0\0", b"\x7fELF\x02\x01", b"(component)", b"\0asm\x0e\0\x01\0", &long]
        {
            assert_eq!(preamble(bad).unwrap_err().code(), Code::InvalidComponent);
        }
    }
}
