//! Guests that misuse `wasi:nn`, over HTTP: their calls end with their limits, and what they held comes back.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Answer, Client, Server, eventually, guests, onnx};

fn call(client: &Client) -> Answer {
    let input = json!({ "name": "x", "datatype": "FP32", "shape": [1, 1, 1, 1], "data": [1.0] });
    client.post("/v2/models/tensors/infer", &json!({ "inputs": [input] }))
}

/// What the plugin does from now on.
fn does(client: &Client, what: &str, model: &str) {
    let settings: Value = json!({ "does": what, "model": model, "input": "x", "output": "y" });
    client.put_json("/api/v1/plugins/tensors/config", &settings).expect(200);
}

/// A server whose calls may take a second, with the plugin and a model that answers at once.
fn with_tensors(memory_mib: &str) -> (Server, Client) {
    let server = Server::start_with(&["--call-seconds", "1", "--call-memory-mib", memory_mib, "--gpu", "off"]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/models/quick", &onnx::products(1, 2, [1, 1, 1, 1])).expect(201);
    acme.put("/api/v1/plugins/tensors", guests::tensors()).expect(201);
    well(&acme);
    (server, acme)
}

/// The next call is answered, through the same engine.
fn well(client: &Client) {
    does(client, "", "quick");
    let answer = call(client).expect(200).json();
    assert_eq!(answer["outputs"][0]["data"], json!([2.0]));
}

#[test]
fn f20_a_tensor_of_200_mib_ends_its_call_and_leaves_no_memory_behind() {
    let (server, acme) = with_tensors("512");
    let before = server.figure("VmRSS");
    does(&acme, "large", "quick");
    for _ in 0..3 {
        assert_eq!(call(&acme).status, 502);
    }
    well(&acme);
    eventually("the memory is back", Duration::from_secs(5), || server.figure("VmRSS") < before + (64 << 10));
}

#[test]
fn f20_a_flood_of_tensors_ends_its_call_and_leaves_no_memory_behind() {
    let (server, acme) = with_tensors("64");
    let before = server.figure("VmRSS");
    does(&acme, "many", "quick");
    for _ in 0..3 {
        assert_eq!(call(&acme).status, 502);
    }
    well(&acme);
    eventually("the memory is back", Duration::from_secs(5), || server.figure("VmRSS") < before + (32 << 10));
}

#[test]
fn f24_a_guest_that_sleeps_on_a_tensor_ends_in_time_and_others_compute_meanwhile() {
    let (server, acme) = with_tensors("64");
    let other = server.tenant("other");
    other.put("/api/v1/models/quick", &onnx::products(1, 2, [1, 1, 1, 1])).expect(201);
    other.put("/api/v1/plugins/tensors", guests::tensors()).expect(201);
    well(&other);
    does(&acme, "sleep", "quick");
    thread::scope(|scope| {
        let sleepers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let began = Instant::now();
                    assert_eq!(call(&acme).status, 504);
                    began.elapsed()
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(200));
        (0..10).for_each(|_| drop(call(&other).expect(200)));
        for sleeper in sleepers {
            let took = sleeper.join().unwrap();
            assert!(took < Duration::from_millis(1_800), "{took:?}");
        }
    });
    well(&acme);
}

/// The callers' time ends while the model runs, or while they wait for it.
#[test]
fn f24_computes_that_are_abandoned_give_back_their_places_and_their_memory() {
    let server = Server::start_with(&["--call-memory-mib", "64", "--gpu", "off"]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/models/quick", &onnx::products(1, 2, [1, 1, 1, 1])).expect(201);
    // A second or more; its input is too large for a message, so that it travels in shared memory.
    acme.put("/api/v1/models/long", &onnx::products(60, 1_000, [1, 1, 256, 1024])).expect(201);
    acme.put("/api/v1/plugins/tensors", guests::tensors()).expect(201);
    well(&acme);
    let engine = server.engine().unwrap();
    let before = (server.descriptors(), server.figure("VmRSS"));
    does(&acme, "", "long");
    let size = 4 * 256 * 1024;
    let (shape, parameters) = (json!([1, 1, 256, 1024]), json!({ "binary_data_size": size }));
    let input = json!({ "name": "x", "datatype": "FP32", "shape": shape, "parameters": parameters });
    let head = json!({ "parameters": { "timeout": 300_000 }, "inputs": [input] }).to_string();
    let body = [head.as_bytes(), &vec![0; size]].concat();
    let length = head.len().to_string();
    let impatient = || {
        let began = Instant::now();
        let headers = [("inference-header-content-length", length.as_str())];
        let answer = acme.send("POST", "/v2/models/tensors/infer", &headers, &body);
        assert!([502, 503, 504].contains(&answer.status), "{}", answer.text());
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    };
    for _ in 0..2 {
        thread::scope(|scope| (0..12).for_each(|_| drop(scope.spawn(impatient))));
    }
    // Who has left holds nobody's turn: the two runs that had begun end, and the rest never begin.
    let began = Instant::now();
    well(&acme);
    println!("served {:?} after the last one left", began.elapsed());
    assert_eq!(server.engine(), Some(engine), "the engine was not replaced for it");
    eventually("slots and memory are back", Duration::from_secs(10), || {
        server.descriptors() <= before.0 + 16 && server.figure("VmRSS") < before.1 + (32 << 10)
    });
}
