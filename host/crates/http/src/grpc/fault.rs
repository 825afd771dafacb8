//! From a fault to a gRPC status, as [`crate::problem`] does it for HTTP.

use aimass_core::{Code, Fault};
use axum::body::Body;
use axum::response::Response;
use http::header::HeaderValue;
use http::{HeaderName, StatusCode};
use tonic::Status;

/// The gRPC status of a code.
///
/// What a tenant's own code did wrong is UNKNOWN (a server's "application throws exception"), never UNAVAILABLE:
/// clients send again what is unavailable, and a plugin that traps would trap again.
pub(crate) fn code(code: Code) -> tonic::Code {
    match code {
        Code::InvalidRequest | Code::InvalidName | Code::InvalidTensor => tonic::Code::InvalidArgument,
        Code::Unauthenticated => tonic::Code::Unauthenticated,
        Code::InsufficientScope | Code::CrossSite | Code::SignatureRequired | Code::UnknownSigner => {
            tonic::Code::PermissionDenied
        }
        Code::NotFound => tonic::Code::NotFound,
        Code::UploadInProgress => tonic::Code::Aborted,
        Code::Conflict
        | Code::PreconditionFailed
        | Code::IdempotencyKeyReused
        | Code::InvalidComponent
        | Code::UnsupportedImport
        | Code::CompileBudget
        | Code::NewImports
        | Code::InvalidSignature
        | Code::InvalidModel
        | Code::InvalidData
        | Code::UnsupportedDevice => tonic::Code::FailedPrecondition,
        Code::MethodNotAllowed | Code::UnsupportedMediaType | Code::UnsupportedOperation => tonic::Code::Unimplemented,
        // As every gRPC library answers a message that is too large.
        Code::PayloadTooLarge
        | Code::RateLimited
        | Code::QuotaExceeded
        | Code::StorageQuota
        | Code::PluginResourceLimit
        | Code::StorageFull => tonic::Code::ResourceExhausted,
        Code::PluginTrap | Code::PluginFault | Code::CallDepth => tonic::Code::Unknown,
        Code::PluginDeadline => tonic::Code::DeadlineExceeded,
        Code::Internal => tonic::Code::Internal,
        Code::Integrity => tonic::Code::DataLoss,
        Code::Unavailable | Code::Overloaded => tonic::Code::Unavailable,
    }
}

/// The fault as a status; its message is the same as in REST's `error`.
pub(crate) fn status(fault: &Fault) -> Status {
    Status::new(code(fault.code()), fault.to_string())
}

/// An answer that is nothing but the fault's status (gRPC's "Trailers-Only").
pub(crate) fn response(fault: &Fault) -> Response {
    let mut response = status(fault).into_http::<Body>();
    *response.status_mut() = StatusCode::OK;
    if let Some(after) = crate::problem::retry_after(fault) {
        // What gRPC's own retries obey (proposal A6).
        let millis = HeaderValue::from(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        response.headers_mut().insert(HeaderName::from_static("grpc-retry-pushback-ms"), millis);
    }
    response
}

/// What tonic says of a request's frames.
pub(super) fn framing(status: &Status) -> Fault {
    match status.code() {
        tonic::Code::OutOfRange => Fault::new(Code::PayloadTooLarge, format!("{:.200}", status.message())),
        _ => Fault::invalid(format!("the call is not valid gRPC: {:.200}", status.message())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aimass_core::Source;

    #[test]
    fn the_status_fits_whose_fault_it_is() {
        use tonic::Code as Grpc;
        for &reason in Code::ALL {
            let status = code(reason);
            // Sending it again, which clients do for UNAVAILABLE, helps only where the platform failed.
            assert_eq!(status == Grpc::Unavailable, matches!(reason, Code::Unavailable | Code::Overloaded), "{reason}");
            let platform = [Grpc::Internal, Grpc::DataLoss, Grpc::Unavailable, Grpc::ResourceExhausted];
            let plugin = [Grpc::Unknown, Grpc::DeadlineExceeded, Grpc::ResourceExhausted];
            match reason.source() {
                Source::Platform => assert!(platform.contains(&status), "{reason}"),
                Source::Plugin => assert!(plugin.contains(&status), "{reason}"),
                Source::Caller => assert!(
                    !platform[..3].contains(&status) && !plugin[..2].contains(&status) && status != Grpc::Ok,
                    "{reason}"
                ),
            }
        }
    }

    #[test]
    fn a_refusal_is_trailers_only_and_keeps_its_cause() {
        let response = response(&Fault::new(Code::Overloaded, "the queue is full").caused_by("secret"));
        let headers = response.headers();
        assert_eq!(
            (response.status(), &headers["content-type"]),
            (StatusCode::OK, &"application/grpc".parse().unwrap())
        );
        assert_eq!(
            (&headers["grpc-status"], &headers["grpc-retry-pushback-ms"]),
            (&"14".parse().unwrap(), &"1000".parse().unwrap())
        );
        assert_eq!(headers["grpc-message"], "overloaded:%20the%20queue%20is%20full");
        assert!(!format!("{headers:?}").contains("secret"));
    }
}
