//! Guests that misbehave, over HTTP: what they cost is their own call. The sandbox's own tests go deeper.

use std::time::{Duration, Instant};

use crate::support::{Client, Server, eventually, guests};

/// A server whose calls may take a second, with the probe in it.
fn with_probe() -> (Server, Client) {
    let server = Server::start_with(&["--call-seconds", "1", "--call-memory-mib", "64"]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/probe", guests::probe()).expect(201);
    acme.get("/fn/acme/probe/warm").expect(200);
    (server, acme)
}

/// Every row ends with this: the same process, healthy, and the next call is fresh.
fn unharmed(server: &Server, acme: &Client) {
    server.anonymous().get("/healthz").expect(200);
    assert_eq!(acme.get("/fn/acme/probe/next").expect(200).text(), "/next");
    acme.get("/api/v1/plugins/probe").expect(200);
}

#[test]
fn f14_endless_loops_on_every_core_end_in_time_and_disturb_nobody() {
    let (server, acme) = with_probe();
    let loops = 2 * std::thread::available_parallelism().unwrap().get();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..loops)
            .map(|_| {
                scope.spawn(|| {
                    let started = Instant::now();
                    acme.get("/fn/acme/probe/loop").problem(504, "plugin_deadline");
                    started.elapsed()
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(200));
        let mut waits: Vec<_> = (0..10)
            .map(|_| {
                let started = Instant::now();
                server.anonymous().get("/healthz").expect(200);
                started.elapsed()
            })
            .collect();
        waits.sort();
        // The median: the test's own threads compete for the same cores.
        assert!(waits[5] < Duration::from_millis(50), "health took {waits:?}");
        for caller in callers {
            let took = caller.join().unwrap();
            assert!(took < Duration::from_millis(1_600), "a loop of one second took {took:?}");
        }
    });
    unharmed(&server, &acme);
}

#[test]
fn f16_a_memory_bomb_is_stopped() {
    let (server, acme) = with_probe();
    let memory = server.figure("VmRSS");
    acme.get("/fn/acme/probe/memory").problem(502, "plugin_resource_limit");
    unharmed(&server, &acme);
    eventually("the memory is back", Duration::from_secs(5), || server.figure("VmRSS") < memory + (32 << 10));
}

#[test]
fn f18_a_stack_overflow_is_a_trap() {
    let (server, acme) = with_probe();
    acme.get("/fn/acme/probe/stack").problem(502, "plugin_trap");
    unharmed(&server, &acme);
}

#[test]
fn f19_an_answer_over_the_limit_is_never_cut_short_silently() {
    let (server, acme) = with_probe();
    match acme.try_send("GET", "/fn/acme/probe/endless", &[], b"") {
        // The head was out already, so the connection breaks off.
        Err(_) => {}
        Ok(answer) => assert!([502, 504].contains(&answer.status), "{}", answer.status),
    }
    unharmed(&server, &acme);
}

#[test]
fn f24_a_guest_that_sleeps_in_the_host_ends_in_time() {
    let (server, acme) = with_probe();
    let started = Instant::now();
    acme.get("/fn/acme/probe/sleep").problem(504, "plugin_deadline");
    assert!(started.elapsed() < Duration::from_millis(1_600));
    unharmed(&server, &acme);
}

#[test]
fn f25_a_panic_is_a_trap_and_the_next_call_is_fresh() {
    let (server, acme) = with_probe();
    for _ in 0..3 {
        acme.get("/fn/acme/probe/panic").problem(502, "plugin_trap");
    }
    acme.get("/fn/acme/probe/silent").problem(502, "plugin_fault");
    unharmed(&server, &acme);
}

#[test]
fn f28_the_next_call_finds_zeros() {
    let (server, acme) = with_probe();
    let other = server.tenant("other");
    other.put("/api/v1/plugins/probe", guests::probe()).expect(201);
    for _ in 0..20 {
        assert_eq!(acme.get("/fn/acme/probe/residue").expect(200).text(), "clean");
        assert_eq!(other.get("/fn/other/probe/residue").expect(200).text(), "clean");
    }
}

#[test]
fn f22_a_flood_of_log_lines_is_bounded() {
    let (server, acme) = with_probe();
    let answer = acme.get("/fn/acme/probe/shout");
    assert!([200, 504].contains(&answer.status), "{}", answer.status);
    unharmed(&server, &acme);
}

#[test]
fn f55_a_guest_cannot_call_out() {
    let (_server, acme) = with_probe();
    let refused = acme.get("/fn/acme/probe/outgoing").expect(200).text();
    assert!(refused.contains("HttpRequestDenied"), "{refused}");
}
