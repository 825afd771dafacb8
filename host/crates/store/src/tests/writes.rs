use std::sync::Arc;
use std::time::Duration;

use aimass_core::event::Settings;
use aimass_core::{Code, Fault};

use super::*;

#[tokio::test]
async fn what_is_written_is_read_before_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    let digest = blob(&store, "acme", b"wasm").await;
    record(&store, created("acme")).await.unwrap();
    for n in 1..=3 {
        record(&store, version("acme", "hello", n, digest, 4)).await.unwrap();
    }
    let settings = Settings::from([("a".to_owned(), "b".to_owned())]);
    let (tenant_name, object) = (name("acme"), name("hello"));
    let seal = store.seal(&tenant("acme")).await.unwrap();
    let event = Event::SettingsReplaced {
        tenant: tenant_name.clone(),
        name: object.clone(),
        settings: Settings::new(),
        number: 1,
        sealed: Some(crate::seal_settings(&seal, &object, 1, &settings).unwrap()),
    };
    record(&store, event).await.unwrap();
    let event = Event::PublicAccessSet { tenant: tenant_name.clone(), name: object.clone(), public: true };
    record(&store, event).await.unwrap();

    let acme = tenant("acme");
    let check = |store: &Store| {
        let state = store.state();
        let row = state.object(&acme, &object).unwrap().unwrap();
        assert_eq!((row.latest, row.deleted, row.public), (3, false, true));
        let versions = state.versions(&acme, &object, Some(1), 9).unwrap();
        assert_eq!(versions.iter().map(|v| v.version).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(versions[0].created_by, "system");
        assert_eq!(store.configuration(&acme, &object, None).unwrap().settings().unwrap(), settings);
        assert_eq!(state.idempotent(&acme, "hello-2").unwrap().unwrap().version, 2);
        assert_eq!(state.objects(&acme, Kind::Plugin, None, 9).unwrap().len(), 1);
        assert!(state.objects(&acme, Kind::Model, None, 9).unwrap().is_empty());
        assert!(state.object(&tenant("other"), &object).unwrap().is_none());
    };
    check(&store);
    store.clone().close().await;
    assert_eq!(record(&store, created("late")).await.unwrap_err().code(), Code::Unavailable);
    drop(store);
    let store = open(dir.path(), &Options::default()).unwrap();
    check(&store);
    assert_eq!(&store.blobs().read(&acme, &digest).await.unwrap()[..], b"wasm");
    assert_eq!(store.verify_chain().unwrap().records, store.sequence());
}

#[tokio::test]
async fn a_deleted_name_leaves_a_tombstone_and_never_gives_a_number_twice() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    record(&store, created("acme")).await.unwrap();
    record(&store, version("acme", "x", 1, Digest::of(b""), 0)).await.unwrap();
    let delete = || Event::ObjectDeleted { tenant: name("acme"), name: name("x") };
    record(&store, delete()).await.unwrap();
    let (acme, x) = (tenant("acme"), name("x"));
    let row = store.state().object(&acme, &x).unwrap().unwrap();
    assert!(row.deleted && row.latest == 1);
    assert!(store.state().versions(&acme, &x, None, 9).unwrap().is_empty());
    assert!(store.state().objects(&acme, Kind::Plugin, None, 9).unwrap().is_empty());
    assert!(store.state().idempotent(&acme, "x-1").unwrap().is_none());
    assert_eq!(record(&store, delete()).await.unwrap_err().code(), Code::NotFound);
    let again = record(&store, version("acme", "x", 1, Digest::of(b""), 0)).await;
    assert_eq!(again.unwrap_err().code(), Code::Conflict);
    record(&store, version("acme", "x", 2, Digest::of(b""), 0)).await.unwrap();
    assert!(!store.state().object(&acme, &x).unwrap().unwrap().deleted);
}

#[tokio::test]
async fn tokens_are_listed_by_tenant_and_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    record(&store, created("acme")).await.unwrap();
    let minted = |jti: &str, of: Option<&str>| Event::TokenMinted {
        jti: jti.to_owned(),
        subject: "s".to_owned(),
        tenant: of.map(name),
        scopes: vec!["plugins:read".to_owned()],
        expires: 77,
    };
    for (jti, of) in [("1", Some("acme")), ("2", None), ("3", Some("acme")), ("acme\0", None)] {
        record(&store, minted(jti, of)).await.unwrap();
    }
    assert_eq!(record(&store, minted("1", None)).await.unwrap_err().code(), Code::Conflict);
    record(&store, Event::TokenRevoked { jti: "3".to_owned() }).await.unwrap();
    record(&store, Event::TokenRevoked { jti: "elsewhere".to_owned() }).await.unwrap();
    let jtis = |of: Option<&str>, after: Option<&str>, limit| {
        let rows = store.state().tokens(of.map(name).as_ref(), after, limit).unwrap();
        rows.into_iter().map(|t| t.jti).collect::<Vec<_>>()
    };
    assert_eq!(jtis(Some("acme"), None, 9), ["1", "3"]);
    assert_eq!(jtis(Some("acme"), None, 1), ["1"]);
    assert_eq!(jtis(Some("acme"), Some("1"), 9), ["3"]);
    assert_eq!(jtis(None, None, 9), ["2", "acme\0"]);
    assert!(store.state().token("3").unwrap().unwrap().revoked);
    assert_eq!(store.state().revoked().unwrap(), [("3".to_owned(), 77), ("elsewhere".to_owned(), u64::MAX)]);
}

/// Holds the committer up until what is sent next waits in one group.
fn hold_up(store: &Store) -> tokio::task::JoinHandle<Result<()>> {
    let store = store.clone();
    tokio::spawn(async move {
        store
            .write(Actor::system(), |_| {
                std::thread::sleep(Duration::from_millis(100));
                Ok((None, ()))
            })
            .await
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f08_of_writers_at_once_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    let held = hold_up(&store);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                store
                    .write(Actor::system(), |state| {
                        if state.tenant(&name("acme"))?.is_some() {
                            return Err(Fault::new(Code::Conflict, "exists"));
                        }
                        Ok((Some(created("acme")), ()))
                    })
                    .await
            })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => won += 1,
            Err(fault) => assert_eq!(fault.code(), Code::Conflict),
        }
    }
    held.await.unwrap().unwrap();
    assert_eq!((won, store.sequence()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_sees_what_was_decided_before_it_in_the_same_group() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    for t in ["b", "d"] {
        record(&store, created(t)).await.unwrap();
    }
    record(&store, version("b", "m", 1, Digest::of(b""), 0)).await.unwrap();
    let _held = hold_up(&store);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let pending = ["a", "c", "e"].map(created).into_iter();
    let pending = pending.chain([version("b", "z", 1, Digest::of(b""), 0)]);
    let pending = pending.chain([Event::ObjectDeleted { tenant: name("b"), name: name("m") }]);
    for event in pending {
        let store = store.clone();
        tokio::spawn(async move { record(&store, event).await.unwrap() });
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let committed = store.sequence();
    let seen = store
        .write(Actor::system(), move |state| {
            let names = |after: Option<&str>, limit| {
                let rows = state.tenants(after.map(name).as_ref(), limit).unwrap();
                rows.iter().map(|t| t.name.to_string()).collect::<Vec<_>>().join("")
            };
            let objects = state.objects(&tenant("b"), Kind::Plugin, None, 9)?;
            assert_eq!(objects.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(), ["z"]);
            assert!(state.version(&tenant("b"), &name("m"), 1)?.is_none());
            Ok((None, (names(None, 9), names(None, 2), names(Some("b"), 2), names(Some("d"), 2))))
        })
        .await
        .unwrap();
    assert_eq!(committed, 3, "nothing was committed before the group");
    assert_eq!(seen, ("abcde".into(), "ab".into(), "cd".into(), "e".into()));
}

#[tokio::test]
async fn a_decision_that_panics_costs_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    let fault = store.write::<()>(Actor::system(), |_| panic!("on purpose")).await.unwrap_err();
    assert_eq!(fault.code(), Code::Internal);
    record(&store, created("acme")).await.unwrap();
    store.healthy().unwrap();
}

#[tokio::test]
async fn subscribers_see_every_record_in_order_when_the_state_shows_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    let mut records = store.subscribe();
    let watcher = {
        let store = store.clone();
        tokio::spawn(async move {
            for seq in 1..=20 {
                let record = records.recv().await.unwrap();
                assert_eq!(record.seq, seq);
                let Event::TenantCreated { tenant } = &record.event else { panic!() };
                assert!(store.state().tenant(tenant).unwrap().is_some());
            }
        })
    };
    let writes: Vec<_> = (0..20)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { record(&store, created(&format!("t{n}"))).await.unwrap() })
        })
        .collect();
    for write in writes {
        write.await.unwrap();
    }
    watcher.await.unwrap();
}

#[tokio::test]
async fn events_that_do_not_fit_are_not_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    let orphan = record(&store, version("nobody", "x", 1, Digest::of(b""), 0)).await;
    assert_eq!(orphan.unwrap_err().code(), Code::NotFound);
    record(&store, created("acme")).await.unwrap();
    record(&store, version("acme", "x", 1, Digest::of(b""), 0)).await.unwrap();
    let settings = Settings::from([("k".to_owned(), "v".repeat(70_000))]);
    let large = Event::SettingsReplaced { tenant: name("acme"), name: name("x"), settings, number: 0, sealed: None };
    assert_eq!(record(&store, large).await.unwrap_err().code(), Code::PayloadTooLarge);
    assert_eq!(store.sequence(), 2);
}

/// Rounds of every writer; `AIMASS_STORE_WRITES=3000` takes about a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f48_200_writers_do_not_deadlock() {
    let rounds = std::env::var("AIMASS_STORE_WRITES").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    let data = store.key_value();
    let work: Vec<_> = (0..200u64)
        .map(|writer| {
            let (store, data) = (store.clone(), Arc::clone(&data));
            tokio::spawn(async move {
                let bucket =
                    aimass_core::seam::Bucket { tenant: tenant("acme"), plugin: name("p"), name: String::new() };
                for round in 0..rounds {
                    record(&store, Event::TokenRevoked { jti: format!("{writer}-{round}") }).await.unwrap();
                    data.increment(&bucket, "n", 1).await.unwrap();
                    assert!(store.state().tenants(None, 3).unwrap().is_empty());
                }
            })
        })
        .collect();
    let all = async {
        for task in work {
            task.await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(300), all).await.unwrap();
    // And the tenant's data key.
    assert_eq!(store.sequence(), 200 * rounds + 1);
    assert_eq!(store.state().revoked().unwrap().len() as u64, 200 * rounds);
    assert!(store.verify_chain().unwrap().first_bad.is_none());
}
