//! Row 35: every route × {no token, another tenant's, too little scope}; a route that no rule covers fails.

use std::collections::BTreeSet;

use aimass_http::{Access, Route, routes};
use serde_json::json;

use crate::support::{ALL_SCOPES, Client, Server, guests};

/// The path with the first tenant's things in it.
fn concrete(route: &Route, jti: &str, run: &str, asset: &str) -> String {
    let model = if route.path.contains("{model}") { "hello" } else { "" };
    let name = if route.path.contains("/models/{name}") { "tiny" } else { "hello" };
    route
        .path
        .replace("{tenant}", "acme")
        .replace("{jti}", jti)
        .replace("{kid}", "k")
        .replace("{key}", "s")
        .replace("{upload}", "0198c0de000070008000000000000000")
        .replace("{webhook}", "done")
        .replace("{delivery}", "msg_0198c0de000070008000000000000000")
        .replace("{invocation}", "0198c0de000070008000000000000000")
        .replace("{signer}", "ci")
        .replace("{file}", "rows.csv")
        .replace("{job}", "0198c0de000070008000000000000000")
        .replace("{host}", "api.example.com")
        .replace("{alias}", "prod")
        .replace("{from}", "eu")
        .replace("{to}", "us")
        .replace("{run}", run)
        .replace("{name}", name)
        .replace("{model}", model)
        .replace("{version}", "1")
        .replace("{asset}", asset)
}

/// A call of gRPC: the message names the plugin. What a refusal says stands in the answer's head, so HTTP/1.1 will do;
/// its status is put in the words of the other routes.
fn grpc(client: &Client, path: &str) -> crate::support::Answer {
    let method = path.rsplit('/').next().unwrap();
    let named = |tag: u8| [&[tag, 5][..], b"hello"].concat();
    let message = match method {
        "ModelReady" | "ModelMetadata" | "ModelConfig" | "ModelInfer" | "ModelStatistics" | "ModelStreamInfer" => {
            named(0x0a)
        }
        "RepositoryModelLoad" | "RepositoryModelUnload" => named(0x12),
        _ => vec![],
    };
    let frame = [&[0, 0, 0, 0, message.len() as u8][..], &message].concat();
    let mut answer = client.send("POST", path, &[("content-type", "application/grpc")], &frame);
    assert_eq!(answer.status, 200, "{path}");
    answer.status = match answer.header("grpc-status") {
        "" => 200,
        "16" => 401,
        "7" => 403,
        "5" => 404,
        "12" => 422,
        other => panic!("{path}: {other} {}", answer.header("grpc-message")),
    };
    answer
}

fn call(client: &Client, route: &Route, path: &str) -> crate::support::Answer {
    if path.starts_with("/inference.") {
        return grpc(client, path);
    }
    client.send(route.method.as_str(), path, &[("content-type", "application/json")], b"{}")
}

#[test]
fn f35_every_route_is_guarded() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let other = server.tenant("other");
    acme.put("/api/v1/plugins/hello", guests::hello()).expect(201);
    acme.put("/api/v1/models/tiny", &crate::support::onnx::relu(4)).expect(201);
    let signer = json!({ "public_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" });
    acme.put_json("/api/v1/signers/ci", &signer).expect(201);
    for object in ["plugins/hello", "models/tiny"] {
        acme.put_json(&format!("/api/v1/{object}/aliases/prod"), &json!({ "version": 1 })).expect(200);
    }
    acme.put_json("/api/v1/egress/rules/api.example.com", &json!({ "ports": [443] })).expect(200);
    acme.put_json("/api/v1/egress/transfers/eu/us", &json!({ "purpose": "support" })).expect(200);
    acme.put("/api/v1/files/rows.csv", b"a,b\n1,2\n").expect(201);
    let webhook = json!({ "name": "done", "url": "https://hooks.example.com/" });
    acme.post("/api/v1/webhooks", &webhook).expect(201);
    let tokens = acme.get("/api/v1/tokens").expect(200).json();
    let jti = tokens["items"][0]["jti"].as_str().unwrap();

    let hourly = json!({ "on": { "cron": { "schedule": "@hourly" } }, "run": { "function": { "plugin": "hello" } } });
    acme.put_json("/api/v1/triggers/hello", &hourly).expect(201);
    let fired = acme.post("/api/v1/triggers/hello/fire", &json!({})).expect(202).json();
    let run = fired["id"].as_str().unwrap();
    let page = server.anonymous().get("/console/sign-in").expect(200).text();
    let asset = page.split("/console/assets/").nth(1).and_then(|rest| rest.split('"').next()).unwrap();

    let mut covered = BTreeSet::new();
    for route in routes() {
        let path = concrete(&route, jti, run, asset);
        let anonymous = call(&server.anonymous(), &route, &path);
        if route.access == Access::Public {
            // Whoever signs in without a token is nobody.
            let refused = route.method == "POST" && path == "/console/sign-in";
            assert!(anonymous.status < 400 || refused && anonymous.status == 401, "{path}: {}", anonymous.status);
            covered.insert((route.method.to_string(), route.path));
            continue;
        }
        if route.access == Access::Session {
            // What the console's pages give to whom is asked in `console`.
            let forged = [("cookie", "aimass-console=00; __Secure-aimass-console=00")];
            for answer in [anonymous, server.anonymous().send(route.method.as_str(), &path, &forged, b"form-key=00")] {
                assert_eq!(answer.status, 303, "{} {path} without a session: {}", route.method, answer.text());
                assert!(answer.header("location").starts_with("/console/sign-in"), "{path}");
            }
            covered.insert((route.method.to_string(), route.path));
            continue;
        }
        assert_eq!(anonymous.status, 401, "{} {path} without a token", route.method);
        if route.access == Access::Signed {
            // A token is no signature, whosever it is.
            for client in [&acme, &other, &server.operator()] {
                let refused = call(client, &route, &path).problem(401, "unauthenticated").json();
                assert_eq!(refused["detail"], anonymous.json()["detail"]);
            }
            covered.insert((route.method.to_string(), route.path));
            continue;
        }
        let is_grpc = path.starts_with("/inference.");
        assert!(is_grpc || anonymous.header("www-authenticate").starts_with("Bearer"));
        let forged = call(&server.with("eyJhbGciOiJub25lIn0.e30."), &route, &path);
        assert_eq!(forged.status, 401, "{} {path} with a forged token", route.method);

        let scopes: Vec<&str> = match route.access {
            Access::Tenant(needed) | Access::TenantOrOperator(needed) => {
                ALL_SCOPES.iter().copied().filter(|s| *s != needed.to_string()).collect()
            }
            Access::Token => ALL_SCOPES.iter().copied().filter(|s| !s.ends_with(":invoke")).collect(),
            Access::Operator => ALL_SCOPES.to_vec(),
            Access::Public | Access::Session | Access::Signed => unreachable!(),
        };
        let weak = call(&server.token("acme", &scopes), &route, &path);
        assert_eq!(weak.status, 403, "{} {path} with too little scope", route.method);

        let theirs = call(&other, &route, &path);
        let ends = |ends: &[&str]| ends.iter().any(|end| path.ends_with(end));
        let names_something =
            ["{name}", "{jti}", "{model}", "{upload}", "{signer}", "{job}", "{invocation}", "{webhook}"]
                .iter()
                .any(|part| route.path.contains(part));
        match route.access {
            // Lists of one's own; what is not there is not ready; errors of a stream stand in its messages.
            _ if is_grpc || ends(&["index", "stats"]) => {
                let own = ["ModelReady", "RepositoryIndex", "ModelStreamInfer", "repository/index", "models/stats"];
                assert_eq!(theirs.status, if ends(&own) { 200 } else { 404 }, "{path} as another tenant");
                let seen = theirs.text().contains("hello") || theirs.text().contains("tiny");
                assert!(!seen, "{path}: {}", theirs.text());
            }
            Access::Operator => assert_eq!(theirs.status, 403, "{} {path} as a tenant", route.method),
            // Rules are made in the caller's own tenant; a rule and a region want to be told which.
            _ if route.method == "PUT" && path.contains("/egress/") => {
                assert_eq!(theirs.status, if path.ends_with("/eu/us") { 200 } else { 400 }, "{path}");
            }
            // A data file may hold anything.
            _ if route.method == "PUT" && path.contains("/files/") => drop(theirs.expect(201)),
            _ if route.method == "GET" && path.ends_with("/rows.csv") => {
                assert_eq!(theirs.expect(200).text(), "{}", "its own");
            }
            _ if route.method == "DELETE" && path.ends_with("/rows.csv") => drop(theirs.expect(204)),
            _ if ["/aliases/", "/deployments", "/diff"].iter().any(|part| path.contains(part)) => {
                assert_eq!(theirs.status, if path.ends_with("/diff") { 400 } else { 404 }, "{} {path}", route.method);
            }
            _ if path.contains("/secrets/") => assert_eq!(theirs.status, 404, "{} {path}", route.method),
            // An upload goes into the caller's own tenant; these bytes are no component and no model.
            _ if route.method == "PUT" && (route.path.contains("/sign") || route.path.contains("/triggers/")) => {
                assert_eq!(theirs.status, 400, "{path} wants a body");
            }
            _ if route.method == "PUT" && !path.ends_with("/config") && !path.ends_with("/access") => {
                assert_eq!(theirs.status, 422, "{path}");
            }
            _ if path.ends_with("/access") => assert_eq!(theirs.status, 400, "{path} wants a body"),
            // Acme's own: the caller has just made the second one in its own tenant.
            _ if path.ends_with("/api.example.com") => assert_eq!(theirs.status, 404, "{path} as another tenant"),
            _ if route.method == "DELETE" && path.ends_with("/eu/us") => assert_eq!(theirs.status, 204, "{path}"),
            _ if names_something => assert_eq!(theirs.status, 404, "{} {path} as another tenant", route.method),
            _ if route.method == "GET" => {
                theirs.expect(200);
            }
            _ => assert_eq!(theirs.status, 400, "{} {path} with an empty wish", route.method),
        }
        covered.insert((route.method.to_string(), route.path));
    }
    let all: BTreeSet<_> = routes().into_iter().map(|r| (r.method.to_string(), r.path)).collect();
    assert_eq!(covered, all);
    // And nothing that the others tried has changed anything.
    assert_eq!(acme.get("/api/v1/plugins/hello/versions").expect(200).json()["items"].as_array().unwrap().len(), 1);
    let trigger = acme.get("/api/v1/triggers/hello").expect(200).json();
    assert_eq!((&trigger["paused"], &trigger["runs"]), (&json!(false), &json!(1)));
    assert_eq!(acme.get("/api/v1/models/tiny").expect(200).json()["latest_version"], 1);
    assert_eq!(acme.get("/api/v1/files/rows.csv").expect(200).text(), "a,b\n1,2\n");
    for object in ["plugins/hello", "models/tiny"] {
        let changes = acme.get(&format!("/api/v1/{object}/deployments")).expect(200).json();
        assert_eq!(changes["items"].as_array().unwrap().len(), 1, "{changes}");
    }
    assert_eq!(acme.get("/api/v1/egress/rules").expect(200).json()["items"].as_array().unwrap().len(), 1);
    assert_eq!(acme.get("/api/v1/egress/transfers").expect(200).json()["items"][0]["purpose"], "support");
}

#[test]
fn f36_somebody_elses_and_nobodys_look_alike() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let other = server.tenant("other");
    acme.put("/api/v1/plugins/hello", guests::hello()).expect(201);
    let strip = |mut problem: serde_json::Value| {
        problem["request_id"] = "".into();
        problem
    };
    for path in
        ["/api/v1/plugins/NAME", "/api/v1/plugins/NAME/versions", "/api/v1/plugins/NAME/config", "/fn/acme/NAME/"]
    {
        let theirs = other.get(&path.replace("NAME", "hello")).expect(404).json();
        let nobodys = other.get(&path.replace("NAME", "nobody")).expect(404).json();
        assert_eq!(strip(theirs), strip(nobodys), "{path}");
    }
    let theirs = other.post("/v2/models/hello/infer", &json!({ "inputs": [] })).expect(404).json();
    let nobodys = other.post("/v2/models/nobody/infer", &json!({ "inputs": [] })).expect(404).json();
    assert_eq!(theirs, nobodys);
    // A cursor that names somebody else's object shows nothing of it.
    let page = other.get("/api/v1/plugins?after=aaa").expect(200).json();
    assert_eq!(page["items"].as_array().unwrap().len(), 0);
    // Without a token a path says nothing about what exists.
    let known = server.anonymous().get("/fn/acme/hello/").expect(401).json();
    let unknown = server.anonymous().get("/fn/nobody/hello/").expect(401).json();
    assert_eq!(strip(known), strip(unknown));
}

#[test]
fn f37_smuggled_fields_are_refused() {
    let server = Server::start();
    let acme = server.tenant("acme");
    server.tenant("other");
    for body in [
        json!({ "subject": "x", "scopes": ["plugins:read"], "tenant": "other" }),
        json!({ "subject": "x", "scopes": ["plugins:read"], "scope": "operator" }),
        json!({ "subject": "x", "scopes": ["plugins:read"], "jti": "chosen" }),
    ] {
        acme.post("/api/v1/tokens", &body).problem(400, "invalid_request");
    }
    // What a token does not have it cannot give.
    acme.post("/api/v1/tokens", &json!({ "subject": "x", "scopes": ["operator"] })).problem(403, "insufficient_scope");
    let reader = server.token("acme", &["tokens:write", "plugins:read"]);
    let wish = json!({ "subject": "x", "scopes": ["plugins:write"] });
    reader.post("/api/v1/tokens", &wish).problem(403, "insufficient_scope");
    server.operator().post("/api/v1/tenants", &json!({ "name": "new", "id": 1 })).problem(400, "invalid_request");
    let wish = json!({ "subject": "x", "scopes": ["operator"] });
    server.operator().post("/api/v1/tenants/acme/tokens", &wish).problem(400, "invalid_request");
}

#[test]
fn f34_a_revoked_token_is_refused_at_once() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let minted =
        acme.post("/api/v1/tokens", &json!({ "subject": "ci", "scopes": ["plugins:read"] })).expect(201).json();
    let ci = server.with(minted["token"].as_str().unwrap());
    ci.get("/api/v1/plugins").expect(200);
    acme.delete(&format!("/api/v1/tokens/{}", minted["jti"].as_str().unwrap())).expect(204);
    ci.get("/api/v1/plugins").problem(401, "unauthenticated");
}

/// Rows 30–33 are tested claim by claim in `auth`; here the bodies that a caller sees are compared.
#[test]
fn f30_every_bad_token_gets_the_same_answer() {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let server = Server::start();
    let acme = server.tenant("acme");
    let [head, claims, signature] = acme.token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let kid = server.anonymous().get("/.well-known/jwks.json").expect(200).json()["keys"][0]["kid"].clone();
    let tokens = [
        format!("{}.{claims}.", encode(r#"{"alg":"none","typ":"JWT"}"#)),
        format!("{}.{claims}.{signature}", encode(&format!(r#"{{"alg":"HS256","kid":{kid}}}"#))),
        format!("{}.{claims}.{signature}", encode(r#"{"alg":"EdDSA","kid":"../../etc/passwd"}"#)),
        format!("{}.{claims}.{signature}", encode(&format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, "k".repeat(10_240)))),
        format!(
            "{}.{claims}.{signature}",
            encode(&format!(r#"{{"alg":"EdDSA","kid":{kid},"jku":"http://127.0.0.1/"}}"#))
        ),
        format!("{head}.{}.{signature}", encode(r#"{"sub":"x"}"#)),
        format!("{head}.{claims}.{}", encode("no signature")),
        format!("{head}.{claims}"),
        "x".to_owned(),
    ];
    let mut bodies = BTreeSet::new();
    for token in &tokens {
        let mut problem = server.with(token).get("/api/v1/plugins").problem(401, "unauthenticated").json();
        problem["request_id"] = "".into();
        bodies.insert(problem.to_string());
    }
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}
