//! What an upload says.

use aimass_core::{Code, Digest, ElementType, Port};

use crate::guests::{Model, crowded, hello, model, model_in};
use crate::support::{bench, call};

#[tokio::test]
async fn a_model_plugin_is_inspected_and_its_signature_kept() {
    let bench = bench();
    let wasm = model(Model::default());
    let found = bench.sandbox.inspect(call(), Digest::of(&wasm), wasm.into()).await.unwrap();
    assert_eq!(found.worlds, ["model-plugin"]);
    assert_eq!(found.exports, ["aimass:plugin/model@0.1.0"]);
    let signature = found.signature.unwrap();
    assert_eq!(signature.inputs, [Port::new("x", ElementType::Fp32, [-1])]);
    assert_eq!(signature.outputs, signature.inputs);
}

#[tokio::test]
async fn an_http_function_is_inspected() {
    let bench = bench();
    let wasm = hello();
    let found = bench.sandbox.inspect(call(), Digest::of(&wasm), wasm.into()).await.unwrap();
    assert_eq!(found.worlds, ["wasi:http/proxy"]);
    assert!(found.imports.contains(&"wasi:http/types@0.2.0".to_owned()));
    assert_eq!(found.signature, None);
}

#[tokio::test]
async fn f01_what_is_no_component_is_refused() {
    let bench = bench();
    let good = model(Model::default());
    let core = wat::parse_str("(module)").unwrap();
    for cut in [0, 4, 8, 9, good.len() / 2, good.len() - 1] {
        let fault = bench.refusal(good[..cut].to_vec()).await;
        assert_eq!(fault.code(), Code::InvalidComponent, "cut at {cut}: {fault}");
    }
    let fault = bench.refusal(core).await;
    assert_eq!(fault.code(), Code::InvalidComponent);
    assert!(fault.detail().contains("core module"), "{fault}");
    let nothing = wat::parse_str("(component)").unwrap();
    let fault = bench.refusal(nothing).await;
    assert_eq!(fault.code(), Code::InvalidComponent);
    assert!(fault.detail().contains("wasi:http/incoming-handler"), "says what is usable: {fault}");
    bench.assert_well().await;
}

#[tokio::test]
async fn f01_compiled_code_is_never_deserialised() {
    let bench = bench();
    let wasm = model(Model::default());
    let digest = Digest::of(&wasm);
    bench.load(wasm).await;
    // Our own cache file: as good as compiled code can look.
    let compiled = std::fs::read(bench.sandbox.compiled_path(&digest)).unwrap();
    let digest = Digest::of(&compiled);
    let fault = bench.sandbox.inspect(call(), digest, compiled.into()).await.unwrap_err();
    assert_eq!(fault.code(), Code::InvalidComponent);
    assert!(fault.detail().contains("compiled code"), "{fault}");
    assert!(!bench.sandbox.is_loaded(&digest));
    assert!(!bench.sandbox.compiled_path(&digest).exists());
}

#[tokio::test]
async fn f03_an_import_that_is_not_given_is_named() {
    let bench = bench();
    let imports = r#"(import "test:unknown/gadget@1.0.0" "turn" (func $turn))"#;
    let wasm = model_in("strange", Model { imports, infer: "(call $turn)", ..Model::default() });
    let compiled = bench.sandbox.compiled_path(&Digest::of(&wasm));
    let fault = bench.refusal(wasm).await;
    assert!(!compiled.exists(), "nothing of a refused component stays");
    assert_eq!(fault.code(), Code::UnsupportedImport);
    assert!(fault.detail().contains("test:unknown/gadget@1.0.0"), "{fault}");
}

#[tokio::test]
async fn what_fails_at_upload_leaves_nothing() {
    let bench = bench();
    let wasm = model(Model { fields: "(func $s unreachable) (start $s)", ..Model::default() });
    let digest = Digest::of(&wasm);
    assert_eq!(bench.refusal(wasm).await.code(), Code::PluginTrap);
    assert!(!bench.sandbox.is_loaded(&digest));
    assert!(!bench.sandbox.compiled_path(&digest).exists());
}

#[tokio::test]
async fn f17_huge_declared_minimums_are_refused() {
    let bench = bench();
    for wasm in [
        model(Model { pages: 60_000, ..Model::default() }),
        model(Model { fields: "(table 5000000 funcref)", ..Model::default() }),
        // Too many tables or memories for one component.
        crowded(40, 1, 1),
    ] {
        let fault = bench.refusal(wasm).await;
        assert_eq!(fault.code(), Code::InvalidComponent, "{fault}");
    }
    bench.assert_well().await;
}

#[tokio::test]
async fn features_that_are_off_are_refused() {
    let bench = bench();
    for fields in [
        "(memory i64 1)",
        "(memory 1 1 shared)",
        "(tag $t (param i32))",
        "(func (result i32) (struct.new $s) (drop) (i32.const 0)) (type $s (struct))",
    ] {
        // As a module inside of a component: these would not even fit the template.
        let Ok(wasm) = wat::parse_str(format!("(component (core module {fields}))")) else { panic!("{fields}") };
        assert_eq!(bench.refusal(wasm).await.code(), Code::InvalidComponent, "{fields}");
    }
}
