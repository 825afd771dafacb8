//! Attacks that HTTP/2 makes possible, frame by frame.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, RST_STREAM, WINDOW_UPDATE, fields, frame,
};
use crate::support::{Server, eventually};

fn connect(server: &Server) -> Http2<TcpStream> {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    Http2::new(stream).unwrap()
}

/// Others are answered while an attack runs.
fn meanwhile(server: &Server, attack: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let attack = scope.spawn(attack);
        let client = server.anonymous();
        while !attack.is_finished() {
            let started = Instant::now();
            client.get("/healthz").expect(200);
            assert!(started.elapsed() < Duration::from_secs(2), "health took {:?}", started.elapsed());
            std::thread::sleep(Duration::from_millis(20));
        }
        attack.join().unwrap();
    });
}

#[test]
fn f53_rapid_resets_end_the_connection() {
    let server = Server::start();
    meanwhile(&server, || {
        let mut attacker = connect(&server);
        let block = fields("GET", "/healthz", &[]);
        let mut burst = vec![];
        for n in 0..100 {
            burst.extend(frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &block));
            burst.extend(frame(RST_STREAM, 0, 2 * n + 1, &8_u32.to_be_bytes()));
        }
        attacker.send(&burst).unwrap();
        let goaway = attacker.until(|frame| frame.kind == GOAWAY).expect("a GOAWAY");
        // ENHANCE_YOUR_CALM
        assert_eq!(goaway.payload[4..8], 11_u32.to_be_bytes());
        assert!(attacker.until(|_| false).is_none(), "the connection stays open");
    });
}

#[test]
fn f53_endless_continuations_end_the_connection() {
    let server = Server::start();
    let before = server.figure("VmRSS");
    meanwhile(&server, || {
        let mut attacker = connect(&server);
        let block = fields("GET", "/healthz", &[("x-a", "b")]);
        attacker.send(&frame(HEADERS, END_STREAM, 1, &block)).unwrap();
        // A field that is complete in each frame, so that nothing but their number is wrong.
        let more = frame(CONTINUATION, 0, 1, b"\0\x03x-c\x01d");
        let sent = (0..100_000).take_while(|_| attacker.send(&more).is_ok()).count();
        assert!(sent < 100_000, "the server took them all");
        assert!(attacker.until(|_| false).is_none(), "the connection stays open");
    });
    assert!(server.figure("VmRSS") < before + 50 * 1_024, "memory grew");
}

#[test]
fn f53_empty_data_is_no_body() {
    let server = Server::start_with(&["--client-wait-seconds", "2"]);
    let acme = server.tenant("acme");
    meanwhile(&server, || {
        let mut attacker = connect(&server);
        let token = format!("Bearer {}", acme.token);
        let block = fields("PUT", "/api/v1/plugins/x", &[("authorization", &token)]);
        attacker.send(&frame(HEADERS, END_HEADERS, 1, &block)).unwrap();
        let started = Instant::now();
        let flood = frame(DATA, 0, 1, b"").repeat(1_000);
        // The answer comes although the body never ends: nothing that counts was sent.
        while started.elapsed() < Duration::from_secs(3) && attacker.send(&flood).is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let end = attacker.until(|frame| frame.stream == 1 && frame.kind == HEADERS || frame.kind == GOAWAY);
        assert!(end.is_some(), "neither an answer nor a GOAWAY");
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    });
}

/// The client acknowledges every ping, and takes nothing of its answer.
#[test]
fn f51_an_answer_for_which_no_window_is_opened_is_given_up() {
    let server = Server::start_with(&["--client-wait-seconds", "2"]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/probe", crate::support::guests::probe()).expect(201);
    let token = format!("Bearer {}", acme.token);
    let attack = |window: Option<u32>| {
        let mut reader = connect(&server);
        let block = fields("GET", "/fn/acme/probe/endless", &[("authorization", &token)]);
        reader.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)).unwrap();
        let (started, mut taken) = (Instant::now(), 0);
        // As long as the server has something to say, or the client opens the windows of stream and connection.
        while let Ok(Some(came)) = reader.next() {
            taken += came.payload.len();
            if let (DATA, Some(window)) = (came.kind, window) {
                for stream in [0, 1] {
                    let _ = reader.send(&frame(WINDOW_UPDATE, 0, stream, &window.to_be_bytes()));
                }
            }
            if started.elapsed() > Duration::from_secs(6) {
                break;
            }
        }
        (started.elapsed(), taken)
    };
    let (took, taken) = attack(None);
    assert!(took < Duration::from_secs(6), "the connection stays open: {took:?}");
    assert!(taken < 100_000, "{taken}");
    // Who takes what comes is not cut off, but by the limit of an answer.
    let (_, taken) = attack(Some(1 << 16));
    assert!(taken > 10 << 20, "{taken}");
}

/// What is under way on a connection ends as it would have; the connection ends behind it.
#[test]
fn f56_http2_is_told_to_go_away_and_its_calls_end() {
    let mut server = Server::start_with(&["--call-seconds", "2"]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/probe", crate::support::guests::probe()).expect(201);
    acme.get("/fn/acme/probe/warm").expect(200);
    let token = format!("Bearer {}", acme.token);
    let mut call = connect(&server);
    let block = fields("GET", "/fn/acme/probe/sleep", &[("authorization", &token)]);
    call.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)).unwrap();
    let mut stream = connect(&server);
    let grpc = [("authorization", token.as_str()), ("content-type", "application/grpc"), ("te", "trailers")];
    let block = fields("POST", "/inference.GRPCInferenceService/ModelStreamInfer", &grpc);
    stream.send(&frame(HEADERS, END_HEADERS, 1, &block)).unwrap();
    // Who says nothing, and who has said everything, is not waited for.
    let silent = TcpStream::connect(server.address()).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    server.signal("TERM");
    let started = Instant::now();
    let of_stream = |frame: &crate::support::frames::Frame| frame.stream == 1 && frame.kind == HEADERS;
    assert!(stream.until(|frame| of_stream(frame) && frame.flags & END_STREAM != 0).is_some(), "no trailers");
    assert!(stream.until(|_| false).is_none());
    assert!(call.until(|frame| frame.kind == GOAWAY).is_some(), "no GOAWAY");
    assert!(call.until(of_stream).is_some(), "the call was cut off");
    assert!(call.until(|_| false).is_none());
    assert!(server.child.wait().unwrap().success());
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    drop(silent);
}

/// A stream may be silent for longer than a body may.
#[test]
fn a_quiet_stream_of_requests_stays_open() {
    let server = Server::start_with(&["--client-wait-seconds", "1"]);
    let acme = server.tenant("acme");
    let token = format!("Bearer {}", acme.token);
    let mut stream = connect(&server);
    let grpc = [("authorization", token.as_str()), ("content-type", "application/grpc"), ("te", "trailers")];
    let block = fields("POST", "/inference.GRPCInferenceService/ModelStreamInfer", &grpc);
    stream.send(&frame(HEADERS, END_HEADERS, 1, &block)).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    stream.send(&frame(DATA, END_STREAM, 1, b"")).unwrap();
    let head = stream.until(|frame| frame.stream == 1 && frame.kind == HEADERS).expect("an answer");
    let trailers = match head.flags & END_STREAM {
        0 => stream.until(|frame| frame.stream == 1 && frame.flags & END_STREAM != 0).expect("trailers"),
        _ => head,
    };
    // grpc-status: 0, literal or as a digit of Huffman's code, is all that is said of a stream that ended well.
    assert!(trailers.payload.len() < 64, "{trailers:?}");
    eventually("the server is well", Duration::from_secs(2), || server.anonymous().get("/healthz").status == 200);
}
