//! How a node stops, and what keeps two of them apart.

use std::time::{Duration, Instant};

use crate::support::{Server, eventually, guests};

#[test]
fn f50_a_second_server_on_the_same_folder_says_so_and_exits() {
    let server = Server::start();
    let error = Server::try_on(&server.data, &[]).err().expect("two servers share a folder");
    assert!(error.contains("another"), "{error}");
    assert!(error.contains(server.data.to_str().unwrap()), "{error}");
    server.anonymous().get("/healthz").expect(200);
}

#[test]
fn f63_a_newer_schema_is_refused_untouched() {
    fn contents(folder: &std::path::Path, found: &mut std::collections::BTreeMap<std::path::PathBuf, Vec<u8>>) {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                contents(&path, found);
            } else {
                found.insert(path.clone(), std::fs::read(&path).unwrap());
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let server = Server::on(folder.path(), &[]);
    server.tenant("acme").put("/api/v1/plugins/hello", guests::hello()).expect(201);
    server.kill();
    let schema = folder.path().join("store/schema");
    let ours = std::fs::read_to_string(&schema).unwrap();
    std::fs::write(&schema, format!("{}\n", ours.trim().parse::<u32>().unwrap() + 1)).unwrap();
    let (mut before, mut after) = Default::default();
    contents(folder.path(), &mut before);
    let error = Server::try_on(folder.path(), &[]).err().expect("a newer schema is read");
    assert!(error.contains("newer release"), "{error}");
    contents(folder.path(), &mut after);
    assert!(before.len() > 5 && before == after, "something was changed");
    // Its own is read, and so is a folder of a release that did not say.
    for old in [Some(ours), None] {
        match old {
            Some(ours) => std::fs::write(&schema, ours).unwrap(),
            None => std::fs::remove_file(&schema).unwrap(),
        }
        let server = Server::on(folder.path(), &[]);
        server.operator().get("/api/v1/tenants/acme").expect(200);
        server.kill();
        assert!(schema.exists());
    }
}

#[test]
fn f56_sigterm_drains_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::on(folder.path(), &["--call-seconds", "2"]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/probe", guests::probe()).expect(201);
    acme.put("/api/v1/plugins/counter", guests::counter()).expect(201);
    acme.get("/fn/acme/probe/warm").expect(200);
    std::thread::scope(|scope| {
        // A call that is under way when the signal comes ends as it would have.
        let slow = scope.spawn(|| {
            let started = Instant::now();
            acme.get("/fn/acme/probe/sleep").problem(504, "plugin_deadline");
            started.elapsed()
        });
        // And callers who count until they are turned away.
        let counting = scope.spawn(|| {
            let mut last = 0;
            while let Ok(answer) = acme.try_send("POST", "/fn/acme/counter/hits", &[], b"") {
                last = answer.expect(200).text().trim().parse().unwrap();
            }
            last
        });
        std::thread::sleep(Duration::from_millis(300));
        server.signal("TERM");
        eventually("the node says that it is not ready", Duration::from_millis(450), || {
            server.anonymous().get("/readyz").status == 503
        });
        let status = server.child.wait().unwrap();
        assert!(status.success(), "{status}");
        assert!(slow.join().unwrap() >= Duration::from_millis(1_900));
        let last: u64 = counting.join().unwrap();
        assert!(last > 0);
        let again = Server::on(folder.path(), &[]);
        let next = again.with(&acme.token).send("POST", "/fn/acme/counter/hits", &[], b"").expect(200).text();
        let next: u64 = next.trim().parse().unwrap();
        assert!((last + 1..=last + 2).contains(&next), "{last} was acknowledged, then came {next}");
    });
}

#[test]
fn f56_a_second_signal_stops_at_once() {
    let mut server = Server::start_with(&["--call-seconds", "30"]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/probe", guests::probe()).expect(201);
    acme.get("/fn/acme/probe/warm").expect(200);
    let slow = std::thread::spawn(move || acme.try_send("GET", "/fn/acme/probe/sleep", &[], b"").is_err());
    std::thread::sleep(Duration::from_millis(300));
    server.signal("TERM");
    std::thread::sleep(Duration::from_millis(100));
    let started = Instant::now();
    server.signal("TERM");
    assert!(!server.child.wait().unwrap().success());
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!(slow.join().unwrap());
}
