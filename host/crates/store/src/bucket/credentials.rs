//! What requests to a bucket are signed with, as it is sealed and opened.

use aimass_core::event::{BucketCredentials, BucketSource, Sealed};
use aimass_core::{Code, Fault, Name, Result};
use zeroize::Zeroizing;

use crate::seal::{Label, Seal};

/// Seals a trigger's credentials. They open for that trigger and that bucket only: whoever may change the trigger cannot
/// have them sent elsewhere.
///
/// # Errors
/// As [`Seal::seal`].
pub fn seal_credentials(
    seal: &Seal,
    trigger: &Name,
    source: &BucketSource,
    credentials: &BucketCredentials,
) -> Result<Sealed> {
    let text = Zeroizing::new(serde_json::to_vec(credentials).map_err(Fault::internal)?);
    seal.seal(label(&name(trigger, source)), &text)
}

/// Opens them.
///
/// # Errors
/// `integrity` if they are another trigger's or another bucket's.
pub fn open_credentials(
    seal: &Seal,
    trigger: &Name,
    source: &BucketSource,
    sealed: &Sealed,
) -> Result<BucketCredentials> {
    let text = seal.open(label(&name(trigger, source)), sealed)?;
    // What serde says of it might quote it.
    serde_json::from_slice(&text).map_err(|_| Fault::new(Code::Integrity, "the stored value is damaged"))
}

/// Neither a trigger's name nor a bucket's holds a slash, and the endpoint comes last.
fn name(trigger: &Name, source: &BucketSource) -> String {
    format!("{trigger}/{}/{}", source.bucket(), source.endpoint())
}

fn label(name: &str) -> Label<'_> {
    Label { kind: "bucket", name, version: 0 }
}
