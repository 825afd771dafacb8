//! The plugin's settings and secrets, through `wasi:config`.
//!
//! ```
//! use aimass_sdk::{settings, testing};
//! testing::settings([("model", "magika")]); // in a test; the platform gives the real ones
//! assert_eq!(settings::get("model")?.as_deref(), Some("magika"));
//! # Ok::<(), aimass_sdk::Fault>(())
//! ```

use crate::Fault;

/// The value of a setting, if it is set.
///
/// # Errors
/// [`Fault::Unavailable`] if the platform cannot read it now.
///
/// ```
/// assert_eq!(aimass_sdk::settings::get("nothing")?, None);
/// # Ok::<(), aimass_sdk::Fault>(())
/// ```
pub fn get(key: &str) -> Result<Option<String>, Fault> {
    #[cfg(target_family = "wasm")]
    return crate::bindings::wasi::config::store::get(key).map_err(unavailable);
    #[cfg(not(target_family = "wasm"))]
    Ok(crate::testing::setting(key))
}

/// The value of a setting that the plugin cannot do without.
///
/// # Errors
/// As [`get`]; and [`Fault::Internal`] that names the setting if it is not set.
///
/// ```
/// let fault = aimass_sdk::settings::require("model").unwrap_err();
/// assert_eq!(fault.to_string(), "internal: the plugin's setting `model` is not set");
/// ```
pub fn require(key: &str) -> Result<String, Fault> {
    get(key)?.ok_or_else(|| Fault::internal(format!("the plugin's setting `{key}` is not set")))
}

/// Every setting, by key.
///
/// # Errors
/// As [`get`].
///
/// ```
/// use aimass_sdk::{settings, testing};
/// testing::settings([("a", "1"), ("b", "2")]);
/// assert_eq!(settings::all()?.len(), 2);
/// # Ok::<(), aimass_sdk::Fault>(())
/// ```
pub fn all() -> Result<Vec<(String, String)>, Fault> {
    #[cfg(target_family = "wasm")]
    return crate::bindings::wasi::config::store::get_all().map_err(unavailable);
    #[cfg(not(target_family = "wasm"))]
    Ok(crate::testing::all_settings())
}

#[cfg(target_family = "wasm")]
fn unavailable(error: crate::bindings::wasi::config::store::Error) -> Fault {
    use crate::bindings::wasi::config::store::Error::{Io, Upstream};
    let (Upstream(why) | Io(why)) = error;
    Fault::unavailable(format!("the settings: {why}"))
}
