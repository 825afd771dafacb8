//! `/fn/{tenant}/{plugin}[@version|:alias]/…`: HTTP functions.

use aimass_core::limits::{CALL_DEPTH, MAX_FUNCTION_BODY};
use aimass_core::{Fault, Name, ObjectRef, Result};
use aimass_platform::{Asked, CallOptions, Caller, ServedVersion};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderName, Request, Uri};

use crate::app::App;
use crate::console;
use crate::depth::Depth;
use crate::extract::whole_body;
use crate::guard::{Answered, caller};
use crate::later::{self, Head, Vouched};
use crate::request::RequestId;
use crate::{prefer, routing};

/// Where functions live.
pub(crate) const PREFIX: &str = "/fn/";

/// Calls the function that the path names. The guest sees the rest of the path, and what was taken off it in
/// `x-forwarded-prefix`; it never sees a token of the platform.
pub(crate) async fn call<B>(
    app: &App,
    mut request: Request<B>,
    depth: Depth,
    id: &RequestId,
    vouched: Option<Vouched>,
) -> Result<Response>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let target = Target::parse(request.uri())?;
    let platform = app.platform();
    let background = vouched.is_some();
    let caller = match vouched {
        Some(Vouched { caller, .. }) => Some(caller),
        None => caller(app, request.headers()).await.ok(),
    };
    let routing = routing::of(request.headers())?;
    if !background {
        // Nobody outside says this.
        request.headers_mut().remove(later::INVOCATION);
        request.headers_mut().remove(later::ATTEMPT);
        // The queue is a tenant's own: to others the preference is not applied.
        let own = caller.as_deref().filter(|c| c.tenant().is_ok_and(|tenant| *tenant.name() == target.tenant));
        if let Some(caller) = own.filter(|_| prefer::respond_async(request.headers())) {
            platform.may_call_function(caller, &target.tenant, &target.plugin, &routing)?;
            return accept(app, caller, target.plugin.name, request, depth, id).await;
        }
    }
    let trace = id.trace().clone();
    let options = CallOptions { depth: depth.0, background, routing, trace, ..CallOptions::default() };
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
    console::isolate(response.headers_mut());
    response.extensions_mut().insert(Answered(PREFIX));
    if let Some(ServedVersion(version)) = response.extensions().get().copied() {
        routing::served(&mut response, version);
    }
    Ok(response)
}

/// Takes a call in that may be made, to be run later.
async fn accept<B>(
    app: &App,
    by: &Caller,
    subject: Name,
    request: Request<B>,
    depth: Depth,
    id: &RequestId,
) -> Result<Response>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let head = Head::of(request.method(), request.uri(), request.headers())?;
    let body = whole_body(request.map(Body::new), MAX_FUNCTION_BODY).await?;
    let asked = Asked { by, request: id.as_str() };
    let mut response = later::accept(app, asked, head, subject, depth.0, body).await?;
    response.extensions_mut().insert(Answered(PREFIX));
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
