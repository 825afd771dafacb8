//! What stands for the platform in a plugin's unit tests, which run on the host without WebAssembly.
//!
//! Everything belongs to the thread, that is, to the one test that runs on it: tests do not see one another.
//!
//! ```
//! use aimass_sdk::{kv, nn, settings, testing};
//! testing::settings([("model", "digits")]);
//! testing::model("digits", |_| Ok(vec![("score".into(), nn::Tensor::from_slice([1], &[0.5f32])?)]));
//!
//! let graph = nn::Graph::load_by_name(&settings::require("model")?)?;
//! let score = graph.compute::<&str>([])?.get("score")?.to_vec::<f32>()?;
//! assert_eq!(score, [0.5]);
//! # Ok::<(), aimass_sdk::Fault>(())
//! ```

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use crate::{log, nn};

/// What a registered model is.
pub(crate) type ModelFn = Rc<dyn Fn(Vec<(String, nn::Tensor)>) -> Result<Vec<(String, nn::Tensor)>, nn::Error>>;

#[derive(Default)]
struct Platform {
    settings: BTreeMap<String, String>,
    models: HashMap<String, ModelFn>,
    buckets: HashMap<String, BTreeMap<String, Vec<u8>>>,
    log: Vec<Line>,
}

thread_local! {
    static PLATFORM: RefCell<Platform> = RefCell::default();
}

/// A line that was logged.
///
/// ```
/// use aimass_sdk::{log, testing};
/// log::info!("ready");
/// let line = &testing::logged()[0];
/// assert_eq!((line.level, line.message.as_str()), (log::Level::Info, "ready"));
/// ```
#[derive(Clone, Debug)]
pub struct Line {
    /// Its level.
    pub level: log::Level,
    /// Where it comes from.
    pub context: String,
    /// Its text.
    pub message: String,
}

/// Replaces the plugin's settings.
///
/// ```
/// aimass_sdk::testing::settings([("threshold", "0.5")]);
/// assert_eq!(aimass_sdk::settings::get("threshold")?.as_deref(), Some("0.5"));
/// # Ok::<(), aimass_sdk::Fault>(())
/// ```
pub fn settings<K: Into<String>, V: Into<String>>(settings: impl IntoIterator<Item = (K, V)>) {
    let settings = settings.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
    PLATFORM.with_borrow_mut(|p| p.settings = settings);
}

/// Registers a closure as the model of this name.
///
/// ```
/// use aimass_sdk::{nn, testing};
/// testing::model("same", |inputs| Ok(inputs));
/// assert!(nn::Graph::load_by_name("same").is_ok());
/// ```
pub fn model<F>(name: impl Into<String>, run: F)
where
    F: Fn(Vec<(String, nn::Tensor)>) -> Result<Vec<(String, nn::Tensor)>, nn::Error> + 'static,
{
    PLATFORM.with_borrow_mut(|p| p.models.insert(name.into(), Rc::new(run)));
}

/// What was logged so far.
///
/// ```
/// aimass_sdk::log::warn!("careful");
/// assert_eq!(aimass_sdk::testing::logged().len(), 1);
/// ```
pub fn logged() -> Vec<Line> {
    PLATFORM.with_borrow(|p| p.log.clone())
}

pub(crate) fn setting(key: &str) -> Option<String> {
    PLATFORM.with_borrow(|p| p.settings.get(key).cloned())
}

pub(crate) fn all_settings() -> Vec<(String, String)> {
    PLATFORM.with_borrow(|p| p.settings.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
}

pub(crate) fn model_fn(name: &str) -> Option<ModelFn> {
    PLATFORM.with_borrow(|p| p.models.get(name).cloned())
}

pub(crate) fn log(level: log::Level, context: &str, message: &str) {
    let line = Line { level, context: context.to_owned(), message: message.to_owned() };
    PLATFORM.with_borrow_mut(|p| p.log.push(line));
}

pub(crate) fn with_bucket<R>(name: &str, work: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> R) -> R {
    PLATFORM.with_borrow_mut(|p| work(p.buckets.entry(name.to_owned()).or_default()))
}
