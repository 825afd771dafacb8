//! What tenants that share a node owe one another: short turns, shares by weight, limits, memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{ALL_SCOPES, Client, Server, aimass, onnx};

fn infer(client: &Client, model: &str, shape: &[u64]) -> crate::support::Answer {
    let data = vec![0.5; shape.iter().product::<u64>() as usize];
    let input = json!({ "name": "x", "datatype": "FP32", "shape": shape, "data": data });
    // The answer as bytes: JSON would take longer than the model.
    let output = json!({ "name": "y", "parameters": { "binary_data": true } });
    client.post(&format!("/v2/models/{model}/infer"), &json!({ "inputs": [input], "outputs": [output] }))
}

/// Runs `work` while so many callers ask for nothing but `model`, each at once again.
fn beside<T>(callers: usize, client: &Client, model: &str, shape: &[u64], work: impl FnOnce() -> T) -> T {
    /// Ends the callers also when the work fails.
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = End(&over);
        for _ in 0..callers {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    infer(client, model, shape).expect(200);
                }
            });
        }
        work()
    })
}

/// How many batches ran, by the number of requests in them.
fn batches(client: &Client, model: &str) -> Vec<(u64, u64)> {
    let stats = client.get(&format!("/v2/models/{model}/stats")).expect(200).json();
    let of = |b: &Value| (b["batch_size"].as_u64().unwrap(), b["compute_infer"]["count"].as_u64().unwrap());
    stats["model_stats"][0]["batch_stats"].as_array().unwrap().iter().map(of).collect()
}

fn count(batches: &[(u64, u64)], which: impl Fn(u64) -> bool) -> u64 {
    batches.iter().filter(|(size, _)| which(*size)).map(|(_, count)| count).sum()
}

const IMAGE: [u64; 4] = [1, 8, 28, 28];

#[test]
fn f57_a_flood_of_what_gains_nothing_is_not_joined_beside_others_nor_alone() {
    let server = Server::start_with(&["--gpu", "off"]);
    let (acme, globex) = (server.tenant("acme"), server.tenant("globex"));
    for client in [&acme, &globex] {
        client.put("/api/v1/models/net", &onnx::convolution_net()).expect(201);
        infer(client, "net", &IMAGE).expect(200);
    }
    beside(12, &acme, "net", &IMAGE, || thread::sleep(Duration::from_secs(2)));
    let alone = batches(&acme, "net");
    beside(12, &acme, "net", &IMAGE, || {
        for _ in 0..50 {
            infer(&globex, "net", &IMAGE).expect(200);
        }
    });
    let shared = batches(&acme, "net");
    println!("{alone:?}, then beside another tenant {shared:?}");
    // An examination takes up to six joined runs of a size, with the one that plans.
    assert!(count(&shared, |size| size == 1) >= 100, "{shared:?}");
    assert!(count(&shared, |size| size > 1) <= 12, "{shared:?}");
}

#[test]
fn requests_are_joined_where_that_was_measured_to_pay() {
    let server = Server::start_with(&["--gpu", "off", "--inference-threads", "1"]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/models/wide", &onnx::wide_net()).expect(201);
    infer(&acme, "wide", &[1, 1]).expect(200);
    beside(20, &acme, "wide", &[1, 1], || {
        let began = Instant::now();
        while count(&batches(&acme, "wide"), |size| size > 1) < 40 {
            assert!(began.elapsed() < Duration::from_secs(30), "{:?}", batches(&acme, "wide"));
            thread::sleep(Duration::from_millis(100));
        }
    });
    println!("{:?}", batches(&acme, "wide"));
}

fn limits(server: &Server, tenant: &str, change: Value) -> crate::support::Answer {
    let path = format!("/api/v1/tenants/{tenant}/limits");
    server.operator().send("PATCH", &path, &[("content-type", "application/json")], change.to_string().as_bytes())
}

#[test]
fn f57_a_weight_divides_the_engines_time_from_now_on() {
    let server = Server::start_with(&["--gpu", "off", "--inference-threads", "1"]);
    let (acme, globex) = (server.tenant("acme"), server.tenant("globex"));
    for client in [&acme, &globex] {
        client.put("/api/v1/models/net", &onnx::convolution_net()).expect(201);
        infer(client, "net", &IMAGE).expect(200);
    }
    let runs = |client: &Client| count(&batches(client, "net"), |_| true);
    let ratio = || {
        let before = (runs(&acme), runs(&globex));
        thread::sleep(Duration::from_secs(3));
        (runs(&acme) - before.0) as f64 / (runs(&globex) - before.1) as f64
    };
    let (even, uneven) = beside(6, &acme, "net", &IMAGE, || {
        beside(6, &globex, "net", &IMAGE, || {
            let even = ratio();
            limits(&server, "acme", json!({ "weight": 4 })).expect(200);
            (even, ratio())
        })
    });
    println!("acme's runs to globex's: {even:.2}, and with four times the weight {uneven:.2}");
    assert!((0.5..2.0).contains(&even), "{even}");
    assert!(uneven > 2.0 * even, "{even} {uneven}");
}

#[test]
fn f57_limits_hold_from_the_moment_they_are_set_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::on(folder.path(), &["--tenant-requests-per-second", "100000"]);
    let (acme, globex) = (server.tenant("acme"), server.tenant("globex"));
    for client in [&acme, &globex] {
        client.put("/api/v1/models/relu", &onnx::relu(4)).expect(201);
    }
    let refused =
        |client: &Client| (0..30).map(|_| infer(client, "relu", &[1, 4])).filter(|answer| answer.status == 429).count();
    assert_eq!(refused(&acme), 0);
    let shown = limits(&server, "acme", json!({ "requests_per_second": 2, "weight": 3 })).expect(200).json();
    assert_eq!(shown["limits"], json!({ "requests_per_second": 2, "weight": 3 }));
    assert!(refused(&acme) >= 20);
    assert_eq!(refused(&globex), 0);

    server.kill();
    let server = Server::on(folder.path(), &["--tenant-requests-per-second", "100000", "--tenant-calls", "7"]);
    let shown = server.operator().get("/api/v1/tenants/acme").expect(200).json();
    assert_eq!(shown["effective_limits"], json!({ "requests_per_second": 2, "weight": 3, "calls": 7 }));
    assert!(refused(&server.token("acme", ALL_SCOPES)) >= 20);
    // What is null is the node's again, and what is left out stays.
    let shown = limits(&server, "acme", json!({ "requests_per_second": null })).expect(200).json();
    assert_eq!(shown["limits"], json!({ "weight": 3 }));
    // The bucket may have been empty.
    assert!(refused(&server.token("acme", ALL_SCOPES)) <= 5);

    for (tenant, change) in [("acme", json!({ "weight": 0 })), ("acme", json!({ "wieght": 1 })), ("acme", json!(1))] {
        limits(&server, tenant, change).problem(400, "invalid_request");
    }
    limits(&server, "acme", json!({ "weight": 1_000_001 })).problem(400, "invalid_request");
    limits(&server, "nobody", json!({ "weight": 1 })).problem(404, "not_found");
}

#[test]
fn the_command_line_sets_and_shows_limits() {
    let server = Server::start();
    server.tenant("acme");
    let token = std::fs::read_to_string(server.data.join("operator.token")).unwrap();
    let run = |arguments: &[&str]| aimass(&[&["tenants", "--url", &server.url, "--token", &token], arguments].concat());
    let set = run(&["limits", "acme", "--weight", "4", "--calls", "9", "--engine-memory-mib", "64"]);
    assert!(set.contains("4 (its own)") && set.contains("no limit (the node's)"), "{set}");
    run(&["limits", "acme", "--calls", "default"]);
    let shown: Value = serde_json::from_str(&run(&["show", "acme", "--json"])).unwrap();
    assert_eq!(shown["limits"], json!({ "weight": 4, "engine_memory_mib": 64 }));
}

#[test]
fn a_tenant_that_used_up_its_memory_loses_its_own_models_first() {
    let server = Server::start_with(&["--gpu", "off", "--tenant-engine-memory-mib", "48"]);
    let (acme, globex) = (server.tenant("acme"), server.tenant("globex"));
    let loaded = |client: &Client| {
        let text = client.get("/metrics").expect(200).text();
        text.lines().filter(|line| line.starts_with("aimass_model_memory_bytes{")).count()
    };
    for client in [&acme, &globex] {
        client.put("/api/v1/models/one", &onnx::matrix(2048, 1)).expect(201);
        infer(client, "one", &[1, 2048]).expect(200);
    }
    for (name, seed) in [("two", 2), ("three", 3)] {
        acme.put(&format!("/api/v1/models/{name}"), &onnx::matrix(2048, seed)).expect(201);
        infer(&acme, name, &[1, 2048]).expect(200);
    }
    // 16 MiB as they came, and as much repacked.
    assert_eq!((loaded(&acme), loaded(&globex)), (1, 1));
    let evicted = |client: &Client| client.get("/metrics").expect(200).text().contains("evictions_total{tenant=");
    assert_eq!((evicted(&acme), evicted(&globex)), (true, false));
    // More room, and both stay.
    limits(&server, "acme", json!({ "engine_memory_mib": 200 })).expect(200);
    infer(&acme, "two", &[1, 2048]).expect(200);
    assert_eq!(loaded(&acme), 2);
    // Less, and they leave at once; what does not fit at all says so.
    let refused = limits(&server, "acme", json!({ "engine_memory_mib": 10 })).expect(200);
    assert_eq!(loaded(&acme), 0, "{}", refused.text());
    let answer = infer(&acme, "two", &[1, 2048]).expect(422);
    assert!(answer.text().contains("10 MiB together"), "{}", answer.text());
    acme.put("/api/v1/models/four", &onnx::matrix(2048, 4)).problem(422, "invalid_model");
    infer(&globex, "one", &[1, 2048]).expect(200);
}
