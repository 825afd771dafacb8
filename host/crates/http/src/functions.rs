//! `/fn/{tenant}/{plugin}[@version|:alias]/…`: HTTP functions.

use aimass_core::limits::CALL_DEPTH;
use aimass_core::{Fault, Name, ObjectRef, Result};
use aimass_platform::{CallOptions, ServedVersion};
use axum::body::Body;
use axum::response::Response;
use http::header::{AUTHORIZATION, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderName, Request, Uri};

use crate::app::{App, RequestId};
use crate::depth::Depth;
use crate::guard::{Answered, caller};
use crate::linger::Lingering;
use crate::routing;

/// Where functions live.
pub(crate) const PREFIX: &str = "/fn/";

/// Calls the function that the path names. The guest sees the rest of the path, and what was taken off it in
/// `x-forwarded-prefix`; it never sees a token of the platform.
pub(crate) async fn call(app: &App, mut request: Request<Lingering>, depth: Depth, id: &RequestId) -> Result<Response> {
    let target = Target::parse(request.uri())?;
    let platform = app.platform();
    let caller = caller(app, request.headers()).await.ok();
    let routing = routing::of(request.headers())?;
    let options = CallOptions { depth: depth.0, routing, ..CallOptions::default() };
    let headers = request.headers_mut();
    headers.remove(CALL_DEPTH);
    if caller.is_some() {
        headers.remove(AUTHORIZATION);
    }
    headers.insert(HeaderName::from_static("x-forwarded-prefix"), target.prefix);
    *request.uri_mut() = target.inner;
    let called = platform.function(caller.as_deref(), &target.tenant, &target.plugin, request, options, id.as_str());
    let response = called.await?;
    let mut response = response.map(Body::new);
    response.extensions_mut().insert(Answered(PREFIX));
    if let Some(ServedVersion(version)) = response.extensions().get().copied() {
        routing::served(&mut response, version);
    }
    Ok(response)
}

struct Target {
    tenant: Name,
    plugin: ObjectRef,
    prefix: HeaderValue,
    /// The request's URI without the prefix.
    inner: Uri,
}

impl Target {
    fn parse(uri: &Uri) -> Result<Self> {
        let path = uri.path();
        let rest = path.strip_prefix(PREFIX).ok_or_else(Fault::not_found)?;
        let (tenant, rest) = rest.split_once('/').ok_or_else(Fault::not_found)?;
        let (plugin, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let taken = PREFIX.len() + tenant.len() + 1 + plugin.len();
        let prefix = HeaderValue::from_str(&path[..taken]).map_err(Fault::internal)?;

        let query = uri.query();
        let mut inner = String::with_capacity(2 + rest.len() + query.map_or(0, str::len));
        inner.push('/');
        inner.push_str(rest);
        if let Some(query) = query {
            inner.push('?');
            inner.push_str(query);
        }
        let mut parts = uri.clone().into_parts();
        parts.path_and_query =
            Some(PathAndQuery::try_from(inner).map_err(|e| Fault::invalid("the path is not valid").caused_by(e))?);
        let inner = Uri::from_parts(parts).map_err(|e| Fault::invalid("the path is not valid").caused_by(e))?;
        Ok(Self { tenant: tenant.parse()?, plugin: plugin.parse()?, prefix, inner })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_sees_the_rest_of_the_path() {
        for (uri, prefix, inner) in [
            ("/fn/acme/hello", "/fn/acme/hello", "/"),
            ("/fn/acme/hello/", "/fn/acme/hello", "/"),
            ("/fn/acme/hello@2/a/b?c=d", "/fn/acme/hello@2", "/a/b?c=d"),
            ("/fn/acme/hello?x", "/fn/acme/hello", "/?x"),
        ] {
            let target = Target::parse(&uri.parse().unwrap()).unwrap();
            assert_eq!((target.prefix.to_str().unwrap(), target.inner.to_string().as_str()), (prefix, inner));
            assert_eq!(target.plugin.name.as_str(), "hello");
        }
        assert!(Target::parse(&"/fn/acme".parse().unwrap()).is_err());
        assert!(Target::parse(&"/fn/..%2f/hello".parse().unwrap()).is_err());
    }
}
