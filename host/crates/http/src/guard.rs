//! Checks the token before a handler runs, by the rule that stands beside the route.

use std::sync::Arc;

use aimass_core::{Code, Fault, Result};
use aimass_platform::{Caller, Scope};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::app::App;
use crate::console;
use crate::later::Vouched;
use crate::problem::Rejection;
use crate::repeat;
use crate::routes::Access;

/// A route's path and who may call it.
#[derive(Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) path: &'static str,
    pub(crate) access: Access,
}

/// The route that answered, for the metrics.
#[derive(Clone, Copy)]
pub(crate) struct Answered(pub(crate) &'static str);

pub(crate) async fn check(State(rule): State<Rule>, mut request: Request, next: Next) -> Response {
    if rule.access == Access::Session {
        let mut response = console::check(request, next).await;
        response.extensions_mut().insert(Answered(rule.path));
        return response;
    }
    let mut response = match authorise(rule.access, &mut request).await {
        Ok(()) => repeat::once(rule.path, request, next).await,
        Err(fault) => Rejection(fault).into_response(),
    };
    response.extensions_mut().insert(Answered(rule.path));
    response
}

async fn authorise(access: Access, request: &mut Request) -> Result<()> {
    if matches!(access, Access::Public | Access::Signed) {
        return Ok(());
    }
    let app = request.extensions().get::<Arc<App>>().cloned();
    let app = app.ok_or_else(|| Fault::internal("no app in the request"))?;
    let caller = match request.extensions().get::<Vouched>() {
        Some(Vouched { caller, .. }) => caller.clone(),
        None => caller(&app, request.headers()).await?,
    };
    match access {
        Access::Public | Access::Session | Access::Signed | Access::Token => {}
        Access::Tenant(scope) => {
            caller.require(scope)?;
            caller.tenant()?;
        }
        Access::TenantOrOperator(scope) => {
            if caller.require(Scope::Operator).is_err() {
                caller.require(scope)?;
                caller.tenant()?;
            }
        }
        Access::Operator => caller.require(Scope::Operator)?,
    }
    request.extensions_mut().insert::<Arc<Caller>>(caller);
    Ok(())
}

/// Who sends these headers.
pub(crate) async fn caller(app: &App, headers: &HeaderMap) -> Result<Arc<Caller>> {
    app.platform().authenticate(bearer(headers)?).await
}

/// The token of `Authorization: Bearer …`. Two such headers are none.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let token = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token)
        }),
        _ => None,
    };
    token.ok_or_else(|| Fault::new(Code::Unauthenticated, "a valid token is required"))
}
