//! ONNX's own node tests, through the load path that tenants' models take, and a table of what came of each case.
//!
//! The 1,765 cases come with the package `onnx` 1.22.0. Every case runs in two [`Form`]s on every backend, and
//! `conformance/<backend>.txt` holds what became of it. A case that changes fails the test, better or worse; the
//! message names it. To accept what changed, run the test again with `AIMASS_ACCEPT=1`: it rewrites the table, and the
//! change shows in the diff of the commit.
//!
//! `cargo test -p aimass-inference nodes::tract` runs one backend. `AIMASS_NODES=test_conv` keeps the cases whose names
//! contain this (or a word of a list with commas), and prints every verdict with its reason; with `--nocapture` they
//! are seen.
//!
//! | verdict | meaning |
//! |---|---|
//! | right | the outputs are the expected ones: type, shape, and values as near as ONNX's own runner wants them |
//! | refused | no answer, and the reason in words: at the load, or at the run |
//! | wrong | an answer that is not the expected one |
//! | panicked | the engine panicked, although it was caught |

mod case;
mod compare;
mod constant;
mod table;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use aimass_toolchain::Cache;
use aimass_toolchain::onnxruntime::{Build, install};

use self::case::{Case, Form};
use self::table::{Table, Verdict};
use crate::backend::{Backend, LoadOptions, Loaded, Refused};
use crate::isolated;
use crate::{OnnxRuntime, Tract, gpu};

/// A case that needs longer hangs: the slowest takes seconds, unoptimised.
const LIMIT: Duration = Duration::from_secs(60);

/// What a backend must reach whatever its table says: this many right as the suite stands, and in constant form.
struct Floor(usize, usize);

#[test]
fn tract() {
    check("tract", &Floor(1_012, 1_226), true, |model| Tract.load(model, &LoadOptions::default()));
}

#[test]
fn wonnx() {
    let probe = gpu::Gpu::default();
    match probe.device() {
        Ok(device) => println!("on {} ({})", device.name, if device.software { "software" } else { "hardware" }),
        Err(reason) => return println!("SKIPPED: no Vulkan device: {reason}"),
    }
    check("wonnx", &Floor(500, 750), true, |model| {
        let options = LoadOptions::default();
        gpu::compared(model, &options, Tract.load(model, &options)?)
    });
}

#[test]
fn onnxruntime() {
    let installed = install(&Cache::user(), Build::Cpu).map_err(|e| e.to_string());
    let opened = installed.and_then(|library| OnnxRuntime::open(&library).map_err(|e| e.to_string()));
    let runtime = match opened {
        Ok(runtime) => runtime,
        Err(reason) => return println!("SKIPPED: no ONNX Runtime: {reason}"),
    };
    check("onnxruntime", &Floor(1_490, 1_490), false, move |model| runtime.load(model, &LoadOptions::default()));
}

type Load = Arc<dyn Fn(&[u8]) -> Result<Box<dyn Loaded>, Refused> + Send + Sync>;

/// Runs all cases, compares with the table (or rewrites it), and holds the backend to its floor. `never_wrong`: a wrong
/// answer or a panic fails the test even if the table has it.
#[track_caller]
fn check(
    backend: &str,
    floor: &Floor,
    never_wrong: bool,
    load: impl Fn(&[u8]) -> Result<Box<dyn Loaded>, Refused> + Send + Sync + 'static,
) {
    let mut cases = case::all();
    let wanted = std::env::var("AIMASS_NODES").unwrap_or_default();
    let words: Vec<&str> = wanted.split(',').filter(|w| !w.is_empty()).collect();
    if !words.is_empty() {
        cases.retain(|case| words.iter().any(|word| case.name.contains(word)));
    }
    let start = Instant::now();
    let table = run(cases, &(Arc::new(load) as Load));
    println!("{backend}: {} cases in {:.1} s\n{}", table.rows.len(), start.elapsed().as_secs_f64(), table.counts());

    if !words.is_empty() {
        table.rows.iter().for_each(|(name, row)| println!("{}", table::line(name, row)));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance").join(format!("{backend}.txt"));
    if let Err(changes) = table.keep(&path, words.is_empty(), std::env::var_os("AIMASS_ACCEPT").is_some()) {
        panic!(
            "{backend}: {} cases changed against {}\n{}\nTo accept this, run the test again with AIMASS_ACCEPT=1.",
            changes.len(),
            path.display(),
            changes.join("\n")
        );
    }
    if never_wrong {
        let bad =
            |row: &&String| table.rows[*row].iter().any(|v| matches!(v, Verdict::Wrong(_) | Verdict::Panicked(_)));
        let bad: Vec<String> = table.rows.keys().filter(bad).map(|name| table::line(name, &table.rows[name])).collect();
        assert!(bad.is_empty(), "{backend} must never be wrong, nor panic:\n{}", bad.join("\n"));
    }
    if words.is_empty() {
        for (form, floor) in Form::ALL.into_iter().zip([floor.0, floor.1]) {
            let right = table.rows.values().filter(|row| row[form as usize] == Verdict::Right).count();
            assert!(right >= floor, "{backend}, {}: {right} are right, and {floor} must be", form.name());
        }
    }
}

/// Every case in both forms, as many at a time as there are cores.
fn run(cases: Vec<Case>, load: &Load) -> Table {
    let (cases, next) = (cases.into_iter().map(Arc::new).collect::<Vec<_>>(), AtomicUsize::new(0));
    let rows = Mutex::new(Vec::new());
    let worker = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let start = Instant::now();
            let first = one(case, Form::AsItStands, load);
            // Nothing to make constant: the same file, and the same answer.
            let second = if case.inputs > 1 { one(case, Form::Constant, load) } else { first.clone() };
            if start.elapsed() > Duration::from_secs(2) {
                println!("slow: {} took {:.1} s", case.name, start.elapsed().as_secs_f64());
            }
            rows.lock().unwrap().push((case.name.clone(), [first, second]));
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| drop(scope.spawn(worker)));
    });
    Table { rows: rows.into_inner().unwrap().into_iter().collect() }
}

/// One case in one form, on a thread as the engines give to tenants' models.
fn one(case: &Arc<Case>, form: Form, load: &Load) -> Verdict {
    let (load, case) = (Arc::clone(load), Arc::clone(case));
    match isolated::run("node", LIMIT, move || verdict(&case, form, &load)) {
        Ok(verdict) => verdict,
        Err(lost) => Verdict::Panicked(lost.to_string()),
    }
}

fn verdict(case: &Case, form: Form, load: &Load) -> Verdict {
    let model = match load(&case.model(form)) {
        Ok(model) => model,
        Err(Refused(reason)) => return Verdict::without_answer(reason),
    };
    answer(case, form, model).unwrap_or_else(|verdict| verdict)
}

fn answer(case: &Case, form: Form, mut model: Box<dyn Loaded>) -> Result<Verdict, Verdict> {
    let signature = model.signature().clone();
    let inputs = case.inputs(form).map_err(Verdict::without_answer)?;
    signature.check_inputs(&inputs).map_err(|fault| Verdict::without_answer(fault.detail().to_owned()))?;
    let outputs = model.run(inputs).map_err(|error| Verdict::without_answer(error.to_string()))?;
    let expected = case.outputs().map_err(Verdict::Wrong)?;
    if outputs.len() != expected.len() || signature.outputs.len() != outputs.len() {
        return Err(Verdict::Wrong(format!("{} outputs, and {} are expected", outputs.len(), expected.len())));
    }
    for ((output, expected), port) in outputs.iter().zip(&expected).zip(&signature.outputs) {
        compare::same(output, expected).map_err(|why| Verdict::Wrong(format!("`{}`: {why}", port.name)))?;
        port.accepts(output).map_err(|fault| Verdict::Wrong(format!("its signature lies: {}", fault.detail())))?;
    }
    Ok(Verdict::Right)
}
