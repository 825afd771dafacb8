//! The Web console: who gets in, what each may see, and that nobody else's page can act for who is signed in. What a
//! person sees of it is driven in a real browser.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use serde_json::json;

use crate::support::tls::{Pair, Secure, connect, trusting};
use crate::support::{ALL_SCOPES, Answer, Client, Server, files, guests, onnx, python, root};

/// Somebody who is signed in, as a browser keeps it.
pub struct Visitor {
    client: Client,
    pub cookie: String,
    form_key: String,
}

impl Visitor {
    pub fn sign_in(server: &Server, token: &str) -> Self {
        let client = server.anonymous();
        let answer = client.send("POST", "/console/sign-in", FORM, format!("token={token}").as_bytes()).expect(303);
        assert_eq!(answer.header("location"), "/console/");
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        let mut visitor = Self { client, cookie, form_key: String::new() };
        let page = visitor.get("/console/").expect(200).text();
        let key = page.split("name=\"form-key\" content=\"").nth(1).and_then(|rest| rest.split('"').next());
        visitor.form_key = key.unwrap().to_owned();
        visitor
    }

    pub fn get(&self, path: &str) -> Answer {
        self.client.send("GET", path, &[("cookie", &self.cookie)], b"")
    }

    /// Sends a form as one of the console's pages does.
    pub fn post(&self, path: &str, fields: &str) -> Answer {
        self.post_from(path, fields, &[])
    }

    fn post_from(&self, path: &str, fields: &str, headers: &[(&str, &str)]) -> Answer {
        let body = format!("form-key={}&{fields}", self.form_key);
        let all = [headers, FORM, &[("cookie", &self.cookie)]].concat();
        self.client.send("POST", path, &all, body.as_bytes())
    }

    /// Sends bytes as a script of the console's does.
    pub fn script(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let all = [headers, &[("cookie", self.cookie.as_str()), ("x-form-key", &self.form_key)]].concat();
        self.client.send("POST", path, &all, body)
    }
}

const FORM: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded")];

#[test]
fn a_token_opens_a_session_and_its_end_ends_it() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let anonymous = server.anonymous();
    let bad = anonymous.send("POST", "/console/sign-in", FORM, b"token=x.y.z&next=%2F%2Fevil.example").expect(401);
    assert!(bad.header("set-cookie").is_empty() && !bad.text().contains("evil"), "{}", bad.text());
    // Back to where it was to go, if that is the console.
    let way = anonymous.get("/console/plugins?after=a").expect(303);
    assert_eq!(way.header("location"), "/console/sign-in?next=%2Fconsole%2Fplugins%3Fafter%3Da");
    let fields = format!("token={}&next=%2Fconsole%2Fplugins", acme.token);
    let entered = anonymous.send("POST", "/console/sign-in", FORM, fields.as_bytes()).expect(303);
    assert_eq!(entered.header("location"), "/console/plugins");
    let cookie = entered.header("set-cookie");
    assert!(cookie.contains("; Path=/console/; HttpOnly; SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains(&acme.token[..20]), "the token itself is not in it");
    // A proxy that ends TLS is known by the browser's origin.
    let https = [FORM, &[("origin", "https://console.example"), ("host", "console.example")]].concat();
    let entered = anonymous.send("POST", "/console/sign-in", &https, fields.as_bytes()).expect(303);
    assert!(entered.header("set-cookie").starts_with("__Secure-") && entered.header("set-cookie").contains("; Secure"));

    let minted =
        acme.post("/api/v1/tokens", &json!({ "subject": "eve", "scopes": ["plugins:read"] })).expect(201).json();
    let eve = Visitor::sign_in(&server, minted["token"].as_str().unwrap());
    eve.get("/console/plugins").expect(200);
    acme.delete(&format!("/api/v1/tokens/{}", minted["jti"].as_str().unwrap())).expect(204);
    let out = eve.get("/console/plugins").expect(303);
    assert!(out.header("location").starts_with("/console/sign-in") && out.header("set-cookie").contains("Max-Age=0"));

    let visitor = Visitor::sign_in(&server, &acme.token);
    visitor.post("/console/sign-out", "").expect(303);
    visitor.get("/console/").expect(303);
    // Whoever follows a link from elsewhere is asked for the cookie a second time: the browser holds it back at first.
    let linked = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    let again = anonymous.send("GET", "/console/plugins", &linked, b"").expect(200).text();
    assert!(again.contains("http-equiv=\"refresh\"") && !again.contains("form-key"), "{again}");
}

#[test]
fn behind_tls_the_cookie_is_sent_over_nothing_else() {
    let pair = Pair::new();
    let secure = Secure::start(&pair, &[]);
    let token = std::fs::read_to_string(secure.server.data.join("operator.token")).unwrap();
    let form = format!("token={}", token.trim());
    let mut stream = connect(&secure.server, &trusting(&[&pair], &["http/1.1"])).unwrap();
    let head = "POST /console/sign-in HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
    write!(stream, "{head}content-type: {}\r\ncontent-length: {}\r\n\r\n{form}", FORM[0].1, form.len()).unwrap();
    let mut answer = String::new();
    // How it closes is no matter here.
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
    let cookie = answer.lines().find(|line| line.starts_with("set-cookie: ")).unwrap();
    assert!(cookie.contains("__Secure-aimass-console=") && cookie.contains("; Secure"), "{cookie}");
}

#[test]
fn nobody_elses_page_can_write() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/hello", guests::hello()).expect(201);
    let visitor = Visitor::sign_in(&server, &acme.token);
    let other = Visitor::sign_in(&server, &acme.token);
    let path = "/console/plugins/hello/access";
    let refused = |answer: Answer| assert_eq!(answer.status, 403, "{}", answer.text());
    refused(visitor.post_from(path, "public=yes", &[("origin", "https://evil.example")]));
    refused(visitor.post_from(path, "public=yes", &[("origin", "null")]));
    refused(visitor.post_from(path, "public=yes", &[("sec-fetch-site", "cross-site")]));
    refused(visitor.post_from(path, "public=yes", &[("sec-fetch-site", "same-site")]));
    let cookie = ("cookie", visitor.cookie.as_str());
    refused(visitor.client.send("POST", path, &[FORM, &[cookie]].concat(), b"public=yes"));
    let theirs = format!("public=yes&form-key={}", other.form_key);
    refused(visitor.client.send("POST", path, &[FORM, &[cookie]].concat(), theirs.as_bytes()));
    // What a form of another site can send without asking first.
    for kind in ["text/plain", "multipart/form-data; boundary=x"] {
        let own = format!("public=yes&form-key={}", visitor.form_key);
        refused(visitor.client.send("POST", path, &[("content-type", kind), cookie], own.as_bytes()));
    }
    refused(visitor.client.send("POST", path, &[("x-form-key", &other.form_key), cookie], b"public=yes"));
    let from_elsewhere = [FORM, &[("origin", "https://evil.example")]].concat();
    refused(server.anonymous().send(
        "POST",
        "/console/sign-in",
        &from_elsewhere,
        format!("token={}", acme.token).as_bytes(),
    ));
    assert_eq!(acme.get("/api/v1/plugins/hello").expect(200).json()["public"], false);
    visitor.post_from(path, "public=yes", &[("origin", &server.url), ("sec-fetch-site", "same-origin")]).expect(303);
    assert_eq!(acme.get("/api/v1/plugins/hello").expect(200).json()["public"], true);

    // A public function's page is served beside the console: it must not be able to act in it.
    let page = server.anonymous().get("/fn/acme/hello/").expect(200);
    assert!(page.header("content-security-policy").starts_with("sandbox "), "{:?}", page.headers);
    assert!(!page.header("content-security-policy").contains("allow-same-origin"));
}

#[test]
fn every_answer_keeps_the_policy() {
    let server = Server::start();
    let visitor = Visitor::sign_in(&server, &server.tenant("acme").token);
    for answer in [
        server.anonymous().get("/console/sign-in"),
        server.anonymous().get("/console/"),
        server.anonymous().get("/console/nothing"),
        visitor.get("/console/"),
        visitor.get("/console/plugins/none"),
    ] {
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin");
        assert_eq!(answer.header("cache-control"), "no-store");
        let text = answer.text();
        assert!(!text.contains(" style=") && !text.contains("<style") && !text.contains(" onclick"), "{text}");
        assert!(!text.contains("<script>") && !text.contains("javascript:"), "{text}");
    }
    let page = server.anonymous().get("/console/sign-in").text();
    for asset in page.split("/console/assets/").skip(1).filter_map(|rest| rest.split('"').next()) {
        let answer = server.anonymous().get(&format!("/console/assets/{asset}")).expect(200);
        assert!(answer.header("cache-control").contains("immutable"), "{asset}");
        server.anonymous().get(&format!("/console/assets/x{asset}")).expect(404);
    }
}

/// Pages of a tenant's, with the scope that each takes.
const PAGES: &[(&str, &str)] = &[
    ("/console/plugins", "plugins:read"),
    ("/console/plugins/hello", "plugins:read"),
    ("/console/plugins/hello/versions/1", "plugins:read"),
    ("/console/plugins/hello/playground", "plugins:invoke"),
    ("/console/plugins/hello/settings", "plugins:write"),
    ("/console/plugins/hello/traffic", "plugins:read"),
    ("/console/plugins/hello/traffic/prod", "plugins:read"),
    ("/console/plugins/hello/compare", "plugins:read"),
    ("/console/upload-plugin", "plugins:write"),
    ("/console/models", "models:read"),
    ("/console/models/tiny", "models:read"),
    ("/console/models/tiny/versions/1", "models:read"),
    ("/console/models/tiny/playground", "models:invoke"),
    ("/console/models/tiny/settings", "models:write"),
    ("/console/models/tiny/traffic", "models:read"),
    ("/console/models/tiny/compare", "models:read"),
    ("/console/upload-model", "models:write"),
    ("/console/usage", "usage:read"),
    ("/console/audit", "audit:read"),
    ("/console/tokens", "tokens:read"),
    ("/console/egress", "egress:read"),
    ("/console/signers", "plugins:read"),
];

/// What a tenant's pages send, with the scope that each takes. What is sent would be taken from who may.
const WRITES: &[(&str, &str, &str)] = &[
    ("/console/plugins/hello/settings", "key=a&value=b", "plugins:write"),
    ("/console/plugins/hello/versions/1/delete", "", "plugins:write"),
    ("/console/models/tiny/versions/1/delete", "", "models:write"),
    ("/console/plugins/hello/secrets", "key=a&value=b", "plugins:write"),
    ("/console/plugins/hello/secrets/remove", "key=a", "plugins:write"),
    ("/console/plugins/hello/access", "public=yes", "plugins:write"),
    ("/console/plugins/hello/traffic", "alias=prod&version=1", "plugins:write"),
    ("/console/plugins/hello/traffic/prod/canary", "percent=5", "plugins:write"),
    ("/console/plugins/hello/traffic/prod/promote", "", "plugins:write"),
    ("/console/plugins/hello/traffic/prod/rollback", "", "plugins:write"),
    ("/console/plugins/hello/traffic/prod/delete", "", "plugins:write"),
    ("/console/models/tiny/traffic", "alias=prod&version=1", "models:write"),
    ("/console/plugins/hello/delete", "confirm=hello", "plugins:write"),
    ("/console/models/tiny/delete", "confirm=tiny", "models:write"),
    ("/console/tokens", "subject=x&scope=plugins%3Aread", "tokens:write"),
    ("/console/tokens/JTI/revoke", "", "tokens:write"),
    ("/console/egress/allow", "host=a.example&ports=443", "egress:write"),
    ("/console/egress/remove", "host=payments.acme.example", "egress:write"),
    ("/console/egress/transfers/allow", "from=eu&to=us", "egress:write"),
    ("/console/egress/transfers/remove", "from=eu&to=us", "egress:write"),
    ("/console/egress/region", "region=eu", "egress:write"),
    ("/console/signers/add", "name=x&key=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8%3D", "signers:write"),
    ("/console/signers/ci/remove", "", "signers:write"),
    ("/console/signers/require", "required=yes", "signers:write"),
];

#[test]
fn each_page_takes_its_scope_and_shows_its_tenant_alone() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let other = Visitor::sign_in(&server, &server.tenant("other").token);
    acme.put("/api/v1/plugins/hello", guests::hello()).expect(201);
    acme.put("/api/v1/models/tiny", &onnx::relu(4)).expect(201);
    acme.put_json("/api/v1/plugins/hello/aliases/prod", &json!({ "version": 1 })).expect(200);
    acme.put_json("/api/v1/egress/rules/payments.acme.example", &json!({ "ports": [443] })).expect(200);
    acme.put_json("/api/v1/signers/ci", &json!({ "public_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" }))
        .expect(201);
    let victim =
        acme.post("/api/v1/tokens", &json!({ "subject": "victim", "scopes": ["plugins:read"] })).expect(201).json();
    let jti = victim["jti"].as_str().unwrap();

    let own = Visitor::sign_in(&server, &acme.token);
    for (path, scope) in PAGES {
        let weak: Vec<&str> = ALL_SCOPES.iter().copied().filter(|s| s != scope).collect();
        let weak = Visitor::sign_in(&server, &server.token("acme", &weak).token);
        let refused = weak.get(path).expect(403).text();
        assert!(refused.contains(scope), "{path}: {refused}");
        let shown = own.get(path).expect(200).text();
        assert!(shown.contains("<main") || path.ends_with("/prod"), "{path}");
        let theirs = other.get(path);
        let names_something = path.contains("hello") || path.contains("tiny");
        assert_eq!(theirs.status, if names_something { 404 } else { 200 }, "{path} as another tenant");
        for secret in ["hello", "tiny", "payments.acme.example", "AAECAwQF", "victim"] {
            assert!(names_something || !theirs.text().contains(secret), "{path} shows {secret} to another tenant");
        }
    }
    for (path, fields, scope) in WRITES {
        let path = &path.replace("JTI", jti);
        let weak: Vec<&str> = ALL_SCOPES.iter().copied().filter(|s| s != scope).collect();
        let weak = Visitor::sign_in(&server, &server.token("acme", &weak).token);
        weak.post(path, fields).expect(403);
        if ["hello", "tiny", jti, "/ci/"].iter().any(|name| path.contains(name)) {
            other.post(path, fields).expect(404);
        }
    }
    // Another tenant reaches none of it by a script, either.
    for (path, kind) in
        [("plugins/hello", "infer"), ("models/tiny", "infer"), ("plugins/hello", "function?method=GET&path=/")]
    {
        other.script(&format!("/console/{path}/{kind}"), &[], b"{\"inputs\":[]}").expect(404);
    }
    // And the operator's pages are the operator's; a tenant's things are not.
    let operator = Visitor::sign_in(&server, &server.operator().token);
    for path in ["/console/tenants", "/console/tenants/acme"] {
        own.get(path).expect(403);
        operator.get(path).expect(200);
    }
    for (path, fields) in [
        ("/console/tenants", "name=evil"),
        ("/console/tenants/acme/limits", "calls=1"),
        ("/console/tenants/acme/tokens", "subject=x&scope=plugins%3Aread"),
        (&format!("/console/tenants/acme/tokens/{jti}/revoke"), ""),
    ] {
        own.post(path, fields).expect(403);
    }
    operator.get("/console/plugins/hello").expect(403);
    operator.post("/console/plugins/hello/delete", "confirm=hello").expect(403);
    operator.get("/console/tenants/none").expect(404);

    // Nothing that was refused has happened.
    assert_eq!(acme.get("/api/v1/plugins/hello").expect(200).json()["public"], false);
    assert_eq!(acme.get("/api/v1/egress/rules").expect(200).json()["items"][0]["host"], "payments.acme.example");
    assert_eq!(acme.get("/api/v1/signers").expect(200).json()["items"].as_array().unwrap().len(), 1);
    server.with(victim["token"].as_str().unwrap()).get("/api/v1/plugins").expect(200);
    server.operator().get("/api/v1/tenants/evil").expect(404);
}

#[test]
fn what_is_written_in_the_console_is_what_the_api_shows() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/hello", guests::hello()).expect(201);
    let visitor = Visitor::sign_in(&server, &acme.token);
    visitor
        .post("/console/plugins/hello/settings", "key=greeting&value=%3Cscript%3E%0D%0Aline&key=&value=")
        .expect(303);
    let settings = acme.get("/api/v1/plugins/hello/config").expect(200).json();
    assert_eq!(settings, json!({ "greeting": "<script>\nline" }));
    let page = visitor.get("/console/plugins/hello/settings").expect(200).text();
    assert!(page.contains("The settings are saved.") && page.contains("&lt;script&gt;\nline"), "{page}");
    assert!(!visitor.get("/console/plugins/hello").text().contains("The settings are saved."), "said once");

    visitor.post("/console/plugins/hello/secrets", "key=api-key&value=+hunter%0D%0A2").expect(303);
    let secrets = acme.get("/api/v1/plugins/hello/secrets").expect(200).json();
    assert_eq!(secrets["items"][0]["key"], "api-key");
    let page = visitor.get("/console/plugins/hello/settings").expect(200).text();
    assert!(page.contains("api-key") && !page.contains("hunter"), "{page}");
    visitor.post("/console/plugins/hello/secrets/remove", "key=api-key").expect(303);
    assert!(acme.get("/api/v1/plugins/hello/secrets").expect(200).json()["items"].as_array().unwrap().is_empty());

    let minted = visitor.post("/console/tokens", "subject=%3Cb%3Eci&role=viewer&hours=1").expect(200).text();
    let token = minted.split("id=\"token\">").nth(1).and_then(|rest| rest.split('<').next()).unwrap();
    server.with(token).get("/api/v1/plugins").expect(200);
    server.with(token).delete("/api/v1/plugins/hello").problem(403, "insufficient_scope");
    let tokens = visitor.get("/console/tokens").expect(200).text();
    assert!(tokens.contains("&lt;b&gt;ci") && !tokens.contains(token), "shown once, and escaped");

    // The same limits and refusals as by the API: an upload that is none is told so, and nothing is stored.
    let refused = visitor.script("/console/plugins/bad/upload", &[], b"not a component").expect(422);
    assert!(refused.text().contains("The component is not valid"), "{}", refused.text());
    acme.get("/api/v1/plugins/bad").expect(404);
    visitor.script("/console/models/tiny/upload?device=cpu", &[], &onnx::relu(4)).expect(201);
    let request = br#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[-1,2,-3,4.5]}]}"#;
    let signature = acme.get("/api/v1/models/tiny").expect(200).json()["latest"]["signature"]["inputs"][0].clone();
    let request = String::from_utf8_lossy(request).replace("\"x\"", &signature["name"].to_string());
    let request = request.replace("[1,4]", &signature["shape"].to_string().replace("-1", "1"));
    let answer = visitor.script("/console/models/tiny/infer", &[], request.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("4.5") && !answer.text().contains("-1<"), "{}", answer.text());
    assert!(visitor.get("/console/").expect(200).text().contains("Calls a minute"), "it shows at once");

    let operator = Visitor::sign_in(&server, &server.operator().token);
    operator.post("/console/tenants", "name=globex").expect(303);
    operator
        .post("/console/tenants/globex/limits", "calls=7&weight=&requests_per_second=&engine_memory_mib=")
        .expect(303);
    assert_eq!(server.operator().get("/api/v1/tenants/globex").expect(200).json()["limits"], json!({ "calls": 7 }));
    operator
        .post("/console/tenants/globex/limits", "calls=&weight=&requests_per_second=&engine_memory_mib=")
        .expect(303);
    assert_eq!(server.operator().get("/api/v1/tenants/globex").expect(200).json()["limits"], json!({}));
    let audit = visitor.get("/console/audit?kind=settings_replaced").expect(200).text();
    assert!(audit.contains("settings_replaced") && !audit.contains("token_minted</code>"), "{audit}");
}

/// Debian's browser, if it is there.
pub fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("chromium")).find(|file| file.exists())
}

#[test]
fn a_person_uses_it_in_a_browser() {
    let Some(chromium) = chromium() else {
        println!("skipped: there is no chromium here (apt-get install chromium)");
        return;
    };
    let server = Server::start();
    let acme = server.tenant("acme");
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let magika = files::magika();
    acme.put("/api/v1/models/magika", &std::fs::read(&magika.model).unwrap()).expect(201);
    let plugin = file("file-type.wasm", guests::file_type());
    let function = file("hello.wasm", guests::hello());
    let second = file("counter.wasm", guests::counter());
    let model = file("image.onnx", &onnx::image());
    let shots = root().join("target/console");
    std::fs::create_dir_all(&shots).unwrap();
    let operator = server.operator();
    let text = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    let settings =
        json!({ "model": "magika", "config": text(&magika.config), "content_types": text(&magika.content_types) });
    let settings = file("settings.json", settings.to_string().as_bytes());
    let said = python::browser(
        "console.py",
        &[
            chromium.to_str().unwrap(),
            &server.url,
            &acme.token,
            &operator.token,
            shots.to_str().unwrap(),
            &plugin,
            &function,
            &second,
            &model,
            &settings,
        ],
    );
    println!("{said}");
    // What was done there is there.
    assert_eq!(acme.get("/api/v1/plugins/file-type").expect(200).json()["latest_version"], 1);
    assert_eq!(acme.get("/api/v1/models/picture").expect(200).json()["latest_version"], 1);
    assert_eq!(acme.get("/api/v1/egress/rules").expect(200).json()["items"][0]["host"], "api.example.com");
    let alias = acme.get("/api/v1/plugins/greet/aliases/prod").expect(200).json();
    assert_eq!(alias["split"], json!([{ "version": 1, "weight": 100, "configuration": 0 }]), "rolled back: {alias}");
    let history = acme.get("/api/v1/plugins/greet/deployments").expect(200).json();
    assert_eq!(
        history["items"][1]["route"]["split"][1],
        json!({ "version": 2, "weight": 40, "configuration": 0 }),
        "{history}"
    );
    let limits = operator.get("/api/v1/tenants/acme").expect(200).json()["limits"].clone();
    assert_eq!(limits, json!({ "calls": 50 }));
}
