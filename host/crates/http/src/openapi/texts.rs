//! The sentences of the document. A row a route; a test fails for a route that has none.

/// What the document is about.
pub(super) const ABOUT: &str = "\
`/api/v1` is the platform's own API. Its refusals are problem details (RFC 9457) with a stable `code`. Lists come in \
pages: `next` of one is `after` of the one behind it, and null on the last. Each answer names its request in \
`x-request-id`.\n\n\
`/v2` is the Open Inference Protocol, for models and for plugins that are called like one, with its extensions for \
binary tensors, model configuration, repositories and statistics; over gRPC the same stands on the same port.\n\n\
`/fn/{tenant}/{plugin}[@version|:alias]/…`, which OpenAPI cannot describe, takes any method, path and body, and hands them to \
the plugin's `wasi:http` handler; the answer is the plugin's. It needs a token with the scope `plugins:invoke`, unless \
the plugin's access says that anybody may call it. When the platform fails and not the plugin, it answers with problem \
details.";

/// About the tokens.
pub(super) const TOKEN: &str = "\
A token that this node signed (`aimass tokens create`), or one of an identity provider that the tenant registered. The \
token says which tenant it is about. An operation names the scopes one of which it takes.";

/// Method, path, and what it does.
const SUMMARIES: &[(&str, &str, &str)] = &[
    ("GET", "/healthz", "Say whether the process lives"),
    ("GET", "/readyz", "Say whether the node serves"),
    ("GET", "/metrics", "Show the metrics (OpenMetrics)"),
    ("GET", "/.well-known/jwks.json", "Show the public keys of the node's tokens"),
    ("GET", "/openapi.json", "Show this document"),
    //
    ("GET", "/api/v1/tenants", "List tenants"),
    ("POST", "/api/v1/tenants", "Create a tenant"),
    ("GET", "/api/v1/tenants/{tenant}", "Show a tenant"),
    ("DELETE", "/api/v1/tenants/{tenant}", "Erase a tenant with all that it has, here and in every backup"),
    ("GET", "/api/v1/tenants/{tenant}/quotas", "Show what a tenant uses of what it may"),
    ("PATCH", "/api/v1/tenants/{tenant}/limits", "Change a tenant's limits"),
    ("GET", "/api/v1/tenants/{tenant}/tokens", "List a tenant's tokens"),
    ("POST", "/api/v1/tenants/{tenant}/tokens", "Create a token for a tenant"),
    ("DELETE", "/api/v1/tenants/{tenant}/tokens/{jti}", "Revoke a token of a tenant's"),
    ("GET", "/api/v1/tenants/{tenant}/usage", "Show what a tenant used, hour by hour"),
    //
    ("GET", "/api/v1/tokens", "List tokens"),
    ("POST", "/api/v1/tokens", "Create a token"),
    ("DELETE", "/api/v1/tokens/{jti}", "Revoke a token"),
    //
    ("GET", "/api/v1/signing-keys", "List the keys that the node signs tokens with"),
    ("POST", "/api/v1/signing-keys", "Sign with a new key from now on"),
    ("DELETE", "/api/v1/signing-keys/{kid}", "Refuse all that a key signed"),
    //
    ("GET", "/api/v1/issuers", "List identity providers"),
    ("POST", "/api/v1/issuers", "Register an identity provider"),
    ("GET", "/api/v1/issuers/{name}", "Show an identity provider"),
    ("DELETE", "/api/v1/issuers/{name}", "Accept an identity provider's tokens no longer"),
    ("POST", "/api/v1/issuers/{name}/revocations", "Refuse a key or a subject of a provider's"),
    ("DELETE", "/api/v1/issuers/{name}/revocations", "Accept a key or a subject of a provider's again"),
    ("GET", "/api/v1/roles", "List roles"),
    ("POST", "/api/v1/roles", "Make or replace a role"),
    ("GET", "/api/v1/roles/{name}", "Show a role"),
    ("DELETE", "/api/v1/roles/{name}", "Delete a role"),
    //
    ("GET", "/api/v1/audit", "List who did what"),
    ("GET", "/api/v1/audit/verify", "Check that the record is whole"),
    ("GET", "/api/v1/audit/checkpoint", "Sign where the record stands"),
    ("GET", "/api/v1/audit/export", "Export the record, so that others can check it"),
    //
    ("GET", "/api/v1/plugins", "List plugins"),
    ("PUT", "/api/v1/plugins/{name}", "Upload a plugin"),
    ("GET", "/api/v1/plugins/{name}", "Show a plugin with its newest version"),
    ("DELETE", "/api/v1/plugins/{name}", "Delete a plugin with all its versions"),
    ("GET", "/api/v1/plugins/{name}/versions", "List a plugin's versions"),
    ("GET", "/api/v1/plugins/{name}/versions/{version}", "Show a version of a plugin"),
    ("GET", "/api/v1/plugins/{name}/config", "Show a plugin's settings"),
    ("PUT", "/api/v1/plugins/{name}/config", "Replace a plugin's settings"),
    ("PUT", "/api/v1/plugins/{name}/access", "Say who may call a plugin under `/fn`"),
    ("DELETE", "/api/v1/plugins/{name}/versions/{version}", "Delete a version that serves nobody"),
    ("GET", "/api/v1/plugins/{name}/secrets", "List a plugin's secrets, without their values"),
    ("PUT", "/api/v1/plugins/{name}/secrets/{key}", "Set a secret of a plugin's"),
    ("DELETE", "/api/v1/plugins/{name}/secrets/{key}", "Delete a secret of a plugin's"),
    ("GET", "/api/v1/plugins/{name}/logs", "Show what a plugin's calls log, or follow it"),
    ("POST", "/api/v1/plugins/{name}/events", "Tell a plugin of an event (CloudEvents 1.0)"),
    ("GET", "/api/v1/plugins/{name}/aliases", "List a plugin's aliases"),
    ("GET", "/api/v1/plugins/{name}/aliases/{alias}", "Show which versions an alias means, and how they do"),
    ("PUT", "/api/v1/plugins/{name}/aliases/{alias}", "Say which versions an alias means"),
    ("DELETE", "/api/v1/plugins/{name}/aliases/{alias}", "Delete an alias"),
    ("POST", "/api/v1/plugins/{name}/aliases/{alias}/promote", "Let the canary serve all calls"),
    ("POST", "/api/v1/plugins/{name}/aliases/{alias}/rollback", "Let an alias mean again what it meant before"),
    ("GET", "/api/v1/plugins/{name}/deployments", "List the changes of a plugin's aliases"),
    ("POST", "/api/v1/plugins/{name}/deployments", "Let a version serve under an alias, at once or as a canary"),
    ("GET", "/api/v1/plugins/{name}/diff", "Show what is different between two versions"),
    //
    ("GET", "/api/v1/uploads", "List uploads that are compiled in the background"),
    ("GET", "/api/v1/uploads/{upload}", "Show how far an upload is"),
    //
    ("GET", "/api/v1/signers", "List whose signatures on plugins are trusted"),
    ("PUT", "/api/v1/signers/{signer}", "Trust a signer"),
    ("DELETE", "/api/v1/signers/{signer}", "Trust a signer no longer"),
    ("GET", "/api/v1/signing", "Show whether plugins must be signed"),
    ("PUT", "/api/v1/signing", "Say whether plugins must be signed"),
    //
    ("GET", "/api/v1/models", "List models"),
    ("PUT", "/api/v1/models/{name}", "Upload a model"),
    ("GET", "/api/v1/models/{name}", "Show a model with its newest version, and where it runs"),
    ("DELETE", "/api/v1/models/{name}", "Delete a model with all its versions"),
    ("GET", "/api/v1/models/{name}/versions", "List a model's versions"),
    ("GET", "/api/v1/models/{name}/versions/{version}", "Show a version of a model"),
    ("DELETE", "/api/v1/models/{name}/versions/{version}", "Delete a version that serves nobody"),
    ("GET", "/api/v1/models/{name}/aliases", "List a model's aliases"),
    ("GET", "/api/v1/models/{name}/aliases/{alias}", "Show which versions an alias means, and how they do"),
    ("PUT", "/api/v1/models/{name}/aliases/{alias}", "Say which versions an alias means"),
    ("DELETE", "/api/v1/models/{name}/aliases/{alias}", "Delete an alias"),
    ("POST", "/api/v1/models/{name}/aliases/{alias}/promote", "Let the canary serve all calls"),
    ("POST", "/api/v1/models/{name}/aliases/{alias}/rollback", "Let an alias mean again what it meant before"),
    ("GET", "/api/v1/models/{name}/deployments", "List the changes of a model's aliases"),
    ("POST", "/api/v1/models/{name}/deployments", "Let a version serve under an alias, at once or as a canary"),
    ("GET", "/api/v1/models/{name}/diff", "Show what is different between two versions"),
    //
    ("GET", "/api/v1/files", "List data files"),
    ("PUT", "/api/v1/files/{file}", "Upload a data file"),
    ("GET", "/api/v1/files/{file}", "Download a data file"),
    ("DELETE", "/api/v1/files/{file}", "Delete a data file"),
    //
    ("GET", "/api/v1/jobs", "List jobs"),
    ("POST", "/api/v1/jobs", "Begin a job, such as inference over every row of a data file"),
    ("GET", "/api/v1/jobs/{job}", "Show how far a job is"),
    ("DELETE", "/api/v1/jobs/{job}", "End a job"),
    ("GET", "/api/v1/jobs/{job}/events", "Follow a job to its end"),
    //
    ("GET", "/api/v1/egress/rules", "List where guests may send to"),
    ("PUT", "/api/v1/egress/rules/{host}", "Let guests send to a host"),
    ("DELETE", "/api/v1/egress/rules/{host}", "Let guests send to a host no longer"),
    ("GET", "/api/v1/egress/transfers", "List between which regions data may go"),
    ("PUT", "/api/v1/egress/transfers/{from}/{to}", "Let data go from one region to another"),
    ("DELETE", "/api/v1/egress/transfers/{from}/{to}", "Let data go from one region to another no longer"),
    ("GET", "/api/v1/egress/region", "Show where the tenant's data is"),
    ("PUT", "/api/v1/egress/region", "Say where the tenant's data is"),
    //
    ("GET", "/api/v1/usage", "Show what the tenant used, hour by hour"),
    ("GET", "/api/v1/quotas", "Show what is used of what may be"),
    //
    ("GET", "/api/v1/invocations", "List asynchronous calls"),
    ("GET", "/api/v1/invocations/{invocation}", "Show an asynchronous call"),
    ("DELETE", "/api/v1/invocations/{invocation}", "Call an asynchronous call off"),
    ("GET", "/api/v1/invocations/{invocation}/result", "Show what an asynchronous call was answered with"),
    ("POST", "/api/v1/invocations/{invocation}/retry", "Try a call again that was given up"),
    //
    ("GET", "/api/v1/triggers", "List what runs by itself"),
    ("PUT", "/api/v1/triggers/{name}", "Let a model or a plugin run by itself"),
    ("GET", "/api/v1/triggers/{name}", "Show a trigger, with its newest run"),
    ("DELETE", "/api/v1/triggers/{name}", "Delete a trigger, with the record of its runs"),
    ("POST", "/api/v1/triggers/{name}/pause", "Let a trigger rest"),
    ("POST", "/api/v1/triggers/{name}/resume", "Let a trigger fire again"),
    ("POST", "/api/v1/triggers/{name}/fire", "Fire a trigger now"),
    ("GET", "/api/v1/triggers/{name}/runs", "List a trigger's runs, newest first"),
    ("GET", "/api/v1/triggers/{name}/runs/{run}", "Show a run of a trigger's"),
    ("POST", "/api/v1/triggers/{name}/runs/{run}/replay", "Run once more what ran before"),
    //
    ("GET", "/api/v1/webhooks", "List where the tenant is told of what has ended"),
    ("POST", "/api/v1/webhooks", "Make an endpoint"),
    ("GET", "/api/v1/webhooks/{webhook}", "Show an endpoint"),
    ("PATCH", "/api/v1/webhooks/{webhook}", "Change an endpoint, or let its messages wait"),
    ("DELETE", "/api/v1/webhooks/{webhook}", "Delete an endpoint"),
    ("POST", "/api/v1/webhooks/{webhook}/secret", "Sign an endpoint's messages with a new secret"),
    ("POST", "/api/v1/webhooks/{webhook}/test", "Send an endpoint a message, to try it"),
    ("GET", "/api/v1/webhooks/{webhook}/deliveries", "List an endpoint's messages"),
    ("POST", "/api/v1/webhooks/{webhook}/deliveries/{delivery}/retry", "Send a message again that was given up"),
    //
    ("GET", "/api/v1/keys", "List the keys that seal what tenants bring"),
    ("POST", "/api/v1/keys", "Make a new key, and wrap every tenant's with it"),
    //
    ("GET", "/v2", "Show the server's metadata"),
    ("GET", "/v2/health/live", "Say whether the process lives"),
    ("GET", "/v2/health/ready", "Say whether the node serves"),
    ("GET", "/v2/models/{model}", "Show inputs and outputs"),
    ("GET", "/v2/models/{model}/versions/{version}", "Show inputs and outputs of a version"),
    ("GET", "/v2/models/{model}/ready", "Say whether it serves, and load it"),
    ("GET", "/v2/models/{model}/versions/{version}/ready", "Say whether a version serves, and load it"),
    ("POST", "/v2/models/{model}/infer", "Run inference"),
    ("POST", "/v2/models/{model}/versions/{version}/infer", "Run inference with a version"),
    ("GET", "/v2/models/{model}/config", "Show the configuration"),
    ("GET", "/v2/models/{model}/versions/{version}/config", "Show the configuration of a version"),
    ("GET", "/v2/models/{model}/stats", "Show statistics"),
    ("GET", "/v2/models/{model}/versions/{version}/stats", "Show statistics of a version"),
    ("GET", "/v2/models/stats", "Show statistics of all"),
    ("POST", "/v2/repository/index", "List what can be called"),
    ("POST", "/v2/repository/models/{model}/load", "Load it into memory"),
    ("POST", "/v2/repository/models/{model}/unload", "Take it out of memory"),
];

/// What a route does, in a line.
pub(super) fn summary(method: &str, path: &str) -> Option<&'static str> {
    SUMMARIES.iter().find(|row| (row.0, row.1) == (method, path)).map(|row| row.2)
}

/// What there is more to say of a route.
pub(super) fn more(method: &str, path: &str) -> Option<&'static str> {
    Some(match (method, path) {
        ("PATCH", "/api/v1/tenants/{tenant}/limits") => {
            "A merge patch (RFC 7396): what is left out stays, what is null is the node's again."
        }
        ("POST", "/api/v1/tokens" | "/api/v1/tenants/{tenant}/tokens") => "The token is shown this once.",
        ("DELETE", "/api/v1/issuers/{name}/revocations") => "One of the two is given.",
        ("PUT", "/api/v1/plugins/{name}") => {
            "The component is compiled and checked. The same bytes again make no new version."
        }
        ("PUT", "/api/v1/models/{name}") => {
            "The model is checked and loaded once. The same bytes again make no new version."
        }
        ("GET", "/api/v1/audit/verify") => {
            "With `records` and `head`, which are given together, also that this record is still there."
        }
        ("GET", "/metrics") => "With a tenant's token that tenant's models as well, with the operator's everybody's.",
        ("GET", "/v2/models/stats") => {
            "The protocol's own ambiguity: of a model that is called `stats`, ask for a version's metadata."
        }
        _ => return None,
    })
}

/// What the operations of a tag are about.
pub(super) fn of_tag(tag: &str) -> Option<&'static str> {
    Some(match tag {
        "audit" => "Who did what, in a chain that shows what was changed.",
        "egress" => "Where guests may send to, and across which regions.",
        "inference" => "The Open Inference Protocol v2.",
        "files" => "Data files: Parquet, CSV, newline-delimited JSON, or anything else.",
        "invocations" => "Asynchronous calls: `Prefer: respond-async` on a call makes one.",
        "keys" => "The keys that seal what tenants bring (the operator).",
        "issuers" => "Identity providers whose tokens a tenant accepts.",
        "models" => "ONNX models and their versions.",
        "node" => "For those who run the node.",
        "plugins" => "WebAssembly components and their versions.",
        "roles" => "Named sets of scopes.",
        "signers" | "signing" => "Whose signatures on plugins a tenant trusts.",
        "signing-keys" => "The keys that the node signs tokens with (the operator).",
        "tenants" => "Who uses the platform (the operator).",
        "tokens" => "Who may do what.",
        "quotas" => "What a tenant uses of what it may.",
        "triggers" => "What makes models and plugins run by themselves: times, events, webhooks, objects, figures.",
        "webhooks" => "Endpoints that are told of what has ended, by signed messages (Standard Webhooks).",
        "uploads" => "Plugins that are compiled in the background.",
        "usage" => "What a tenant used.",
        _ => return None,
    })
}
