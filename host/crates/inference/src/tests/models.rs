//! Whole real models through the GPU path, compared with the CPU.
//!
//! They come from packages of PyPI, each checked by its SHA-256. The quick ones run always, and `AIMASS_MODELS=all`
//! runs all of them (`AIMASS_MODELS=resnet50,nudenet` these): minutes on a software device. `conformance/models.txt`
//! holds what became of each; one that changes fails the test, and `AIMASS_ACCEPT=1` writes what is so now.

mod real;
mod weights;

/// What the end-to-end tests fetch as well.
#[allow(dead_code, unreachable_pub)]
#[path = "../../../../../tests/support/files.rs"]
mod files;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../../../tests/support/python.rs"]
mod python;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use self::real::Real;
use super::*;
use crate::Tract;
use crate::backend::{Backend, LoadOptions};

/// A run on a software device that is busy with other tests.
const RUN_LIMIT: Duration = Duration::from_secs(300);

/// The repository's.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

#[test]
fn real_models_agree_with_the_cpu() {
    if let Err(reason) = crate::gpu::Gpu::default().device() {
        return println!("SKIPPED: no Vulkan device: {reason}");
    }
    let wanted = std::env::var("AIMASS_MODELS").unwrap_or_default();
    let named = |real: &&Real| match wanted.as_str() {
        "" => real.quick,
        "all" => true,
        names => names.split(',').any(|name| name == real.name),
    };
    let mut verdicts = BTreeMap::new();
    for real in real::ALL.iter().filter(named) {
        let start = Instant::now();
        let verdict = verdict(&weights::filled(fs::read((real.path)()).unwrap()));
        println!("{}: {verdict} ({:.1?})", real.name, start.elapsed());
        verdicts.insert(real.name.to_owned(), verdict);
    }
    assert!(!verdicts.is_empty(), "no model is called {wanted}");
    let wrong: Vec<_> = verdicts.iter().filter(|(_, verdict)| verdict.starts_with("wrong")).collect();
    assert!(wrong.is_empty(), "these differ from the CPU: {wrong:?}");
    keep(&verdicts);
}

/// `right, 1e-6`: the canary's error; `wrong`, with it; or `refused`, with the reason.
fn verdict(model: &[u8]) -> String {
    let options = LoadOptions { run_limit: RUN_LIMIT, ..LoadOptions::default() };
    let compared = Tract.load(model, &options).map_err(|refused| refused.0);
    match compared.and_then(|cpu| crate::gpu::lowered(model, cpu, &options)) {
        Ok(error) if error <= 1e-3 => format!("right, {error:.0e}"),
        Ok(error) => format!("wrong, {error:.0e}"),
        Err(reason) => format!("refused, {}", reason.replace('\n', " ")),
    }
}

/// Compares with the table. The words behind the comma are for people: devices round in their own ways.
fn keep(verdicts: &BTreeMap<String, String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/models.txt");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let mut table: BTreeMap<String, String> =
        text.lines().filter_map(|l| l.split_once(": ")).map(|(name, was)| (name.into(), was.into())).collect();
    let word = |verdict: &str| verdict.split(',').next().unwrap_or_default().to_owned();
    let changed: Vec<String> = (verdicts.iter())
        .filter(|(name, now)| table.get(*name).is_none_or(|was| word(was) != word(now)))
        .map(|(name, now)| format!("- {name}: {}\n+ {name}: {now}", table.get(name).map_or("", String::as_str)))
        .collect();
    if std::env::var_os("AIMASS_ACCEPT").is_some() {
        table.extend(verdicts.clone());
        let lines: Vec<String> = table.iter().map(|(name, verdict)| format!("{name}: {verdict}\n")).collect();
        fs::write(&path, lines.concat()).unwrap();
    } else {
        let (file, changes) = (path.display(), changed.join("\n"));
        assert!(changed.is_empty(), "changed against {file}\n{changes}\nAIMASS_ACCEPT=1 accepts it");
    }
}
