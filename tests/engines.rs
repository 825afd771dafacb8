//! Engine processes that are killed, hang and eat memory, seen by those who call.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Answer, Client, Server, eventually, figure, onnx};

fn infer(client: &Client, model: &str, columns: usize) -> Answer {
    let input = json!({ "name": "x", "datatype": "FP32", "shape": [1, columns], "data": vec![1.0; columns] });
    client.post(&format!("/v2/models/{model}/infer"), &json!({ "inputs": [input] }))
}

fn unavailable(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.headers.contains_key("retry-after"));
}

#[test]
fn f59_an_engine_killed_under_load_fails_its_own_calls_and_is_back_soon() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/models/relu", &onnx::relu(4)).expect(201);
    acme.put("/api/v1/models/slow", &onnx::slow()).expect(201);
    infer(&acme, "relu", 4).expect(200);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| infer(&acme, "slow", 1));
        std::thread::sleep(Duration::from_millis(700));
        let engine = server.engine().unwrap();
        let killed = Instant::now();
        assert!(std::process::Command::new("kill").args(["-9", &engine.to_string()]).status().unwrap().success());
        unavailable(&slow.join().unwrap());
        // What comes meanwhile is answered, one way or the other.
        loop {
            let answer = infer(&acme, "relu", 4);
            if answer.status == 200 {
                break;
            }
            unavailable(&answer);
        }
        println!("served again {:?} after the kill", killed.elapsed());
        assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
        assert_ne!(server.engine(), Some(engine));
    });
    server.anonymous().get("/readyz").expect(200);
}

#[test]
fn f59_a_model_that_eats_memory_is_quarantined_and_named_and_others_are_served() {
    let server = Server::start_with(&["--engine-memory-mib", "300"]);
    let (acme, globex) = (server.tenant("acme"), server.tenant("globex"));
    acme.put("/api/v1/models/eater", &onnx::eater(900)).expect(201);
    globex.put("/api/v1/models/relu", &onnx::relu(4)).expect(201);
    infer(&globex, "relu", 4).expect(200);
    let mut deaths = 0;
    let quarantined = loop {
        let answer = infer(&acme, "eater", 1);
        unavailable(&answer);
        if answer.text().contains("quarantined") {
            break answer;
        }
        deaths += usize::from(answer.text().contains("ended while"));
        assert!(deaths <= 3, "{}", answer.text());
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(deaths, 3, "{}", quarantined.text());
    eventually("the other tenant is served", Duration::from_secs(3), || infer(&globex, "relu", 4).status == 200);
    // The same bytes under another name are the same model, and another tenant's are not.
    acme.put("/api/v1/models/again", &onnx::eater(900)).expect(201);
    assert!(infer(&acme, "again", 1).text().contains("quarantined"));
}

#[test]
fn f59_an_engine_that_hangs_is_replaced() {
    let server = Server::start_with(&["--call-seconds", "1"]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/models/slow", &onnx::slow()).expect(201);
    acme.put("/api/v1/models/relu", &onnx::relu(4)).expect(201);
    infer(&acme, "relu", 4).expect(200);
    let engine = server.engine();
    let began = Instant::now();
    assert_eq!(infer(&acme, "slow", 1).status, 503);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // The rest of the threads serve meanwhile, and then a new process does.
    let served = || infer(&acme, "relu", 4).status == 200;
    eventually("the engine is replaced", Duration::from_secs(10), || server.engine() != engine && served());
}

/// Each call loads one model of 16 MiB and evicts the other. `AIMASS_LOAD_CYCLES=1000` for the long form.
#[test]
fn models_that_leave_give_their_memory_back() {
    let cycles: usize = std::env::var("AIMASS_LOAD_CYCLES").map_or(30, |n| n.parse().unwrap());
    let server = Server::start_with(&["--model-memory-mib", "40", "--gpu", "off"]);
    let acme = server.tenant("acme");
    for seed in [1, 2] {
        acme.put(&format!("/api/v1/models/m{seed}"), &onnx::matrix(2048, seed)).expect(201);
    }
    let turns = |count: usize| {
        for turn in 0..count {
            infer(&acme, &format!("m{}", turn % 2 + 1), 2048).expect(200);
        }
        std::thread::sleep(Duration::from_millis(500));
        (server.figure("VmRSS"), figure(server.engine().unwrap(), "VmRSS"))
    };
    let before = turns(20);
    let after = turns(cycles);
    println!("{cycles} loads: server {} KiB to {} KiB, engine {} KiB to {} KiB", before.0, after.0, before.1, after.1);
    assert!(after.0 as f64 <= before.0 as f64 * 1.1, "server: {before:?} {after:?}");
    assert!(after.1 as f64 <= before.1 as f64 * 1.05, "engine: {before:?} {after:?}");
}

#[test]
fn f57_a_tenant_over_its_limits_is_told_when_to_come_back_and_others_are_not() {
    let server = Server::start_with(&["--tenant-requests-per-second", "20"]);
    let (acme, globex) = (server.tenant("acme"), server.tenant("globex"));
    for client in [&acme, &globex] {
        client.put("/api/v1/models/relu", &onnx::relu(4)).expect(201);
        client.put("/api/v1/plugins/hello", crate::support::guests::hello()).expect(201);
    }
    let answers: Vec<Answer> = (0..30).map(|_| infer(&acme, "relu", 4)).collect();
    assert!(answers.iter().any(|answer| answer.status == 200));
    let refused = answers.iter().find(|answer| answer.status == 429).expect("thirty at once are too many");
    assert!(refused.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    // Functions take from the same bucket.
    acme.get("/fn/acme/hello/").problem(429, "rate_limited");
    infer(&globex, "relu", 4).expect(200);
    globex.get("/fn/globex/hello/").expect(200);
    std::thread::sleep(Duration::from_millis(1_000));
    infer(&acme, "relu", 4).expect(200);
}
