//! Request ids, W3C trace context, and traces over OTLP at a real receiver.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Noted;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;

use crate::support::{Server, eventually, guests};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Takes whatever is posted to it, and keeps heads and bodies.
struct Receiver {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<(String, Vec<u8>)>>>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, taken) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<_>>>::default());
        let all = taken.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let all = all.clone();
                std::thread::spawn(move || while take(&stream, &all).is_some() {});
            }
        });
        Self { address, taken }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn heads(&self) -> Vec<String> {
        self.taken.lock().unwrap().iter().map(|(head, _)| head.clone()).collect()
    }

    /// Every span that came, with the name of the service that sent it.
    fn spans(&self) -> Vec<(String, Span)> {
        let taken = self.taken.lock().unwrap().clone();
        let exports = taken.iter().map(|(head, body)| {
            assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
            assert!(head.to_lowercase().contains("content-type: application/x-protobuf"), "{head}");
            ExportTraceServiceRequest::decode(body.as_slice()).unwrap()
        });
        let resources = exports.flat_map(|export| export.resource_spans).map(|spans| {
            let named = spans.resource.unwrap().attributes.into_iter().find(|a| a.key == "service.name").unwrap();
            let Some(Noted::StringValue(service)) = named.value.unwrap().value else { panic!() };
            (service, spans.scope_spans)
        });
        let spans = resources.flat_map(|(service, scopes)| {
            scopes.into_iter().flat_map(|scope| scope.spans).map(move |span| (service.clone(), span))
        });
        spans.collect()
    }
}

/// One request, answered with nothing; none at the connection's end.
fn take(mut stream: &TcpStream, all: &Mutex<Vec<(String, Vec<u8>)>>) -> Option<()> {
    let mut bytes = vec![];
    let mut piece = [0; 64 << 10];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&piece[..read]);
    };
    let head = String::from_utf8(bytes.drain(..end).collect()).unwrap();
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    let length = length.map_or(0, |length| length.parse::<usize>().unwrap());
    while bytes.len() < length {
        let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&piece[..read]);
    }
    all.lock().unwrap().push((head, bytes));
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n").ok()
}

fn note<'a>(span: &'a Span, key: &str) -> &'a Noted {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    let value = found.unwrap_or_else(|| panic!("{} has no {key}: {:?}", span.name, span.attributes));
    value.value.as_ref().unwrap().value.as_ref().unwrap()
}

fn text<'a>(span: &'a Span, key: &str) -> &'a str {
    match note(span, key) {
        Noted::StringValue(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_calls_trace_is_seen_whole_below_the_callers_span() {
    let (receiver, destination) = (Receiver::start(), Receiver::start());
    let private = destination.address.to_string();
    let server = Server::start_with(&[
        "--otlp-endpoint",
        &receiver.url(),
        "--trace-sampling",
        "0",
        "--egress-private",
        &private,
    ]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/models/tiny", &crate::support::onnx::relu(4)).expect(201);
    acme.put("/api/v1/plugins/caller", guests::caller()).expect(201);
    acme.put_json("/api/v1/egress/rules/127.0.0.1", &json!({ "ports": [destination.address.port()] })).expect(200);

    // A guest that calls the node's own model, and another system.
    let own = format!("{}/secret?token=hidden", destination.url());
    let headers = [("traceparent", PARENT), ("tracestate", "vendor=a1"), ("x-request-id", "order-7"), ("x-url", &own)];
    let answer = acme.send("GET", "/fn/acme/caller", &headers, b"").expect(200);
    assert_eq!(answer.header("x-request-id"), "order-7");
    let request = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [-1, 0, 1, 2.5] }] });
    let body = request.to_string();
    acme.send("POST", "/v2/models/tiny/infer", &[("traceparent", PARENT)], body.as_bytes()).expect(200);
    acme.send("POST", "/v2/models/nobody/infer", &[("traceparent", PARENT)], body.as_bytes()).expect(404);
    // Not sampled: neither by its caller nor by chance.
    acme.send("GET", "/api/v1/plugins", &[("traceparent", &PARENT.replace("-01", "-00"))], b"").expect(200);
    acme.get("/api/v1/plugins").expect(200);

    eventually("the spans arrive", Duration::from_secs(20), || receiver.spans().len() >= 10);
    let spans = receiver.spans();
    assert!(spans.iter().all(|(service, span)| service == "aimass" && hex::encode(&span.trace_id) == TRACE));
    let all: Vec<Span> = spans.into_iter().map(|(_, span)| span).collect();
    let named = |name: &str| -> Vec<&Span> { all.iter().filter(|span| span.name == name).collect() };
    let one = |name: &str| -> &Span {
        let found = named(name);
        assert_eq!(found.len(), 1, "{name} among {:?}", all.iter().map(|span| &span.name).collect::<Vec<_>>());
        found[0]
    };
    let below = |span: &Span, above: &Span| {
        assert_eq!(span.parent_span_id, above.span_id, "{} below {}", span.name, above.name);
        assert!(span.start_time_unix_nano >= above.start_time_unix_nano.saturating_sub(1_000_000), "{}", span.name);
        assert!(span.end_time_unix_nano <= above.end_time_unix_nano + 1_000_000, "{}", span.name);
    };

    // HTTP request → admission, guest → the guest's own request.
    let function = one("GET /fn/");
    assert_eq!((hex::encode(&function.parent_span_id), function.kind), ("00f067aa0ba902b7".to_owned(), 2));
    assert_eq!((text(function, "http.request.method"), text(function, "http.route")), ("GET", "/fn/"));
    assert_eq!(text(function, "aimass.request_id"), "order-7");
    assert_eq!(note(function, "http.response.status_code"), &Noted::IntValue(200));
    let guest = one("guest");
    below(guest, function);
    assert_eq!((text(guest, "faas.name"), text(guest, "faas.trigger")), ("caller", "http"));
    let outgoing = one("GET");
    below(outgoing, guest);
    assert_eq!((outgoing.kind, text(outgoing, "server.address")), (3, "127.0.0.1"));
    let sent = destination.heads()[0].to_lowercase();
    assert!(sent.contains(&format!("traceparent: 00-{TRACE}-{}-01\r\n", hex::encode(&outgoing.span_id))), "{sent}");
    assert!(sent.contains("tracestate: vendor=a1\r\n") && sent.contains("x-request-id: order-7\r\n"), "{sent}");

    // HTTP request → admission, inference → queue, engine run.
    let calls = named("POST /v2/models/{model}/infer");
    let call = calls.iter().find(|span| note(span, "http.response.status_code") == &Noted::IntValue(200)).unwrap();
    let inference = one("inference");
    below(inference, call);
    assert_eq!((text(inference, "aimass.model.name"), text(inference, "aimass.model.version")), ("tiny", "1"));
    below(one("queue"), inference);
    below(one("engine run"), inference);
    assert!(one("queue").end_time_unix_nano <= one("engine run").end_time_unix_nano);
    assert_eq!(note(one("engine run"), "aimass.batch.size"), &Noted::IntValue(1));
    assert!(named("admission").iter().any(|span| span.parent_span_id == call.span_id));
    assert!(named("admission").iter().any(|span| span.parent_span_id == function.span_id));
    // Never what was said.
    let whole = format!("{all:?}");
    assert!(!whole.contains("secret") && !whole.contains("hidden") && !whole.contains(&acme.token[..20]));
}

#[test]
fn a_guests_inference_stands_below_the_guest_and_what_fails_says_so() {
    let receiver = Receiver::start();
    let server = Server::start_with(&["--otlp-endpoint", &receiver.url(), "--trace-sampling", "1"]);
    let acme = crate::clients::with_file_type(&server);
    let sample = std::fs::read(&crate::support::files::samples()[0]).unwrap();
    let tensor = aimass_core::Tensor::from_bytes_elements("content", [1], &[sample]).unwrap();
    let (body, length) = aimass_http::oip::encode_request(&[tensor]);
    let headers = [(aimass_http::oip::HEADER_LENGTH, length.as_str())];
    let answer = acme.send("POST", "/v2/models/file-type/infer", &headers, &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    acme.put("/api/v1/plugins/probe", guests::probe()).expect(201);
    acme.get("/fn/acme/probe/panic").expect(502);
    server.signal("TERM");
    eventually("the last spans are sent at the end", Duration::from_secs(20), || {
        receiver.spans().iter().any(|(_, span)| span.name == "GET /fn/")
    });
    let spans: Vec<Span> = receiver.spans().into_iter().map(|(_, span)| span).collect();
    let of = |name: &str, plugin: &str| {
        let is = |span: &&Span| span.name == name && (plugin.is_empty() || text(span, "faas.name") == plugin);
        spans.iter().find(is).unwrap_or_else(|| panic!("no {name} of {plugin}"))
    };
    let (guest, inference) = (of("guest", "file-type"), of("inference", ""));
    assert_eq!(inference.parent_span_id, guest.span_id);
    assert_eq!(text(inference, "aimass.model.name"), "magika");
    assert_eq!(of("engine run", "").parent_span_id, inference.span_id);
    let failed = of("guest", "probe");
    assert_eq!((text(failed, "error.type"), failed.status.as_ref().unwrap().code), ("plugin_trap", 2));
    // A trace that begins here has no parent.
    let root = of("GET /fn/", "");
    assert!(root.parent_span_id.is_empty() && root.trace_id.len() == 16, "{root:?}");
    assert_eq!(root.trace_id, failed.trace_id);
    // The run is the model's, and the time on a processor the plugin's.
}

#[test]
fn without_a_receiver_a_trace_is_passed_on_as_it_came() {
    let destination = Receiver::start();
    let server = Server::start_with(&["--egress-private", &destination.address.to_string()]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/caller", guests::caller()).expect(201);
    acme.put_json("/api/v1/egress/rules/127.0.0.1", &json!({ "ports": [destination.address.port()] })).expect(200);
    let url = destination.url();
    acme.send("GET", "/fn/acme/caller", &[("x-url", &url), ("traceparent", PARENT)], b"").expect(200);
    acme.send("GET", "/fn/acme/caller", &[("x-url", &url), ("traceparent", "00-nonsense")], b"").expect(200);
    let heads: Vec<_> = destination.heads().iter().map(|head| head.to_lowercase()).collect();
    assert!(heads[0].contains(&format!("traceparent: {PARENT}\r\n")), "{}", heads[0]);
    assert!(!heads[1].contains("traceparent"), "{}", heads[1]);
    assert!(heads[1].contains("x-request-id: "), "{}", heads[1]);
}

#[test]
fn an_id_is_taken_over_where_it_can_be_one() {
    let server = Server::start();
    let acme = server.tenant("acme");
    for path in ["/healthz", "/api/v1/plugins", "/v2", "/fn/acme/nobody/", "/nowhere"] {
        let answer = acme.send("GET", path, &[("x-request-id", "svc.42:a-B_c")], b"");
        assert_eq!(answer.header("x-request-id"), "svc.42:a-B_c", "{path}");
    }
    let problem = acme.send("GET", "/nowhere", &[("x-request-id", "mine")], b"").expect(404).json();
    assert_eq!(problem["request_id"], "mine");
    for wrong in ["a b", "<x>", &"x".repeat(129)] {
        let answer = acme.send("GET", "/healthz", &[("x-request-id", wrong)], b"");
        assert_eq!(answer.header("x-request-id").len(), 32, "{wrong}");
    }
    // What is recorded of a change bears it.
    acme.send("PUT", "/api/v1/egress/rules/a.example", &[("x-request-id", "change-1")], br#"{"ports":[443]}"#)
        .expect(200);
    let audit = acme.get("/api/v1/audit?kind=egress_allowed").expect(200).json();
    assert_eq!(audit["items"][0]["actor"]["request"], "change-1");
}
