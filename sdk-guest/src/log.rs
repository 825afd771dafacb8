//! Logging through `wasi:logging`: lines appear in the plugin's log.
//!
//! ```
//! use aimass_sdk::{log, testing};
//! log::debug!("starting");
//! log::info!("classified {} files", 3);
//! log::warn!("low confidence");
//! log::error!("no model");
//! assert_eq!(testing::logged()[1].message, "classified 3 files");
//! ```

pub use crate::bindings::wasi::logging::logging::Level;
pub use crate::{log_debug as debug, log_error as error, log_info as info, log_warn as warn};

/// Writes one line. `context` says where it comes from; the macros pass the module's path.
///
/// ```
/// use aimass_sdk::{log, testing};
/// log::write(log::Level::Info, "start", "ready");
/// assert_eq!(testing::logged()[0].message, "ready");
/// ```
pub fn write(level: Level, context: &str, message: &str) {
    #[cfg(target_family = "wasm")]
    crate::bindings::wasi::logging::logging::log(level, context, message);
    #[cfg(not(target_family = "wasm"))]
    crate::testing::log(level, context, message);
}

/// Logs at level debug, with the arguments of [`format!`]. See [`log`](crate::log).
#[macro_export]
macro_rules! log_debug {
    ($($part:tt)+) => { $crate::log::write($crate::log::Level::Debug, module_path!(), &format!($($part)+)) };
}

/// Logs at level info, with the arguments of [`format!`]. See [`log`](crate::log).
#[macro_export]
macro_rules! log_info {
    ($($part:tt)+) => { $crate::log::write($crate::log::Level::Info, module_path!(), &format!($($part)+)) };
}

/// Logs at level warn, with the arguments of [`format!`]. See [`log`](crate::log).
#[macro_export]
macro_rules! log_warn {
    ($($part:tt)+) => { $crate::log::write($crate::log::Level::Warn, module_path!(), &format!($($part)+)) };
}

/// Logs at level error, with the arguments of [`format!`]. See [`log`](crate::log).
#[macro_export]
macro_rules! log_error {
    ($($part:tt)+) => { $crate::log::write($crate::log::Level::Error, module_path!(), &format!($($part)+)) };
}
