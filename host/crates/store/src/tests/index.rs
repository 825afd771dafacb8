//! The view follows the journal, whatever happens to it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use aimass_core::data::{FileName, Format};
use aimass_core::event::{
    AliasDeleted, AliasSet, BatchWork, Canary, Change, DataKeysRewrapped, Deployment, FileDeleted, FileStored,
    JobAdvanced, JobCreated, JobEnded, JobOutcome, JobPart, JobRestarted, JobWork, Limits, OnError, Route, RowErrors,
    Sealed, SecretDeleted, SecretSet, Settings, Share, TenantErased, UploadWish, VersionDeleted,
};
use aimass_core::identity::{Issuer, KeySource, Revocation};
use proptest::prelude::*;

use super::*;
use crate::next_configuration;
use crate::view::rebuild;

/// One step of a random history. Some do not fit the state; they are refused, and must leave nothing.
#[derive(Clone, Debug)]
enum Step {
    Tenant(u8),
    Upload(u8, u8, bool, u64),
    Delete(u8, u8),
    Settings(u8, u8, u8),
    Secret(u8, u8, u8),
    Key(u8),
    Rewrap(Option<u8>),
    Public(u8, u8, bool),
    Limit(u8, u8),
    Mint(u8, Option<u8>),
    Revoke(u8),
    Issuer(u8, u8, u8),
    RemoveIssuer(u8, u8),
    RevokeOfIssuer(u8, u8, bool, bool),
    Role(u8, u8, bool),
    Accept(u8, u8),
    Fail(u8, u8),
    Signer(u8, u8, bool),
    Require(u8, bool),
    Trigger(u8, u8, u8),
    File(u8, u8, bool),
    Job(u8, u8),
    Advance(u8, u8),
    Restart(u8, u8),
    EndJob(u8, u8, bool),
    Alias(u8, u8, u8, bool),
    GoBack(u8, u8, u64),
    DropAlias(u8, u8),
    DropVersion(u8, u8, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (t, t2, o) = (0..3u8, 0..3u8, 0..4u8);
    prop_oneof![
        t.clone().prop_map(Step::Tenant),
        (t.clone(), o.clone(), any::<bool>(), 0..3u64).prop_map(|(t, o, plugin, key)| Step::Upload(t, o, plugin, key)),
        (t.clone(), o.clone()).prop_map(|(t, o)| Step::Delete(t, o)),
        (t.clone(), o.clone(), any::<u8>()).prop_map(|(t, o, v)| Step::Settings(t, o, v)),
        (t.clone(), o.clone(), any::<u8>()).prop_map(|(t, o, v)| Step::Secret(t, o, v)),
        t.clone().prop_map(Step::Key),
        // A tenant that is erased does nothing more, so not too often.
        proptest::option::weighted(0.3, t.clone()).prop_map(Step::Rewrap),
        (t.clone(), o, any::<bool>()).prop_map(|(t, o, p)| Step::Public(t, o, p)),
        (t.clone(), any::<u8>()).prop_map(|(t, w)| Step::Limit(t, w)),
        (0..9u8, proptest::option::of(t)).prop_map(|(j, t)| Step::Mint(j, t)),
        (0..9u8).prop_map(Step::Revoke),
        (0..3u8, 0..3u8, 0..3u8).prop_map(|(t, n, audience)| Step::Issuer(t, n, audience)),
        (0..3u8, 0..3u8).prop_map(|(t, n)| Step::RemoveIssuer(t, n)),
        (0..3u8, 0..3u8, any::<bool>(), any::<bool>()).prop_map(|(t, n, k, r)| Step::RevokeOfIssuer(t, n, k, r)),
        (0..3u8, 0..3u8, any::<bool>()).prop_map(|(t, n, made)| Step::Role(t, n, made)),
        (t2.clone(), 0..5u8).prop_map(|(t, id)| Step::Accept(t, id)),
        (t2.clone(), 0..5u8).prop_map(|(t, id)| Step::Fail(t, id)),
        (t2.clone(), 0..3u8, any::<bool>()).prop_map(|(t, s, add)| Step::Signer(t, s, add)),
        (t2.clone(), any::<bool>()).prop_map(|(t, required)| Step::Require(t, required)),
        (t2.clone(), 0..3u8, 0..6u8).prop_map(|(t, n, what)| Step::Trigger(t, n, what)),
        (t2.clone(), 0..3u8, any::<bool>()).prop_map(|(t, f, there)| Step::File(t, f, there)),
        (t2.clone(), 0..3u8).prop_map(|(t, id)| Step::Job(t, id)),
        (t2.clone(), 0..3u8).prop_map(|(t, id)| Step::Advance(t, id)),
        (t2.clone(), 0..3u8).prop_map(|(t, id)| Step::Restart(t, id)),
        (t2.clone(), 0..3u8, any::<bool>()).prop_map(|(t, id, done)| Step::EndJob(t, id, done)),
        (t2.clone(), 0..4u8, 1..4u8, any::<bool>()).prop_map(|(t, o, v, canary)| Step::Alias(t, o, v, canary)),
        (t2.clone(), 0..4u8, 1..4u64).prop_map(|(t, o, number)| Step::GoBack(t, o, number)),
        (t2.clone(), 0..4u8).prop_map(|(t, o)| Step::DropAlias(t, o)),
        (t2, 0..4u8, 1..3u64).prop_map(|(t, o, v)| Step::DropVersion(t, o, v)),
    ]
}

fn route(version: u64, canary: bool) -> Route {
    let canary = canary.then_some(Canary { version, gate: None, min_requests: 20, after_seconds: None });
    Route { split: vec![Share::new(version, 1)], shadow: None, shadow_configuration: None, canary }
}

/// The alias `prod` says this; or, going back to a deployment, that.
fn alias_set(tenant: Name, object: Name, route: Route, restores: Option<u64>) -> Event {
    let change = if restores.is_some() { Change::RolledBack } else { Change::Set };
    let deployment = Deployment { route, change, restores, gate: None, seen: vec![] };
    Event::AliasSet(AliasSet { tenant, name: object, alias: name("prod"), deployment })
}

#[tokio::test]
async fn a_rollback_goes_past_canaries_and_further_back_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    record(&store, created("acme")).await.unwrap();
    for n in 1..=3 {
        record(&store, version("acme", "x", n, Digest::of(b""), 0)).await.unwrap();
    }
    let (acme, x, prod) = (tenant("acme"), name("x"), name("prod"));
    let set = |route, restores| record(&store, alias_set(name("acme"), name("x"), route, restores));
    let row = || store.state().alias(&acme, &x, &prod).unwrap().unwrap();
    let says = || (row().deployment, row().back);
    set(route(1, false), None).await.unwrap();
    assert_eq!(says(), (1, None));
    set(route(2, true), None).await.unwrap();
    assert_eq!(says(), (2, Some(1)));
    set(route(2, false), None).await.unwrap();
    assert_eq!(says(), (3, Some(1)), "nobody goes back to a canary");
    set(route(3, false), None).await.unwrap();
    assert_eq!(says(), (4, Some(3)));
    set(route(2, false), Some(3)).await.unwrap();
    assert_eq!(says(), (5, Some(1)));
    set(route(1, false), Some(1)).await.unwrap();
    assert_eq!(says(), (6, None));
    let listed = store.state().deployments(&acme, &x, Some(5), 2).unwrap();
    assert_eq!(listed.iter().map(|row| row.number).collect::<Vec<_>>(), [4, 3], "newest first, in pages");

    assert_eq!(
        set(route(4, false), None).await.unwrap_err().code(),
        aimass_core::Code::Conflict,
        "there is no version 4"
    );
    record(&store, Event::ObjectDeleted { tenant: name("acme"), name: name("x") }).await.unwrap();
    assert!(store.state().aliases(&acme, &x, None, 9).unwrap().is_empty());
    assert!(store.state().deployments(&acme, &x, None, 9).unwrap().is_empty());
    assert_eq!(set(route(1, false), None).await.unwrap_err().code(), aimass_core::Code::NotFound);
    store.close().await;
}

fn file(n: u8) -> FileName {
    format!("f{n}.csv").parse().unwrap()
}

pub(super) fn work(n: u8) -> JobWork {
    JobWork::Batch(BatchWork {
        target: name("model"),
        version: 1,
        configuration: None,
        input: file(0),
        input_digest: Digest::of(b"in"),
        input_size: 2,
        input_format: Format::Csv,
        output: file(n),
        output_format: Format::Parquet,
        columns: [("x".to_owned(), vec!["a".to_owned()])].into(),
        keep: None,
        batch_size: 256,
        checkpoint_rows: 1_000,
        on_error: OnError::Skip,
    })
}

async fn take(store: &Store, step: Step) {
    let t = |n: u8| name(&format!("t{n}"));
    let o = |n: u8| name(&format!("o{n}"));
    let taken = store.write(Actor::system(), move |state| {
        let event = match step {
            Step::Tenant(n) => Event::TenantCreated { tenant: t(n) },
            Step::Upload(n, object, plugin, key) => Event::VersionCreated {
                version: state.object(&Tenant::vouched_for(t(n)), &o(object))?.map_or(0, |o| o.latest) + 1,
                tenant: t(n),
                kind: if plugin { Kind::Plugin } else { Kind::Model },
                name: o(object),
                digest: Digest::of(&[object]),
                size: 1,
                inspection: inspection(),
                idempotency_key: (key > 0).then(|| key.to_string()),
                // Sometimes what an upload became that was accepted before.
                provenance: Provenance { upload: (key > 1).then(|| object.to_string()), ..Provenance::default() },
            },
            Step::Accept(n, id) => Event::UploadAccepted {
                tenant: t(n),
                id: id.to_string(),
                name: o(id),
                digest: Digest::of(&[id]),
                size: 1,
                wish: UploadWish::default(),
            },
            Step::Fail(n, id) => {
                let (id, code, detail) = (id.to_string(), "compile_budget".to_owned(), "slow".to_owned());
                Event::UploadFailed { tenant: t(n), id, code, detail }
            }
            Step::Signer(n, s, true) => Event::SignerAdded { tenant: t(n), signer: o(s), key: s.to_string() },
            Step::Signer(n, s, false) => Event::SignerRemoved { tenant: t(n), signer: o(s) },
            Step::Require(n, required) => Event::SignaturesRequired { tenant: t(n), required },
            Step::File(n, f, true) => {
                Event::FileStored(FileStored { tenant: t(n), name: file(f), digest: Digest::of(&[f]), size: 1 })
            }
            Step::File(n, f, false) => Event::FileDeleted(FileDeleted { tenant: t(n), name: file(f) }),
            Step::Job(n, id) => Event::JobCreated(JobCreated { tenant: t(n), id: id.to_string(), work: work(id) }),
            Step::Advance(n, id) => {
                let rows = state.job(&Tenant::vouched_for(t(n)), &id.to_string())?.map_or(0, |row| row.rows) + 7;
                let part = JobPart { rows, digest: Digest::of(&[id]), size: 1 };
                let mut errors = RowErrors::default();
                errors.add(rows, "is null");
                Event::JobAdvanced(JobAdvanced { tenant: t(n), id: id.to_string(), part, errors })
            }
            Step::Restart(n, id) => Event::JobRestarted(JobRestarted { tenant: t(n), id: id.to_string() }),
            Step::EndJob(n, id, done) => {
                let outcome = match done {
                    true => JobOutcome::Done { rows: 9, digest: Digest::of(&[id]), size: 2 },
                    false => JobOutcome::Cancelled,
                };
                let errors = RowErrors::default();
                Event::JobEnded(JobEnded { tenant: t(n), id: id.to_string(), outcome, errors })
            }
            Step::Delete(n, object) => Event::ObjectDeleted { tenant: t(n), name: o(object) },
            Step::Settings(n, object, v) if v % 3 == 0 => {
                // As a release wrote them before they were sealed.
                let settings = Settings::from([("v".to_owned(), v.to_string())]);
                Event::SettingsReplaced { tenant: t(n), name: o(object), settings, number: 0, sealed: None }
            }
            Step::Settings(n, object, v) => {
                let number = next_configuration(state, &Tenant::vouched_for(t(n)), &o(object))?;
                let (settings, sealed) = (Settings::new(), Some(Sealed::new(vec![v])));
                Event::SettingsReplaced { tenant: t(n), name: o(object), settings, number, sealed }
            }
            Step::Secret(n, object, v) => {
                let number = next_configuration(state, &Tenant::vouched_for(t(n)), &o(object))?;
                let (tenant, name, key) = (t(n), o(object), (v % 4).to_string());
                match v % 3 {
                    0 => Event::SecretDeleted(SecretDeleted { tenant, name, key, number, everywhere: v % 7 == 0 }),
                    _ => {
                        let (sealed, everywhere) = (Sealed::new(vec![v]), v % 7 == 0);
                        Event::SecretSet(SecretSet { tenant, name, key, number, sealed, everywhere })
                    }
                }
            }
            Step::Key(n) => {
                let (ring, key) = ("r".to_owned(), n.to_string());
                Event::DataKeyCreated { tenant: t(n), ring, generation: 1, key }
            }
            Step::Rewrap(erased) => {
                let rows = state.data_keys()?.into_iter().filter(|row| erased.is_none_or(|n| row.tenant != t(n)));
                let keys = rows.map(|row| (row.tenant, "w".to_owned())).collect();
                let others = DataKeysRewrapped { ring: "r".to_owned(), generation: 2, keys };
                match erased {
                    Some(n) => Event::TenantErased(TenantErased { tenant: t(n), others }),
                    None => Event::DataKeysRewrapped(others),
                }
            }
            Step::Public(n, object, public) => Event::PublicAccessSet { tenant: t(n), name: o(object), public },
            Step::Mint(jti, n) => Event::TokenMinted {
                jti: jti.to_string(),
                subject: "s".to_owned(),
                tenant: n.map(t),
                scopes: vec![],
                expires: 9,
            },
            Step::Limit(n, weight) => {
                let limits = Limits { weight: std::num::NonZeroU32::new(weight.into()), ..Limits::default() };
                Event::TenantLimitsSet { tenant: t(n), limits }
            }
            Step::Revoke(jti) => Event::TokenRevoked { jti: jti.to_string() },
            Step::Issuer(n, issuer, audience) => Event::IssuerAdded {
                tenant: t(n),
                name: o(issuer),
                issuer: Issuer {
                    issuer: "https://id.example".to_owned(),
                    audience: audience.to_string(),
                    keys: KeySource::JwksUrl("https://id.example/keys".to_owned()),
                    roles_claim: "roles".to_owned(),
                },
            },
            Step::RemoveIssuer(n, issuer) => Event::IssuerRemoved { tenant: t(n), name: o(issuer) },
            Step::RevokeOfIssuer(n, issuer, key, revoked) => {
                let revocation =
                    if key { Revocation::Kid("k".to_owned()) } else { Revocation::Subject("s".to_owned()) };
                Event::IssuerRevocationSet { tenant: t(n), name: o(issuer), revocation, revoked }
            }
            Step::Role(n, role, true) => {
                Event::RoleSet { tenant: t(n), name: o(role), scopes: vec!["models:read".to_owned()] }
            }
            Step::Trigger(n, trigger, what) => super::triggers::some(t(n), o(trigger), what),
            Step::Role(n, role, false) => Event::RoleDeleted { tenant: t(n), name: o(role) },
            Step::Alias(n, object, version, canary) => {
                // Some as an older release wrote them.
                let newest = state.configuration(&Tenant::vouched_for(t(n)), &o(object), None)?.map(|row| row.number);
                let mut route = route(version.into(), canary);
                route.split[0].configuration = newest.filter(|number| number % 3 != 0).or((version == 1).then_some(0));
                alias_set(t(n), o(object), route, None)
            }
            Step::GoBack(n, object, number) => alias_set(t(n), o(object), route(1, false), Some(number)),
            Step::DropAlias(n, object) => {
                Event::AliasDeleted(AliasDeleted { tenant: t(n), name: o(object), alias: name("prod") })
            }
            Step::DropVersion(n, object, version) => {
                Event::VersionDeleted(VersionDeleted { tenant: t(n), name: o(object), version })
            }
        };
        Ok((Some(event), ()))
    });
    let _ = taken.await;
}

/// Whatever an alias says or can go back to, its settings and secrets are there.
fn named_configurations_are_there(store: &Store) {
    let state = store.state();
    for (t, o) in (0..3).flat_map(|t| (0..4).map(move |o| (t, o))) {
        let (tenant, object) = (tenant(&format!("t{t}")), name(&format!("o{o}")));
        let said = state.aliases(&tenant, &object, None, 9).unwrap().into_iter().map(|row| row.route);
        let were = state.deployments(&tenant, &object, None, 99).unwrap().into_iter().map(|row| row.deployment.route);
        for number in said.chain(were).flat_map(|route| route.configurations().collect::<Vec<_>>()) {
            store.configuration(&tenant, &object, Some(number)).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_rebuilt_view_equals_the_one_that_followed(steps in proptest::collection::vec(step(), 1..80)) {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let options = Options { segment_bytes: 4 << 10, ..Options::default() };
        let store = open(dir.path(), &options).unwrap();
        let followed = runtime.block_on(async {
            // In groups as they come, so that decisions meet pending rows.
            let tasks: Vec<_> = steps.into_iter().map(|step| {
                let store = store.clone();
                tokio::spawn(async move { take(&store, step).await })
            }).collect();
            for task in tasks {
                task.await.unwrap();
            }
            store.index().dump()
        });
        named_configurations_are_there(&store);
        drop(store);
        let rebuilt = rebuild(dir.path()).unwrap().dump();
        prop_assert_eq!(rebuilt, followed);
    }
}

/// A closed store with something of everything; what its index holds.
async fn sample(dir: &Path) -> std::collections::BTreeMap<Vec<u8>, Vec<u8>> {
    let store = open(dir, &Options::default()).unwrap();
    record(&store, created("acme")).await.unwrap();
    for n in 1..=20 {
        record(&store, version("acme", "x", n, Digest::of(b""), 0)).await.unwrap();
    }
    let rows = store.index().dump();
    store.close().await;
    rows
}

fn index_folders(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("index-"));
    paths.sort();
    paths
}

/// The folder in use.
fn index_folder(dir: &Path) -> PathBuf {
    index_folders(dir).pop().unwrap()
}

/// How many indexes were set aside and kept.
fn aside(dir: &Path) -> usize {
    index_folders(dir).len() - 1
}

fn index_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(index_folder(dir)).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    files
}

#[tokio::test]
async fn an_index_that_is_whole_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let rows = sample(dir.path()).await;
    let store = open(dir.path(), &Options::default()).unwrap();
    assert_eq!((store.index().dump(), aside(dir.path())), (rows, 0));
}

#[tokio::test]
async fn a_missing_index_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let rows = sample(dir.path()).await;
    fs::remove_dir_all(index_folder(dir.path())).unwrap();
    assert_eq!(open(dir.path(), &Options::default()).unwrap().index().dump(), rows);
}

#[tokio::test]
async fn f45_an_index_with_flipped_bits_is_rebuilt_or_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let rows = sample(dir.path()).await;
    let mut rebuilt = 0;
    for round in 0..40usize {
        let files = index_files(dir.path());
        let file = &files[round % files.len()];
        let mut bytes = fs::read(file).unwrap();
        let used = bytes.iter().rposition(|&b| b != 0).map_or(0, |n| n + 1);
        if used == 0 {
            continue;
        }
        let at = round * 7919 % used;
        bytes[at] ^= 1 << (round % 8);
        fs::write(file, bytes).unwrap();
        let before = aside(dir.path());
        let store = open(dir.path(), &Options::default()).unwrap();
        assert_eq!(store.index().dump(), rows, "round {round}: {} at {at}", file.display());
        rebuilt += usize::from(aside(dir.path()) != before);
        store.close().await;
        assert!(aside(dir.path()) <= 1, "only the newest is kept");
    }
    assert!(rebuilt > 0, "at least the first one was noticed");
}

#[tokio::test]
async fn an_index_of_another_journal_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path()).await;
    let other = tempfile::tempdir().unwrap();
    let store = open(other.path(), &Options::default()).unwrap();
    // As many records (with that of the blob's data key), other ones; and fewer.
    for n in 0..20 {
        record(&store, created(&format!("t{n}"))).await.unwrap();
    }
    let orphan = blob(&store, "acme", b"named by a record that is lost").await;
    let rows = store.index().dump();
    store.close().await;
    for shorter in [false, true] {
        let folder = index_folder(other.path());
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        for file in index_files(dir.path()) {
            fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
        }
        if shorter {
            fs::remove_dir_all(other.path().join("journal")).unwrap();
        }
        let store = open(other.path(), &Options::default()).unwrap();
        if shorter {
            assert_eq!(store.sequence(), 0);
            assert!(store.state().tenants(None, 9).unwrap().is_empty());
            assert!(store.blobs().path(&tenant("acme"), &orphan).exists(), "nothing is swept then");
        } else {
            assert_eq!(store.index().dump(), rows);
        }
        store.close().await;
    }
}

#[tokio::test]
async fn an_index_that_does_not_open_in_time_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let rows = sample(dir.path()).await;
    let options = Options { index_open_limit: Duration::ZERO, ..Options::default() };
    let store = open(dir.path(), &options).unwrap();
    assert_eq!((store.index().dump(), aside(dir.path())), (rows, 1));
}

#[tokio::test]
async fn f43_a_snapshot_that_sled_did_not_finish_does_not_keep_it_from_opening() {
    let dir = tempfile::tempdir().unwrap();
    let rows = sample(dir.path()).await;
    fs::write(index_folder(dir.path()).join("snap.FFFFFFFFFFFFFFF0.generating"), b"half a snapshot").unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    assert_eq!((store.index().dump(), aside(dir.path())), (rows, 0), "it is used, not rebuilt");
}
