//! The table of routes: method, path, who may call it, handler. The router and the authorisation tests read it.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, on};
use http::Method;

use crate::app::App;
use crate::console::{self, pages};
use crate::openapi::{Described, Operation, Schemas};
use crate::{api, grpc, guard, hooks, operations, repository, v2};
use aimass_platform::Scope;

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Public,
    /// Anybody whose request bears a valid signature; the use case checks it.
    Signed,
    /// Somebody who is signed in to the console; the use case decides by what is asked for. Others are shown the way in.
    Session,
    /// A valid token; the use case decides by what is asked for.
    Token,
    /// A token of a tenant that holds this scope.
    Tenant(Scope),
    /// A token that holds the scope, of a tenant or the operator's.
    TenantOrOperator(Scope),
    /// A token that holds the scope `operator`.
    Operator,
}

/// One route.
#[derive(Clone, Debug)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, with parameters in braces.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// Says what it takes and answers; none for what is no part of the described API.
    pub(crate) described: Option<fn(&mut Operation, &mut Schemas)>,
}

/// Every route behind the router. `/fn/…` has an access rule of its own, the plugin's policy.
pub fn routes() -> Vec<Route> {
    Table::all().routes
}

pub(crate) fn router(app: Arc<App>) -> Router {
    let table = Table::all();
    table.router.fallback(operations::unknown).method_not_allowed_fallback(operations::wrong_method).with_state(app)
}

struct Table {
    router: Router<Arc<App>>,
    routes: Vec<Route>,
}

impl Table {
    fn all() -> Self {
        use Access::{Operator, Public, Session, Signed, Tenant, TenantOrOperator, Token};
        let mut t = Self { router: Router::new(), routes: vec![] };
        let (get, put, post, delete) = (&Method::GET, &Method::PUT, &Method::POST, &Method::DELETE);
        let patch = &Method::PATCH;

        t.add(get, "/healthz", Public, operations::health);
        t.add(get, "/readyz", Public, operations::ready);
        t.add(get, "/metrics", Public, operations::metrics);
        t.add(get, "/.well-known/jwks.json", Public, operations::jwks);
        t.add(get, "/openapi.json", Public, operations::openapi);

        t.add(get, "/api/v1/tenants", Operator, api::tenants::list);
        t.add(post, "/api/v1/tenants", Operator, api::tenants::create);
        t.add(get, "/api/v1/tenants/{tenant}", Operator, api::tenants::show);
        t.add(patch, "/api/v1/tenants/{tenant}/limits", Operator, api::tenants::limit);
        t.add(delete, "/api/v1/tenants/{tenant}", Operator, api::keys::erase);
        t.add(get, "/api/v1/keys", Operator, api::keys::list);
        t.add(post, "/api/v1/keys", Operator, api::keys::rotate);
        t.add(get, "/api/v1/tenants/{tenant}/tokens", Operator, api::tokens::list_for);
        t.add(post, "/api/v1/tenants/{tenant}/tokens", Operator, api::tokens::mint_for);
        t.add(delete, "/api/v1/tenants/{tenant}/tokens/{jti}", Operator, api::tokens::revoke_for);

        t.add(get, "/api/v1/tokens", TenantOrOperator(Scope::TokensRead), api::tokens::list);
        t.add(post, "/api/v1/tokens", TenantOrOperator(Scope::TokensWrite), api::tokens::mint);
        t.add(delete, "/api/v1/tokens/{jti}", TenantOrOperator(Scope::TokensWrite), api::tokens::revoke);

        t.add(get, "/api/v1/signing-keys", Operator, api::signing_keys::list);
        t.add(post, "/api/v1/signing-keys", Operator, api::signing_keys::rotate);
        t.add(delete, "/api/v1/signing-keys/{kid}", Operator, api::signing_keys::revoke);

        t.add(get, "/api/v1/issuers", Tenant(Scope::IdentityRead), api::identity::issuers);
        t.add(post, "/api/v1/issuers", Tenant(Scope::IdentityWrite), api::identity::add_issuer);
        t.add(get, "/api/v1/issuers/{name}", Tenant(Scope::IdentityRead), api::identity::issuer);
        t.add(delete, "/api/v1/issuers/{name}", Tenant(Scope::IdentityWrite), api::identity::remove_issuer);
        t.add(post, "/api/v1/issuers/{name}/revocations", Tenant(Scope::IdentityWrite), api::identity::revoke);
        t.add(delete, "/api/v1/issuers/{name}/revocations", Tenant(Scope::IdentityWrite), api::identity::restore);
        t.add(get, "/api/v1/roles", Tenant(Scope::IdentityRead), api::identity::roles);
        t.add(post, "/api/v1/roles", Tenant(Scope::IdentityWrite), api::identity::set_role);
        t.add(get, "/api/v1/roles/{name}", Tenant(Scope::IdentityRead), api::identity::role);
        t.add(delete, "/api/v1/roles/{name}", Tenant(Scope::IdentityWrite), api::identity::delete_role);

        t.add(get, "/api/v1/audit", TenantOrOperator(Scope::AuditRead), api::audit::list);
        t.add(get, "/api/v1/audit/verify", Operator, api::audit::verify);
        t.add(get, "/api/v1/audit/checkpoint", Operator, api::audit::checkpoint);
        t.add(get, "/api/v1/audit/export", Operator, api::audit::export);

        t.add(get, "/api/v1/plugins", Tenant(Scope::PluginsRead), api::plugins::list);
        t.add(put, "/api/v1/plugins/{name}", Tenant(Scope::PluginsWrite), api::plugins::upload);
        t.add(get, "/api/v1/plugins/{name}", Tenant(Scope::PluginsRead), api::plugins::show);
        t.add(delete, "/api/v1/plugins/{name}", Tenant(Scope::PluginsWrite), api::plugins::delete);
        t.add(get, "/api/v1/plugins/{name}/versions", Tenant(Scope::PluginsRead), api::plugins::versions);
        t.add(get, "/api/v1/plugins/{name}/versions/{version}", Tenant(Scope::PluginsRead), api::plugins::version);
        t.add(
            delete,
            "/api/v1/plugins/{name}/versions/{version}",
            Tenant(Scope::PluginsWrite),
            api::deployments::delete_version,
        );
        t.add(get, "/api/v1/plugins/{name}/config", Tenant(Scope::PluginsRead), api::plugins::settings);
        t.add(put, "/api/v1/plugins/{name}/config", Tenant(Scope::PluginsWrite), api::plugins::replace_settings);
        t.add(get, "/api/v1/plugins/{name}/secrets", Tenant(Scope::PluginsRead), api::secrets::list);
        t.add(put, "/api/v1/plugins/{name}/secrets/{key}", Tenant(Scope::PluginsWrite), api::secrets::set);
        t.add(delete, "/api/v1/plugins/{name}/secrets/{key}", Tenant(Scope::PluginsWrite), api::secrets::delete);
        t.add(get, "/api/v1/plugins/{name}/logs", Tenant(Scope::PluginsRead), api::logs::tail);
        t.add(put, "/api/v1/plugins/{name}/access", Tenant(Scope::PluginsWrite), api::plugins::set_access);

        t.add(get, "/api/v1/plugins/{name}/aliases", Tenant(Scope::PluginsRead), api::deployments::aliases);
        t.add(get, "/api/v1/plugins/{name}/aliases/{alias}", Tenant(Scope::PluginsRead), api::deployments::alias);
        t.add(put, "/api/v1/plugins/{name}/aliases/{alias}", Tenant(Scope::PluginsWrite), api::deployments::set_alias);
        t.add(
            delete,
            "/api/v1/plugins/{name}/aliases/{alias}",
            Tenant(Scope::PluginsWrite),
            api::deployments::delete_alias,
        );
        t.add(
            post,
            "/api/v1/plugins/{name}/aliases/{alias}/promote",
            Tenant(Scope::PluginsWrite),
            api::deployments::promote,
        );
        t.add(
            post,
            "/api/v1/plugins/{name}/aliases/{alias}/rollback",
            Tenant(Scope::PluginsWrite),
            api::deployments::roll_back,
        );
        t.add(get, "/api/v1/plugins/{name}/deployments", Tenant(Scope::PluginsRead), api::deployments::deployments);
        t.add(post, "/api/v1/plugins/{name}/deployments", Tenant(Scope::PluginsWrite), api::deployments::deploy);
        t.add(get, "/api/v1/plugins/{name}/diff", Tenant(Scope::PluginsRead), api::deployments::diff);

        t.add(post, "/api/v1/plugins/{name}/events", Tenant(Scope::PluginsInvoke), api::events::tell);

        t.add(get, "/api/v1/uploads", Tenant(Scope::PluginsRead), api::upload::list);
        t.add(get, "/api/v1/uploads/{upload}", Tenant(Scope::PluginsRead), api::upload::show);

        t.add(get, "/api/v1/signers", Tenant(Scope::PluginsRead), api::signers::list);
        t.add(put, "/api/v1/signers/{signer}", Tenant(Scope::SignersWrite), api::signers::add);
        t.add(delete, "/api/v1/signers/{signer}", Tenant(Scope::SignersWrite), api::signers::remove);
        t.add(get, "/api/v1/signing", Tenant(Scope::PluginsRead), api::signers::required);
        t.add(put, "/api/v1/signing", Tenant(Scope::SignersWrite), api::signers::require);

        t.add(get, "/api/v1/models", Tenant(Scope::ModelsRead), api::models::list);
        t.add(put, "/api/v1/models/{name}", Tenant(Scope::ModelsWrite), api::models::upload);
        t.add(get, "/api/v1/models/{name}", Tenant(Scope::ModelsRead), api::models::show);
        t.add(delete, "/api/v1/models/{name}", Tenant(Scope::ModelsWrite), api::models::delete);
        t.add(get, "/api/v1/models/{name}/versions", Tenant(Scope::ModelsRead), api::models::versions);
        t.add(get, "/api/v1/models/{name}/versions/{version}", Tenant(Scope::ModelsRead), api::models::version);
        t.add(
            delete,
            "/api/v1/models/{name}/versions/{version}",
            Tenant(Scope::ModelsWrite),
            api::deployments::delete_version,
        );

        t.add(get, "/api/v1/models/{name}/aliases", Tenant(Scope::ModelsRead), api::deployments::aliases);
        t.add(get, "/api/v1/models/{name}/aliases/{alias}", Tenant(Scope::ModelsRead), api::deployments::alias);
        t.add(put, "/api/v1/models/{name}/aliases/{alias}", Tenant(Scope::ModelsWrite), api::deployments::set_alias);
        t.add(
            delete,
            "/api/v1/models/{name}/aliases/{alias}",
            Tenant(Scope::ModelsWrite),
            api::deployments::delete_alias,
        );
        t.add(
            post,
            "/api/v1/models/{name}/aliases/{alias}/promote",
            Tenant(Scope::ModelsWrite),
            api::deployments::promote,
        );
        t.add(
            post,
            "/api/v1/models/{name}/aliases/{alias}/rollback",
            Tenant(Scope::ModelsWrite),
            api::deployments::roll_back,
        );
        t.add(get, "/api/v1/models/{name}/deployments", Tenant(Scope::ModelsRead), api::deployments::deployments);
        t.add(post, "/api/v1/models/{name}/deployments", Tenant(Scope::ModelsWrite), api::deployments::deploy);
        t.add(get, "/api/v1/models/{name}/diff", Tenant(Scope::ModelsRead), api::deployments::diff);

        t.add(get, "/api/v1/files", Tenant(Scope::DataRead), api::files::list);
        t.add(put, "/api/v1/files/{file}", Tenant(Scope::DataWrite), api::files::store);
        t.add(get, "/api/v1/files/{file}", Tenant(Scope::DataRead), api::files::fetch);
        t.add(delete, "/api/v1/files/{file}", Tenant(Scope::DataWrite), api::files::delete);

        t.add(get, "/api/v1/jobs", Tenant(Scope::JobsRead), api::jobs::list);
        t.add(post, "/api/v1/jobs", Tenant(Scope::JobsWrite), api::jobs::create);
        t.add(get, "/api/v1/jobs/{job}", Tenant(Scope::JobsRead), api::jobs::show);
        t.add(delete, "/api/v1/jobs/{job}", Tenant(Scope::JobsWrite), api::jobs::cancel);
        t.add(get, "/api/v1/jobs/{job}/events", Tenant(Scope::JobsRead), api::jobs::events);

        t.add(get, "/api/v1/egress/rules", Tenant(Scope::EgressRead), api::egress::rules);
        t.add(put, "/api/v1/egress/rules/{host}", Tenant(Scope::EgressWrite), api::egress::allow);
        t.add(delete, "/api/v1/egress/rules/{host}", Tenant(Scope::EgressWrite), api::egress::remove);
        t.add(get, "/api/v1/egress/transfers", Tenant(Scope::EgressRead), api::egress::transfers);
        t.add(put, "/api/v1/egress/transfers/{from}/{to}", Tenant(Scope::EgressWrite), api::egress::allow_transfer);
        t.add(delete, "/api/v1/egress/transfers/{from}/{to}", Tenant(Scope::EgressWrite), api::egress::remove_transfer);
        t.add(get, "/api/v1/egress/region", Tenant(Scope::EgressRead), api::egress::region);
        t.add(put, "/api/v1/egress/region", Tenant(Scope::EgressWrite), api::egress::set_region);
        // As for calls: one of two scopes is needed.
        t.add(get, "/api/v1/invocations", Token, api::invocations::list);
        t.add(get, "/api/v1/invocations/{invocation}", Token, api::invocations::show);
        t.add(delete, "/api/v1/invocations/{invocation}", Token, api::invocations::cancel);
        t.add(get, "/api/v1/invocations/{invocation}/result", Token, api::invocations::result);
        t.add(post, "/api/v1/invocations/{invocation}/retry", Token, api::invocations::retry);
        t.add(get, "/api/v1/webhooks", Tenant(Scope::WebhooksRead), api::webhooks::list);
        t.add(post, "/api/v1/webhooks", Tenant(Scope::WebhooksWrite), api::webhooks::create);
        t.add(get, "/api/v1/webhooks/{webhook}", Tenant(Scope::WebhooksRead), api::webhooks::show);
        t.add(patch, "/api/v1/webhooks/{webhook}", Tenant(Scope::WebhooksWrite), api::webhooks::change);
        t.add(delete, "/api/v1/webhooks/{webhook}", Tenant(Scope::WebhooksWrite), api::webhooks::remove);
        t.add(post, "/api/v1/webhooks/{webhook}/secret", Tenant(Scope::WebhooksWrite), api::webhooks::renew_secret);
        t.add(post, "/api/v1/webhooks/{webhook}/test", Tenant(Scope::WebhooksWrite), api::webhooks::test);
        t.add(get, "/api/v1/webhooks/{webhook}/deliveries", Tenant(Scope::WebhooksRead), api::webhooks::deliveries);
        t.add(
            post,
            "/api/v1/webhooks/{webhook}/deliveries/{delivery}/retry",
            Tenant(Scope::WebhooksWrite),
            api::webhooks::retry,
        );
        t.add(get, "/api/v1/usage", Tenant(Scope::UsageRead), api::usage::own);
        t.add(get, "/api/v1/tenants/{tenant}/usage", Operator, api::usage::of_tenant);
        t.add(get, "/api/v1/quotas", Tenant(Scope::UsageRead), api::quotas::own);
        t.add(get, "/api/v1/tenants/{tenant}/quotas", Operator, api::quotas::of_tenant);

        t.add(get, "/api/v1/triggers", Tenant(Scope::TriggersRead), api::triggers::list);
        t.add(put, "/api/v1/triggers/{name}", Tenant(Scope::TriggersWrite), api::triggers::set);
        t.add(get, "/api/v1/triggers/{name}", Tenant(Scope::TriggersRead), api::triggers::show);
        t.add(delete, "/api/v1/triggers/{name}", Tenant(Scope::TriggersWrite), api::triggers::delete);
        t.add(post, "/api/v1/triggers/{name}/pause", Tenant(Scope::TriggersWrite), api::triggers::pause);
        t.add(post, "/api/v1/triggers/{name}/resume", Tenant(Scope::TriggersWrite), api::triggers::resume);
        t.add(post, "/api/v1/triggers/{name}/fire", Tenant(Scope::TriggersWrite), api::triggers::fire);
        t.add(get, "/api/v1/triggers/{name}/runs", Tenant(Scope::TriggersRead), api::triggers::runs);
        t.add(get, "/api/v1/triggers/{name}/runs/{run}", Tenant(Scope::TriggersRead), api::triggers::run);
        t.add(post, "/api/v1/triggers/{name}/runs/{run}/replay", Tenant(Scope::TriggersWrite), api::triggers::replay);
        t.plain(post, "/hooks/{tenant}/{name}", Signed, hooks::receive);

        t.add(get, "/v2", Public, v2::server);
        t.add(get, "/v2/health/live", Public, v2::live);
        t.add(get, "/v2/health/ready", Public, v2::server_ready);
        // One of two scopes is needed, `plugins:invoke` or `models:invoke`: the name says which.
        t.add(get, "/v2/models/{model}", Token, v2::metadata);
        t.add(get, "/v2/models/{model}/ready", Token, v2::ready);
        t.add(post, "/v2/models/{model}/infer", Token, v2::infer);
        t.add(get, "/v2/models/{model}/versions/{version}", Token, v2::metadata);
        t.add(get, "/v2/models/{model}/versions/{version}/ready", Token, v2::ready);
        t.add(post, "/v2/models/{model}/versions/{version}/infer", Token, v2::infer);
        t.add(get, "/v2/models/{model}/config", Token, v2::config);
        t.add(get, "/v2/models/{model}/versions/{version}/config", Token, v2::config);
        t.add(get, "/v2/models/{model}/stats", Token, repository::statistics);
        t.add(get, "/v2/models/{model}/versions/{version}/stats", Token, repository::statistics);
        // The protocol's own ambiguity: of a model that is called `stats`, ask for a version's metadata.
        t.add(get, "/v2/models/stats", Token, repository::all_statistics);
        t.add(post, "/v2/repository/index", Token, repository::index);
        t.add(post, "/v2/repository/models/{model}/load", Token, repository::load);
        t.add(post, "/v2/repository/models/{model}/unload", Token, repository::unload);

        // gRPC: a method is a POST to its service and name. The message names the model.
        t.plain(post, "/inference.GRPCInferenceService/ServerLive", Public, grpc::live);
        t.plain(post, "/inference.GRPCInferenceService/ServerReady", Public, grpc::ready);
        t.plain(post, "/inference.GRPCInferenceService/ServerMetadata", Public, grpc::server);
        t.plain(post, "/inference.GRPCInferenceService/ModelReady", Token, grpc::model_ready);
        t.plain(post, "/inference.GRPCInferenceService/ModelMetadata", Token, grpc::metadata);
        t.plain(post, "/inference.GRPCInferenceService/ModelConfig", Token, grpc::config);
        t.plain(post, "/inference.GRPCInferenceService/ModelInfer", Token, grpc::infer);
        t.plain(post, grpc::STREAM_INFER, Token, grpc::stream_infer);
        t.plain(post, "/inference.GRPCInferenceService/ModelStatistics", Token, grpc::statistics);
        t.plain(post, "/inference.GRPCInferenceService/RepositoryIndex", Token, grpc::index);
        t.plain(post, "/inference.GRPCInferenceService/RepositoryModelLoad", Token, grpc::load);
        t.plain(post, "/inference.GRPCInferenceService/RepositoryModelUnload", Token, grpc::unload);

        t.plain(get, "/console", Public, console::enter);
        t.plain(get, "/console/sign-in", Public, pages::sign_in_form);
        t.plain(post, "/console/sign-in", Public, pages::sign_in);
        t.plain(get, "/console/assets/{asset}", Public, pages::asset);
        t.plain(get, "/console/", Session, pages::overview);
        t.plain(post, "/console/sign-out", Session, pages::sign_out);
        t.plain(post, "/console/theme", Session, pages::set_theme);
        t.plain(get, "/console/search", Session, pages::search);
        t.plain(get, "/console/upload-plugin", Session, pages::upload::plugin_form);
        t.plain(get, "/console/upload-model", Session, pages::upload::model_form);
        t.plain(get, "/console/uploads/{upload}", Session, pages::upload::show);
        t.plain(get, "/console/plugins", Session, pages::plugins);
        t.plain(get, "/console/plugins/{name}", Session, pages::plugin);
        t.plain(get, "/console/plugins/{name}/versions/{version}", Session, pages::plugin_version);
        t.plain(post, "/console/plugins/{name}/versions/{version}/delete", Session, pages::delete_version);
        t.plain(post, "/console/plugins/{name}/upload", Session, pages::upload::plugin);
        t.plain(get, "/console/plugins/{name}/playground", Session, pages::playground::plugin);
        t.plain(post, "/console/plugins/{name}/infer", Session, pages::playground::infer);
        t.plain(post, "/console/plugins/{name}/function", Session, pages::playground::call_function);
        t.plain(get, "/console/plugins/{name}/logs", Session, pages::logs::show);
        t.plain(get, "/console/plugins/{name}/logs/events", Session, pages::logs::events);
        t.plain(get, "/console/plugins/{name}/settings", Session, pages::settings::plugin);
        t.plain(post, "/console/plugins/{name}/settings", Session, pages::settings::save);
        t.plain(post, "/console/plugins/{name}/secrets", Session, pages::secrets::set);
        t.plain(post, "/console/plugins/{name}/secrets/remove", Session, pages::secrets::remove);
        t.plain(post, "/console/plugins/{name}/access", Session, pages::settings::set_access);
        t.plain(post, "/console/plugins/{name}/delete", Session, pages::settings::delete_plugin);
        t.plain(get, "/console/models", Session, pages::models);
        t.plain(get, "/console/models/{name}", Session, pages::model);
        t.plain(get, "/console/models/{name}/versions/{version}", Session, pages::model_version);
        t.plain(post, "/console/models/{name}/versions/{version}/delete", Session, pages::delete_version);
        t.plain(post, "/console/models/{name}/upload", Session, pages::upload::model);
        t.plain(get, "/console/models/{name}/playground", Session, pages::playground::model);
        t.plain(post, "/console/models/{name}/infer", Session, pages::playground::infer);
        t.plain(get, "/console/models/{name}/settings", Session, pages::settings::model);
        t.plain(post, "/console/models/{name}/delete", Session, pages::settings::delete_model);
        t.plain(get, "/console/plugins/{name}/traffic", Session, pages::traffic::show);
        t.plain(post, "/console/plugins/{name}/traffic", Session, pages::traffic::deploy);
        t.plain(get, "/console/plugins/{name}/traffic/{alias}", Session, pages::traffic::alias_figures);
        t.plain(post, "/console/plugins/{name}/traffic/{alias}/canary", Session, pages::traffic::move_canary);
        t.plain(post, "/console/plugins/{name}/traffic/{alias}/promote", Session, pages::traffic::promote);
        t.plain(post, "/console/plugins/{name}/traffic/{alias}/rollback", Session, pages::traffic::roll_back);
        t.plain(post, "/console/plugins/{name}/traffic/{alias}/delete", Session, pages::traffic::delete);
        t.plain(get, "/console/plugins/{name}/compare", Session, pages::compare::show);
        t.plain(get, "/console/models/{name}/traffic", Session, pages::traffic::show);
        t.plain(post, "/console/models/{name}/traffic", Session, pages::traffic::deploy);
        t.plain(get, "/console/models/{name}/traffic/{alias}", Session, pages::traffic::alias_figures);
        t.plain(post, "/console/models/{name}/traffic/{alias}/canary", Session, pages::traffic::move_canary);
        t.plain(post, "/console/models/{name}/traffic/{alias}/promote", Session, pages::traffic::promote);
        t.plain(post, "/console/models/{name}/traffic/{alias}/rollback", Session, pages::traffic::roll_back);
        t.plain(post, "/console/models/{name}/traffic/{alias}/delete", Session, pages::traffic::delete);
        t.plain(get, "/console/models/{name}/compare", Session, pages::compare::show);
        t.plain(get, "/console/triggers", Session, pages::triggers::list);
        t.plain(post, "/console/triggers", Session, pages::triggers::create);
        t.plain(get, "/console/triggers/{name}", Session, pages::triggers::show);
        t.plain(post, "/console/triggers/{name}/fire", Session, pages::triggers::fire);
        t.plain(post, "/console/triggers/{name}/pause", Session, pages::triggers::pause);
        t.plain(post, "/console/triggers/{name}/resume", Session, pages::triggers::resume);
        t.plain(post, "/console/triggers/{name}/secret", Session, pages::triggers::renew_secret);
        t.plain(post, "/console/triggers/{name}/delete", Session, pages::triggers::delete);
        t.plain(post, "/console/triggers/{name}/runs/{run}/replay", Session, pages::triggers::replay);
        t.plain(get, "/console/calls", Session, pages::calls::list);
        t.plain(get, "/console/calls/{invocation}", Session, pages::calls::show);
        t.plain(post, "/console/calls/{invocation}/cancel", Session, pages::calls::cancel);
        t.plain(post, "/console/calls/{invocation}/retry", Session, pages::calls::retry);
        t.plain(get, "/console/webhooks", Session, pages::webhooks::list);
        t.plain(post, "/console/webhooks", Session, pages::webhooks::create);
        t.plain(get, "/console/webhooks/{webhook}", Session, pages::webhooks::show);
        t.plain(post, "/console/webhooks/{webhook}/test", Session, pages::webhooks::test);
        t.plain(post, "/console/webhooks/{webhook}/pause", Session, pages::webhooks::pause);
        t.plain(post, "/console/webhooks/{webhook}/resume", Session, pages::webhooks::resume);
        t.plain(post, "/console/webhooks/{webhook}/secret", Session, pages::webhooks::renew_secret);
        t.plain(post, "/console/webhooks/{webhook}/delete", Session, pages::webhooks::delete);
        t.plain(post, "/console/webhooks/{webhook}/deliveries/{delivery}/retry", Session, pages::webhooks::retry);
        t.plain(get, "/console/files", Session, pages::files::list);
        t.plain(get, "/console/files/{file}", Session, pages::files::fetch);
        t.plain(post, "/console/files/{file}/upload", Session, pages::files::upload);
        t.plain(post, "/console/files/{file}/delete", Session, pages::files::delete);
        t.plain(get, "/console/jobs", Session, pages::jobs::list);
        t.plain(post, "/console/jobs", Session, pages::jobs::create);
        t.plain(get, "/console/jobs/{job}", Session, pages::jobs::show);
        t.plain(get, "/console/jobs/{job}/events", Session, pages::jobs::events);
        t.plain(post, "/console/jobs/{job}/cancel", Session, pages::jobs::cancel);
        t.plain(get, "/console/usage", Session, pages::usage::show);
        t.plain(get, "/console/audit", Session, pages::audit::list);
        t.plain(get, "/console/tokens", Session, pages::tokens::list);
        t.plain(post, "/console/tokens", Session, pages::tokens::create);
        t.plain(post, "/console/tokens/{jti}/revoke", Session, pages::tokens::revoke);
        t.plain(get, "/console/egress", Session, pages::egress::show);
        t.plain(post, "/console/egress/allow", Session, pages::egress::allow);
        t.plain(post, "/console/egress/remove", Session, pages::egress::remove_rule);
        t.plain(post, "/console/egress/transfers/allow", Session, pages::egress::allow_transfer);
        t.plain(post, "/console/egress/transfers/remove", Session, pages::egress::remove_transfer);
        t.plain(post, "/console/egress/region", Session, pages::egress::set_region);
        t.plain(get, "/console/signers", Session, pages::signers::show);
        t.plain(post, "/console/signers/add", Session, pages::signers::add);
        t.plain(post, "/console/signers/{name}/remove", Session, pages::signers::remove);
        t.plain(post, "/console/signers/require", Session, pages::signers::require);
        t.plain(get, "/console/tenants", Session, pages::tenants::list);
        t.plain(post, "/console/tenants", Session, pages::tenants::create);
        t.plain(get, "/console/tenants/{tenant}", Session, pages::tenants::show);
        t.plain(post, "/console/tenants/{tenant}/limits", Session, pages::tenants::limit);
        t.plain(post, "/console/tenants/{tenant}/tokens", Session, pages::tokens::create_for);
        t.plain(post, "/console/tenants/{tenant}/tokens/{jti}/revoke", Session, pages::tokens::revoke_for);
        t
    }

    /// A route of the API: what it takes and answers has to have a schema.
    fn add<H, T>(&mut self, method: &Method, path: &'static str, access: Access, handler: H)
    where
        H: Handler<T, Arc<App>> + Described<T>,
        T: 'static,
    {
        self.plain(method, path, access, handler);
        if let Some(route) = self.routes.last_mut() {
            route.described = Some(H::describe);
        }
    }

    /// A route that is described elsewhere: gRPC by its `.proto`, a page by what it shows.
    fn plain<H, T>(&mut self, method: &Method, path: &'static str, access: Access, handler: H)
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        // The five methods above are the ones that exist here.
        let filter = match *method {
            Method::PUT => MethodFilter::PUT,
            Method::POST => MethodFilter::POST,
            Method::DELETE => MethodFilter::DELETE,
            Method::PATCH => MethodFilter::PATCH,
            _ => MethodFilter::GET,
        };
        let guarded = on(filter, handler).layer(from_fn_with_state(guard::Rule { path, access }, guard::check));
        self.router = std::mem::take(&mut self.router).route(path, guarded);
        self.routes.push(Route { method: method.clone(), path, access, described: None });
    }
}
