//! The console's files, part of the binary. A name holds the hash of what is in the file, so browsers keep it for ever.

use std::sync::LazyLock;

use aimass_core::{Digest, Fault};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use crate::extract::Params;
use crate::problem::Rejection;

/// Hex digits of the hash that stand in a name: 64 bits tell releases apart.
const HASH: usize = 16;

/// A file.
pub(super) struct Asset {
    bytes: Bytes,
    kind: &'static str,
    name: String,
}

impl Asset {
    fn new(stem: &str, extension: &str, kind: &'static str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let hash = Digest::of(&bytes).hex();
        Self { bytes, kind, name: format!("{stem}-{}.{extension}", &hash[..HASH]) }
    }

    fn script(stem: &str, text: impl Into<Bytes>) -> Self {
        Self::new(stem, "js", "text/javascript; charset=utf-8", text)
    }

    /// Where it is.
    pub(super) fn path(&self) -> String {
        format!("{}assets/{}", super::PREFIX, self.name)
    }
}

pub(super) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("console", "css", "text/css; charset=utf-8", include_str!("assets/console.css")));
pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("assets/icon.svg")));
pub(super) static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::script("console", include_str!("assets/console.js")));
pub(super) static PLAYGROUND: LazyLock<Asset> = LazyLock::new(|| {
    // It imports the other one, by the name that that has today.
    Asset::script("playground", include_str!("assets/playground.js").replace("console.js", &SCRIPT.name))
});

/// `/console/assets/{asset}`.
pub(crate) async fn serve(params: Params) -> Result<Response, Rejection> {
    let name = params.text("asset")?;
    let all: [&'static Asset; 4] = [&STYLE, &ICON, &SCRIPT, &PLAYGROUND];
    let asset = all.into_iter().find(|asset| asset.name == name).ok_or_else(Fault::not_found)?;
    let headers = [(CONTENT_TYPE, asset.kind), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((headers, asset.bytes.clone()).into_response())
}
