//! The request header `Prefer` (RFC 7240).

use http::HeaderMap;

/// The preferences, names in lower case, each with its value (empty if it has none). A preference that is not
/// understood is none (RFC 7240, section 2).
pub(crate) fn preferences(headers: &HeaderMap) -> impl Iterator<Item = (String, &str)> {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|preference| {
        // Parameters of a preference follow a semicolon; those that are known here have none.
        let preference = preference.split(';').next().unwrap_or_default().trim();
        let (name, value) =
            preference.split_once('=').map_or((preference, ""), |(name, value)| (name.trim_end(), value.trim_start()));
        (name.to_ascii_lowercase(), value.trim_matches('"'))
    })
}

/// Whether the client would rather be answered later.
pub(crate) fn respond_async(headers: &HeaderMap) -> bool {
    preferences(headers).any(|(name, _)| name == "respond-async")
}
