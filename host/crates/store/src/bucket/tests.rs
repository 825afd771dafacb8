//! Against answers that a storage may give; against a real one in the end-to-end tests.

use std::sync::Mutex;
use std::time::Instant;

use aimass_core::Tenant;
use aimass_core::outgoing::{OutgoingBody, OutgoingError, Patience};
use async_trait::async_trait;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::json;

use super::client::MAX_ANSWER;
use super::*;

/// Answers with what it is told, one after the other, and keeps what was sent.
#[derive(Default)]
struct Storage {
    answers: Mutex<Vec<Result<(u16, Vec<u8>), OutgoingError>>>,
    sent: Mutex<Vec<Request<()>>>,
}

#[async_trait]
impl Outgoing for Storage {
    async fn send(
        &self,
        _: OutgoingCall,
        request: Request<OutgoingBody>,
    ) -> Result<Response<OutgoingBody>, OutgoingError> {
        self.sent.lock().unwrap().push(request.map(drop));
        let (status, body) = self.answers.lock().unwrap().remove(0)?;
        let length = body.len();
        let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
        let answer = Response::builder().status(status).header("last-modified", "Tue, 05 May 2026 10:00:00 GMT");
        Ok(answer.header("etag", "\"e1\"").header("content-length", length).body(body).unwrap())
    }
}

fn source(url: &str, endpoint: &str) -> BucketSource {
    serde_json::from_value(json!({ "url": url, "endpoint": endpoint })).unwrap()
}

fn credentials() -> BucketCredentials {
    serde_json::from_value(json!({ "access_key_id": "AKID", "secret_access_key": "hush" })).unwrap()
}

fn call() -> OutgoingCall {
    let (wait, now) = (Duration::from_secs(5), Instant::now());
    let patience = Patience { connect: wait, first_byte: wait, between_bytes: wait, deadline: now + wait };
    let tenant = Tenant::vouched_for("acme".parse().unwrap());
    OutgoingCall { tenant, plugin: "files".parse().unwrap(), request_id: "1".into(), patience }
}

fn opened(answers: Vec<Result<(u16, Vec<u8>), OutgoingError>>) -> (Bucket, Arc<Storage>) {
    let storage = Arc::new(Storage { answers: Mutex::new(answers), sent: Mutex::default() });
    let source = source("s3://incoming/2026/", "http://S3.example.com:80/");
    (Bucket::open(&source, Some(credentials()), storage.clone(), call()).unwrap(), storage)
}

/// A page of names, each of one byte.
fn page(names: &[&str], more: Option<&str>) -> Result<(u16, Vec<u8>), OutgoingError> {
    let contents = names.iter().map(|name| {
        format!(
            "<Contents><Key>{name}</Key><LastModified>2026-05-05T10:00:00.000Z</LastModified><ETag>&quot;e1&quot;</ETag>\
             <Size>1</Size></Contents>"
        )
    });
    let more = more.map(|token| format!("<NextContinuationToken>{token}</NextContinuationToken>")).unwrap_or_default();
    Ok((200, format!("<ListBucketResult>{}{more}</ListBucketResult>", contents.collect::<String>()).into_bytes()))
}

async fn names(mut listing: Listing) -> Vec<String> {
    let mut names = vec![];
    while let Some(object) = listing.next().await.unwrap() {
        names.push(object.path);
    }
    names
}

#[tokio::test]
async fn pages_follow_one_another_and_requests_are_signed_as_they_are_sent() {
    let (bucket, storage) = opened(vec![page(&["2026/a b.csv"], Some("t/2")), page(&["2026/b"], None)]);
    assert_eq!(names(bucket.list(Some("2026/a")).unwrap()).await, ["2026/a b.csv", "2026/b"]);
    let sent = storage.sent.lock().unwrap();
    let queries: Vec<_> = sent.iter().map(|request| request.uri().query().unwrap()).collect();
    assert!(queries[0].contains("prefix=2026%2F") && queries[0].contains("start-after=2026%2Fa"), "{queries:?}");
    assert!(queries[1].contains("continuation-token=t%2F2"), "{queries:?}");
    for request in sent.iter() {
        // The spelling that is signed is the one that is sent.
        assert!(request.uri().to_string().starts_with("http://s3.example.com/incoming?"), "{}", request.uri());
        let signature = request.headers()["authorization"].to_str().unwrap();
        assert!(signature.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"), "{signature}");
        assert!(!format!("{request:?}").contains("hush"));
    }
}

#[tokio::test]
async fn an_object_is_read_as_it_was_found_or_not_at_all() {
    let object = FoundObject { path: "2026/a b".into(), version: "e1".into(), size: 3, modified_ms: 0 };
    let (bucket, storage) = opened(vec![
        Ok((200, b"1,2".to_vec())),
        // It grew; it is another one by now; it is gone.
        Ok((200, b"1,2,3".to_vec())),
        Ok((412, vec![])),
        Ok((404, vec![])),
    ]);
    assert_eq!(bucket.read(&object).await.unwrap().as_deref(), Some(&b"1,2"[..]));
    for _ in 0..3 {
        assert_eq!(bucket.read(&object).await.unwrap(), None);
    }
    let sent = storage.sent.lock().unwrap();
    assert_eq!(
        (sent[0].uri().path(), &sent[0].headers()["if-match"]),
        ("/incoming/2026/a%20b", &"\"e1\"".parse().unwrap())
    );
}

#[tokio::test]
async fn what_goes_wrong_is_said_in_the_storages_words_and_no_more_of_them() {
    let refused =
        b"<Error><Code>SignatureDoesNotMatch</Code><Message>It\x1b[31m does not.</Message><Key>AKID</Key></Error>";
    let not_allowed =
        OutgoingError::NotAllowed { method: "GET".to_owned(), host: "s3.example.com".to_owned(), port: 80 };
    let large = OutgoingError::ResponseTooLarge(MAX_ANSWER as u64).to_string();
    for (answer, code, expected) in [
        (
            Ok((403, refused.to_vec())),
            Code::Unavailable,
            "the storage answered with status 403: SignatureDoesNotMatch: It[31m does not.",
        ),
        (Ok((302, vec![])), Code::Unavailable, "the storage answered with status 302"),
        (Err(not_allowed.clone()), Code::Unavailable, &*not_allowed.to_string()),
        (Ok((200, vec![b'x'; MAX_ANSWER + 1])), Code::Unavailable, &*large),
        (Ok((200, b"<html>".to_vec())), Code::Unavailable, "the answer is not what S3 answers"),
        (
            page(&["2026/a//b"], None),
            Code::Unavailable,
            "an object's name cannot be told: Path \"2026/a//b\" contained empty path segment",
        ),
    ] {
        let (bucket, storage) = opened(vec![answer]);
        let fault = bucket.list(None).unwrap().next().await.unwrap_err();
        assert_eq!((fault.code(), fault.detail()), (code, expected));
        // Neither a redirect nor a refusal is asked again.
        assert_eq!(storage.sent.lock().unwrap().len(), 1);
    }
    // One object alone that is not given.
    let (bucket, _) = opened(vec![Ok((403, b"<Error><Code>InvalidObjectState</Code></Error>".to_vec()))]);
    let object = FoundObject { path: "2026/a".into(), version: "e1".into(), size: 1, modified_ms: 0 };
    let fault = bucket.read(&object).await.unwrap_err();
    let expected = "the storage answered with status 403: InvalidObjectState";
    assert_eq!((fault.code(), fault.detail()), (Code::Conflict, expected));
    // What may pass is.
    let (bucket, storage) = opened(vec![Ok((503, vec![])), page(&["2026/a"], None)]);
    assert_eq!(names(bucket.list(None).unwrap()).await, ["2026/a"]);
    assert_eq!(storage.sent.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn without_credentials_nothing_is_signed_and_none_are_looked_for() {
    let storage = Arc::new(Storage { answers: Mutex::new(vec![page(&["a"], None)]), sent: Mutex::default() });
    let bucket =
        Bucket::open(&source("s3://open", "https://s3.example.com/gate"), None, storage.clone(), call()).unwrap();
    assert_eq!(names(bucket.list(None).unwrap()).await, ["a"]);
    let sent = storage.sent.lock().unwrap();
    assert_eq!((sent.len(), sent[0].uri().path()), (1, "/gate/open"));
    assert!(!sent[0].headers().contains_key("authorization"));
}

#[test]
fn what_is_no_endpoint_is_refused_before_anything_is_sent() {
    for odd in [
        "",
        "s3.example.com",
        "ftp://a/",
        "https://",
        "https://u:p@a/",
        "https://a/?q",
        "https://a/#f",
        "https://xn--a/",
        "http://a b/",
    ] {
        let opened = Bucket::open(&source("s3://incoming", odd), None, Arc::<Storage>::default(), call());
        assert_eq!(opened.unwrap_err().code(), Code::InvalidRequest, "{odd}");
    }
}

#[tokio::test]
async fn f39_credentials_open_for_their_own_bucket_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = crate::Store::open(folder.path(), &folder.path().join("key")).unwrap();
    let seal = store.seal(&Tenant::vouched_for("acme".parse().unwrap())).await.unwrap();
    let (files, other): (aimass_core::Name, _) = ("files".parse().unwrap(), "other".parse().unwrap());
    let mine = source("s3://incoming/2026", "https://s3.example.com");
    let sealed = seal_credentials(&seal, &files, &mine, &credentials()).unwrap();
    assert!(open_credentials(&seal, &files, &mine, &sealed).unwrap() == credentials());
    // Another folder of the bucket is the same bucket.
    assert!(open_credentials(&seal, &files, &source("s3://incoming/x", "https://s3.example.com"), &sealed).is_ok());
    for (trigger, source) in [
        (&other, &mine),
        (&files, &source("s3://incoming2", "https://s3.example.com")),
        (&files, &source("s3://incoming", "https://s3.evil.example")),
    ] {
        assert_eq!(open_credentials(&seal, trigger, source, &sealed).unwrap_err().code(), Code::Integrity);
    }
    assert!(!format!("{:?} {sealed:?}", credentials()).contains("hush"));
}
