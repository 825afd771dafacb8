//! Small guests, written as core modules in the text format: one template for model plugins, one for HTTP
//! functions, and bodies that go into them.

use std::path::Path;

use wasm_encoder::{ComponentSection as _, ComponentSectionId, InstanceSection, ModuleArg, RawSection};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Parts of a model guest that differ from one that answers with its inputs.
#[derive(Default)]
pub struct Model<'a> {
    /// Imports of the core module.
    pub imports: &'a str,
    /// Fields of the core module: tables, data, functions, a start.
    pub fields: &'a str,
    /// What `infer` does before it answers with its inputs (`$ptr`, `$len`; locals `$a`, `$b`, `$c`).
    pub infer: &'a str,
    /// What `cabi_realloc` does first.
    pub realloc: &'a str,
    /// Pages that the memory starts with; 1 if 0.
    pub pages: u32,
}

/// A model plugin with one input `x` and one output `x`, FP32, of any length. The answer is built at address 64;
/// 128–1023 are the template's, 1024–4095 the body's, from 4096 on the allocator's.
pub fn model(parts: Model<'_>) -> Vec<u8> {
    component(&model_text(&parts), "model")
}

/// The same for a world that is not `model`.
pub fn model_in(world: &str, parts: Model<'_>) -> Vec<u8> {
    component(&model_text(&parts), world)
}

fn model_text(parts: &Model<'_>) -> String {
    let Model { imports, fields, infer, realloc, pages } = parts;
    let pages = (*pages).max(1);
    format!(
        r#"(module
          {imports}
          (memory (export "memory") {pages})
          (global $top (mut i32) (i32.const 4096))
          (data (i32.const 128) "x\ff")                          ;; the name
          (data (i32.const 136) "\ff\ff\ff\ff\ff\ff\ff\ff")      ;; the shape [-1]
          ;; port: name (128, 1), type fp32 = 11, shape (136, 1), description (0, 0)
          (data (i32.const 160) "\80\00\00\00\01\00\00\00\0b\00\00\00\88\00\00\00\01\00\00\00\00\00\00\00\00\00\00\00")
          ;; signature: inputs (160, 1), outputs (160, 1), description (0, 0)
          (data (i32.const 192) "\a0\00\00\00\01\00\00\00\a0\00\00\00\01\00\00\00\00\00\00\00\00\00\00\00")
          {fields}
          (func (export "cabi_realloc") (param $old i32) (param $oldlen i32) (param $align i32) (param $size i32) (result i32)
            (local $at i32)
            {realloc}
            (local.set $at (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
            (global.set $top (i32.add (local.get $at) (local.get $size)))
            (block $fits (loop $more
              (br_if $fits (i32.le_u (global.get $top) (i32.shl (memory.size) (i32.const 16))))
              (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))
              unreachable))
            (local.get $at))
          (func (export "aimass:plugin/model@0.1.0#signature") (result i32) (i32.const 192))
          (func $infer (export "aimass:plugin/model@0.1.0#infer") (param $ptr i32) (param $len i32) (result i32)
            (local $a i32) (local $b i32) (local $c i32)
            {infer}
            (i32.store8 (i32.const 64) (i32.const 0))
            (i32.store (i32.const 68) (local.get $ptr))
            (i32.store (i32.const 72) (local.get $len))
            (i32.const 64)))"#
    )
}

/// `infer` code that answers with the fault `internal("x")`.
pub const INTERNAL: &str = "(i32.store8 (i32.const 64) (i32.const 1)) (i32.store8 (i32.const 68) (i32.const 2))
    (i32.store (i32.const 72) (i32.const 128)) (i32.store (i32.const 76) (i32.const 1)) (return (i32.const 64))";

/// An HTTP function. `before` runs before the head is set, `body` after it (with `$stream` and `$body` open),
/// `finish` says whether the answer is finished in order. `"hello/"` stands at 1024.
pub fn http(before: &str, body: &str, finish: bool) -> Vec<u8> {
    let finish = if finish {
        "(call $drop_stream (local.get $stream)) (call $finish (local.get $body) (i32.const 0) (i32.const 0) (i32.const 256))"
    } else {
        ""
    };
    let text = format!(
        r#"(module
          (import "wasi:http/types@0.2.0" "[constructor]fields" (func $fields (result i32)))
          (import "wasi:http/types@0.2.0" "[method]fields.append" (func $append (param i32 i32 i32 i32 i32 i32)))
          (import "wasi:http/types@0.2.0" "[constructor]outgoing-response" (func $response (param i32) (result i32)))
          (import "wasi:http/types@0.2.0" "[method]outgoing-response.body" (func $body_of (param i32 i32)))
          (import "wasi:http/types@0.2.0" "[method]outgoing-body.write" (func $write_of (param i32 i32)))
          (import "wasi:http/types@0.2.0" "[static]outgoing-body.finish" (func $finish (param i32 i32 i32 i32)))
          (import "wasi:http/types@0.2.0" "[static]response-outparam.set"
            (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
          (import "wasi:http/types@0.2.0" "[constructor]outgoing-request" (func $request (param i32) (result i32)))
          (import "wasi:http/types@0.2.0" "[method]outgoing-request.set-authority"
            (func $authority (param i32 i32 i32 i32) (result i32)))
          (import "wasi:http/types@0.2.0" "[method]outgoing-request.set-path-with-query"
            (func $path (param i32 i32 i32 i32) (result i32)))
          (import "wasi:http/outgoing-handler@0.2.0" "handle" (func $send (param i32 i32 i32 i32)))
          (import "wasi:http/types@0.2.0" "[method]future-incoming-response.subscribe"
            (func $subscribe (param i32) (result i32)))
          (import "wasi:http/types@0.2.0" "[method]future-incoming-response.get" (func $get (param i32 i32)))
          (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
            (func $write (param i32 i32 i32 i32)))
          (import "wasi:io/streams@0.2.0" "[resource-drop]output-stream" (func $drop_stream (param i32)))
          (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
          (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $after (param i64) (result i32)))
          (import "wasi:logging/logging@0.1.0-draft" "log" (func $log (param i32 i32 i32 i32 i32)))
          (memory (export "memory") 2)
          (global $top (mut i32) (i32.const 8192))
          (data (i32.const 1024) "hello/")
          (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
            (global.set $top (i32.add (local.get $at) (local.get $size)))
            (local.get $at))
          (func $hello (param $stream i32)
            (call $write (local.get $stream) (i32.const 1024) (i32.const 5) (i32.const 256)))
          (func $sleep (param $ms i64)
            (call $block (call $after (i64.mul (local.get $ms) (i64.const 1000000)))))
          (func (export "wasi:http/incoming-handler@0.2.0#handle") (param $incoming i32) (param $out i32)
            (local $response i32) (local $body i32) (local $stream i32) (local $fields i32) (local $n i32)
            (local.set $fields (call $fields))
            {before}
            (local.set $response (call $response (local.get $fields)))
            (call $body_of (local.get $response) (i32.const 256))
            (local.set $body (i32.load (i32.const 260)))
            (call $set (local.get $out) (i32.const 0) (local.get $response)
              (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
            (call $write_of (local.get $body) (i32.const 256))
            (local.set $stream (i32.load (i32.const 260)))
            {body}
            {finish}))"#
    );
    component(&text, "http")
}

/// The function that answers `hello`.
pub fn hello() -> Vec<u8> {
    http("", "(call $hello (local.get $stream))", true)
}

/// A model plugin beside which `count` more instances stand, each with a memory of `pages` and a table of `elements`.
pub fn crowded(count: u32, pages: u32, elements: u32) -> Vec<u8> {
    let beside = wat::parse_str(format!("(module (memory {pages}) (table {elements} funcref))")).unwrap();
    // Sections of a component may be appended; the encoder made one module so far, so this is number 1.
    let mut wasm = model(Model::default());
    RawSection { id: ComponentSectionId::CoreModule as u8, data: &beside }.append_to_component(&mut wasm);
    let mut instances = InstanceSection::new();
    for _ in 0..count {
        instances.instantiate(1, std::iter::empty::<(&str, ModuleArg)>());
    }
    instances.append_to_component(&mut wasm);
    wasm
}

/// A model plugin with more core modules in it, which are compiled and never instantiated.
pub fn with_modules(module: &[u8], count: usize) -> Vec<u8> {
    let mut wasm = model(Model::default());
    for _ in 0..count {
        RawSection { id: ComponentSectionId::CoreModule as u8, data: module }.append_to_component(&mut wasm);
    }
    wasm
}

/// Wraps a core module as the component of a world in `guests.wit`.
fn component(text: &str, world: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut resolve = Resolve::default();
    resolve.push_dir(root.join("../../../wit")).unwrap();
    let package = resolve.push_str("guests.wit", include_str!("../guests/guests.wit")).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    let mut module = wat::parse_str(text).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}
