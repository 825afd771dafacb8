//! One error type for everything that a caller can be told.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Whose fault it is: this decides the class of an HTTP status, and who gets called at night.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The request cannot be served as it stands; sending it again changes nothing.
    Caller,
    /// The tenant's own code failed.
    Plugin,
    /// The platform failed, or is too busy.
    Platform,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $source:ident, $title:literal;)*) => {
        /// A stable, machine-readable reason. The text form is part of the API and never changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code, for documentation and tests.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// The code as it stands in a response, `snake_case`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// Whose fault it is.
            pub const fn source(self) -> Source {
                match self { $(Code::$name => Source::$source,)* }
            }

            /// A short sentence that is the same for every occurrence (RFC 9457 `title`).
            pub const fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// The request is malformed.
    InvalidRequest = "invalid_request", Caller, "The request is malformed";
    /// A name breaks the rules of [`crate::Name`].
    InvalidName = "invalid_name", Caller, "The name is not valid";
    /// Shape, type and bytes of a tensor do not fit, or it does not fit the signature.
    InvalidTensor = "invalid_tensor", Caller, "The tensor is not valid";
    /// No token, or one that is not valid. Never says why.
    Unauthenticated = "unauthenticated", Caller, "A valid token is required";
    /// The token is valid but lacks a scope.
    InsufficientScope = "insufficient_scope", Caller, "The token lacks a scope";
    /// A page of another site, or of a function, had the browser send it.
    CrossSite = "cross_site", Caller, "The request comes from another site";
    /// There is none, or it is somebody else's: the answer is the same.
    NotFound = "not_found", Caller, "Not found";
    /// The path exists, the method does not.
    MethodNotAllowed = "method_not_allowed", Caller, "The method is not allowed here";
    /// The state does not allow it (it exists already, it changed meanwhile).
    Conflict = "conflict", Caller, "The state does not allow it";
    /// Another upload under the same name is under way.
    UploadInProgress = "upload_in_progress", Caller, "Another upload under this name is under way";
    /// The `Idempotency-Key` came with another request before.
    IdempotencyKeyReused = "idempotency_key_reused", Caller, "The idempotency key was used for another request";
    /// `If-Match` does not hold.
    PreconditionFailed = "precondition_failed", Caller, "A precondition does not hold";
    /// The body is larger than the limit.
    PayloadTooLarge = "payload_too_large", Caller, "The body is too large";
    /// The content type is not one that this route takes.
    UnsupportedMediaType = "unsupported_media_type", Caller, "The content type is not supported";
    /// Not a valid WebAssembly component.
    InvalidComponent = "invalid_component", Caller, "The component is not valid";
    /// The component imports what the platform does not give.
    UnsupportedImport = "unsupported_import", Caller, "The component imports what the platform does not give";
    /// The component is too large or too slow to compile.
    CompileBudget = "compile_budget", Caller, "The component exceeds the compilation budget";
    /// The component imports what the version before did not, and the upload does not allow it.
    NewImports = "new_imports", Caller, "The component asks for more than the version before";
    /// The signature is not one of these bytes by that key.
    InvalidSignature = "invalid_signature", Caller, "The signature is not valid";
    /// The tenant wants its plugins signed.
    SignatureRequired = "signature_required", Caller, "A signature is required";
    /// The tenant wants its plugins signed by somebody whom it trusts.
    UnknownSigner = "unknown_signer", Caller, "The signer is not trusted";
    /// Not a model that can be served.
    InvalidModel = "invalid_model", Caller, "The model is not valid";
    /// Not data of the format that it is said to be, or not what the job needs.
    InvalidData = "invalid_data", Caller, "The data is not valid";
    /// The device that was asked for cannot serve this model.
    UnsupportedDevice = "unsupported_device", Caller, "The device cannot serve this model";
    /// The plugin does not export what the call needs.
    UnsupportedOperation = "unsupported_operation", Caller, "The plugin does not offer this";
    /// The tenant is over its rate or concurrency.
    RateLimited = "rate_limited", Caller, "Too many requests";
    /// The tenant has used what it may use in a day.
    QuotaExceeded = "quota_exceeded", Caller, "A quota of the day is used up";
    /// The tenant keeps as much as it may.
    StorageQuota = "storage_quota", Caller, "A quota of what is kept is used up";
    /// The guest trapped (or panicked, or overflowed its stack).
    PluginTrap = "plugin_trap", Plugin, "The plugin trapped";
    /// The guest wanted more than its limits.
    PluginResourceLimit = "plugin_resource_limit", Plugin, "The plugin exceeded a resource limit";
    /// The guest answered with a fault of its own.
    PluginFault = "plugin_fault", Plugin, "The plugin reported a fault";
    /// The guest did not end in time.
    PluginDeadline = "plugin_deadline", Plugin, "The plugin exceeded its deadline";
    /// Plugins call one another too deeply.
    CallDepth = "call_depth", Plugin, "Plugins call one another too deeply";
    /// A bug or a broken environment.
    Internal = "internal", Platform, "Internal error";
    /// Stored bytes are not what they were.
    Integrity = "integrity", Platform, "Stored data failed its integrity check";
    /// Temporarily not available; try again.
    Unavailable = "unavailable", Platform, "Temporarily unavailable";
    /// A queue or pool is full; try again.
    Overloaded = "overloaded", Platform, "The platform is overloaded";
    /// No room on the disk.
    StorageFull = "storage_full", Platform, "The storage is full";
}

impl Code {
    /// The code of that text form, if there is one.
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What went wrong, in two halves: `code` and `detail` are for the caller, `cause` stays in the log.
///
/// ```
/// use aimass_core::{Code, Fault};
/// let fault = Fault::new(Code::NotFound, "there is no plugin `file-type`").caused_by("view: no row");
/// assert_eq!(fault.code(), Code::NotFound);
/// assert_eq!(fault.to_string(), "not_found: there is no plugin `file-type`");
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {}", .0.code, .0.detail)]
pub struct Fault(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    code: Code,
    detail: String,
    retry_after: Option<Duration>,
    cause: Option<String>,
    version: Option<u64>,
}

impl Fault {
    /// A fault with a detail that may be shown to the caller: say what to do about it.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Inner { code, detail: detail.into(), retry_after: None, cause: None, version: None }))
    }

    /// A failure of the platform whose cause must not leak: the caller only learns that it happened.
    pub fn internal(cause: impl fmt::Display) -> Self {
        Self::new(Code::Internal, "the platform could not complete the request").caused_by(cause)
    }

    /// The one answer for what does not exist and for what belongs to somebody else.
    pub fn not_found() -> Self {
        Self::new(Code::NotFound, "there is no such object")
    }

    /// Malformed input.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, detail)
    }

    /// Adds what only the log may hold.
    #[must_use]
    pub fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// Tells the caller when to try again.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// Says which version of a plugin or model was asked when it happened.
    #[must_use]
    pub fn of_version(mut self, version: u64) -> Self {
        self.0.version = Some(version);
        self
    }

    /// The version that was asked, if one was.
    pub fn version(&self) -> Option<u64> {
        self.0.version
    }

    /// The stable reason.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The sentence for the caller.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The cause, for the log only.
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// When to try again, if that is known.
    pub fn retry(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_distinct_and_snake_case() {
        let texts: HashSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        assert!(texts.iter().all(|t| t.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
    }

    #[test]
    fn the_cause_is_not_displayed() {
        let fault = Fault::internal("disk /dev/sda1 is on fire");
        assert!(!fault.to_string().contains("sda1"));
        assert_eq!(fault.cause(), Some("disk /dev/sda1 is on fire"));
    }
}
