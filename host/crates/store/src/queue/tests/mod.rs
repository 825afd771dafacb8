use std::fs;
use std::path::PathBuf;

use aimass_core::Code;

use super::*;
use crate::Store;
use crate::seal::KeyFile;

mod model;

const LIMITS: QueueLimits = QueueLimits { entries: 1_000, bytes: 1 << 30 };
const WISH: LeaseWish = LeaseWish { topic: Topic::Call, most: 100, per_tenant: 100, lease_ms: 1_000 };

fn tenant(text: &str) -> Tenant {
    Tenant::vouched_for(text.parse().unwrap())
}

fn open(dir: &Path, options: &Options) -> Store {
    Store::open_with(dir, KeyFile::at(dir.join("key")), options.clone()).unwrap()
}

fn parts(head: &str, body: &[u8]) -> Parts {
    Parts { head: head.to_owned().into(), body: body.to_vec().into() }
}

fn item(id: &str, due_ms: u64) -> NewItem {
    NewItem {
        id: id.to_owned(),
        topic: Topic::Call,
        subject: "hello".to_owned(),
        tag: None,
        once: None,
        due_ms,
        max_attempts: 3,
        request: parts("head", id.as_bytes()),
    }
}

fn failure(code: &str) -> Failure {
    Failure { code: code.to_owned(), detail: "it failed".to_owned() }
}

fn ids(rows: &[ItemRow]) -> Vec<&str> {
    rows.iter().map(|row| row.id.as_str()).collect()
}

fn bodies(dir: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(dir.join("queue/bodies")).unwrap().map(|e| e.unwrap().path());
    folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|e| e.unwrap().path())).collect()
}

#[tokio::test]
async fn an_item_is_handed_out_once_and_ends_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default());
    let (queue, acme) = (store.queue(), tenant("acme"));
    queue.put(&acme, item("a", 50), Some(LIMITS), 10).await.unwrap();
    assert!(queue.put(&acme, item("a", 0), Some(LIMITS), 11).await.unwrap().known);
    assert_eq!(queue.next_due(Topic::Call), Some(50));
    assert!(queue.lease(WISH, 49).await.unwrap().is_empty(), "it is not due");
    assert!(queue.lease(LeaseWish { topic: Topic::Webhook, ..WISH }, 50).await.unwrap().is_empty());
    let first = queue.lease(WISH, 50).await.unwrap().remove(0);
    assert_eq!((first.state, first.attempts, first.due_ms), (ItemState::Running, 1, 1_050));
    assert!(queue.lease(WISH, 1_049).await.unwrap().is_empty(), "somebody has it");
    queue.extend(&first, 2_000).await.unwrap();
    assert!(queue.lease(WISH, 1_999).await.unwrap().is_empty(), "and keeps it");

    let second = queue.lease(WISH, 2_000).await.unwrap().remove(0);
    assert_eq!(second.attempts, 2, "the lease of the first has ended");
    let late = queue.end(&first, Ending::Done(parts("late", b"")), 100, None, 2_001).await;
    assert_eq!(late.unwrap_err().code(), Code::Conflict);
    assert_eq!(queue.extend(&first, 9_999).await.unwrap_err().code(), Code::Conflict);
    let again = Ending::Again { failure: failure("unavailable"), due_ms: 3_000, counted: true };
    assert_eq!(queue.end(&second, again, 0, None, 2_002).await.unwrap().state, ItemState::Queued);
    let third = queue.lease(WISH, 3_000).await.unwrap().remove(0);
    let done = queue.end(&third, Ending::Done(parts("200", b"body")), 100, None, 3_001).await.unwrap();
    assert_eq!((done.state, done.attempts, done.expires_ms), (ItemState::Done, 3, Some(3_101)));
    assert_eq!(queue.result(&done).await.unwrap(), Some(parts("200", b"body")));
    assert_eq!(queue.request(&done).await.unwrap(), parts("head", b""), "what was to be done is gone");
    assert_eq!(queue.cancel(&acme, "a", 1, 3_002).await.unwrap_err().code(), Code::Conflict);

    assert_eq!(queue.sweep(3_100).await.unwrap(), 0);
    assert_eq!(queue.sweep(3_101).await.unwrap(), 1);
    assert!(queue.row(&acme, "a").is_none());
    assert_eq!(queue.result(&done).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(queue.used(&acme), QueueUse::default());
}

#[tokio::test]
async fn an_attempt_that_was_not_let_in_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default());
    let (queue, acme) = (store.queue(), tenant("acme"));
    queue.put(&acme, item("a", 0), Some(LIMITS), 0).await.unwrap();
    let row = queue.lease(WISH, 0).await.unwrap().remove(0);
    let again = Ending::Again { failure: failure("rate_limited"), due_ms: 5, counted: false };
    queue.end(&row, again, 0, None, 1).await.unwrap();
    assert_eq!(queue.lease(WISH, 5).await.unwrap()[0].attempts, 1);
}

#[tokio::test]
async fn what_was_given_up_can_be_tried_again_and_what_was_cancelled_cannot() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default());
    let (queue, acme) = (store.queue(), tenant("acme"));
    for (id, due) in [("a", 0), ("b", 9_999)] {
        queue.put(&acme, item(id, due), Some(LIMITS), 0).await.unwrap();
    }
    let row = queue.lease(LeaseWish { most: 1, ..WISH }, 0).await.unwrap().remove(0);
    let dead = Ending::Dead(failure("plugin_trap"), Some(parts("502", b"problem")));
    let row = queue.end(&row, dead, 100, None, 1).await.unwrap();
    assert_eq!(row.failure, Some(failure("plugin_trap")));
    assert_eq!(queue.result(&row).await.unwrap(), Some(parts("502", b"problem")));
    let row = queue.retry(&acme, "a", 5, LIMITS, 2).await.unwrap();
    assert_eq!((row.state, row.attempts, row.max_attempts, row.has_result()), (ItemState::Queued, 1, 6, false));
    let row = queue.lease(LeaseWish { most: 1, ..WISH }, 2).await.unwrap().remove(0);
    assert_eq!(queue.request(&row).await.unwrap(), parts("head", b"a"), "it is there for another try");
    assert_eq!(queue.cancel(&acme, "a", 9, 3).await.unwrap().state, ItemState::Cancelled);
    let ended = queue.end(&row, Ending::Done(parts("200", b"")), 100, None, 4).await;
    assert_eq!(ended.unwrap_err().code(), Code::Conflict, "whoever ran it finds out");
    assert_eq!(queue.retry(&acme, "a", 5, LIMITS, 5).await.unwrap_err().code(), Code::Conflict);
    assert_eq!(queue.cancel(&tenant("other"), "b", 9, 5).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn every_tenant_has_its_turn_and_no_more_than_its_part() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default());
    let queue = store.queue();
    for n in 0..20 {
        queue.put(&tenant("flood"), item(&format!("f{n:02}"), 0), Some(LIMITS), 0).await.unwrap();
    }
    for name in ["acme", "zeta"] {
        queue.put(&tenant(name), item(name, 5), Some(LIMITS), 0).await.unwrap();
    }
    let wish = LeaseWish { most: 4, per_tenant: 5, ..WISH };
    assert_eq!(ids(&queue.lease(wish, 5).await.unwrap()), ["acme", "f00", "zeta", "f01"]);
    assert_eq!(ids(&queue.lease(wish, 5).await.unwrap()), ["f02", "f03", "f04"], "five run");
    queue.put(&tenant("acme"), item("more", 0), Some(LIMITS), 6).await.unwrap();
    assert_eq!(ids(&queue.lease(wish, 6).await.unwrap()), ["more"]);
}

#[tokio::test]
async fn a_key_stands_for_one_request() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default());
    let (queue, acme) = (store.queue(), tenant("acme"));
    let with = |id: &str, fingerprint: &str| NewItem {
        once: Some(Once { key: "k".to_owned(), fingerprint: fingerprint.to_owned() }),
        ..item(id, 0)
    };
    let (one, two) = tokio::join!(
        queue.put(&acme, with("a", "same"), Some(LIMITS), 0),
        queue.put(&acme, with("b", "same"), Some(LIMITS), 0)
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one.known != two.known && one.row == two.row, "{one:?} {two:?}");
    let reused = queue.put(&acme, with("c", "other"), Some(LIMITS), 0).await.unwrap_err();
    assert_eq!(reused.code(), Code::IdempotencyKeyReused);
    assert!(!queue.put(&tenant("other"), with("c", "other"), Some(LIMITS), 0).await.unwrap().known);
    drop(store);
    let store = open(dir.path(), &Options::default());
    assert!(store.queue().put(&acme, with("d", "same"), Some(LIMITS), 0).await.unwrap().known);
    assert_eq!(store.queue().list(&acme, Topic::Call, &ItemFilter::default(), None, 9).len(), 1);
}

#[tokio::test]
async fn a_tenants_queue_is_bounded_in_entries_and_in_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default());
    let (queue, acme) = (store.queue(), tenant("acme"));
    let limits = QueueLimits { entries: 3, bytes: 20_000 };
    let ids = ["a", "b", "c", "d", "e"];
    let puts = ids.map(|id| queue.put(&acme, item(id, 0), Some(limits), 0));
    let codes: Vec<_> = futures_of(puts).await.into_iter().map(|put| put.map(drop).map_err(|f| f.code())).collect();
    // Also those of one group are counted together.
    assert_eq!(codes.iter().filter(|c| **c == Err(Code::RateLimited)).count(), 2, "{codes:?}");
    let full = NewItem { request: parts("", &[0; 20_000]), ..item("x", 0) };
    queue.cancel(&acme, "a", 9_999, 0).await.unwrap();
    let put = queue.put(&acme, full.clone(), Some(limits), 0).await;
    assert_eq!(put.unwrap_err().code(), Code::StorageFull);
    queue.put(&tenant("other"), full, Some(QueueLimits { bytes: 30_000, ..limits }), 0).await.unwrap();
    queue.put(&acme, item("y", 0), Some(limits), 0).await.unwrap();
}

async fn futures_of<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut done = vec![];
    let mut all: Vec<_> = futures.into_iter().map(|f| Box::pin(f)).collect();
    std::future::poll_fn(|cx| {
        all.retain_mut(|future| match future.as_mut().poll(cx) {
            std::task::Poll::Ready(value) => {
                done.push(value);
                false
            }
            std::task::Poll::Pending => true,
        });
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

#[tokio::test]
async fn large_bodies_have_files_that_go_with_their_item() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default());
    let (queue, acme) = (store.queue(), tenant("acme"));
    let secret = b"a distinctive sentence that nobody may read on the disk ".repeat(2_000);
    let large = NewItem { request: parts("distinctive head", &secret), ..item("a", 0) };
    queue.put(&acme, large.clone(), Some(LIMITS), 0).await.unwrap();
    assert!(queue.put(&acme, large.clone(), Some(LIMITS), 0).await.unwrap().known);
    assert_eq!(bodies(dir.path()).len(), 1);
    let refused = NewItem { id: "b".to_owned(), ..large };
    queue.put(&acme, refused, Some(QueueLimits { entries: 0, bytes: 0 }), 0).await.unwrap_err();
    assert_eq!(bodies(dir.path()).len(), 1, "what was refused leaves nothing");

    let row = queue.lease(WISH, 0).await.unwrap().remove(0);
    assert_eq!(queue.request(&row).await.unwrap().body, secret);
    let row = queue.end(&row, Ending::Done(parts("200", &secret)), 10, None, 1).await.unwrap();
    assert_eq!(bodies(dir.path()).len(), 1, "the request's file has gone, the result's has come");
    drop(store);
    fs::write(dir.path().join("queue/bodies/acme/left-over"), b"x").unwrap();
    let store = open(dir.path(), &Options::default());
    assert_eq!(bodies(dir.path()).len(), 1);
    assert_eq!(store.queue().result(&row).await.unwrap().unwrap().body, secret);
    // Nothing of it is to be read anywhere.
    for file in walk(&dir.path().join("queue")) {
        let bytes = fs::read(&file).unwrap();
        assert!(!bytes.windows(11).any(|w| w == b"distinctive"), "{}", file.display());
    }
    store.queue().sweep(11).await.unwrap();
    assert!(bodies(dir.path()).is_empty());
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn f39_bodies_swapped_between_items_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default());
    let (queue, acme) = (store.queue(), tenant("acme"));
    for (id, fill) in [("a", 1), ("b", 2)] {
        let new = NewItem { request: parts("", &[fill; 70_000]), ..item(id, 0) };
        queue.put(&acme, new, Some(LIMITS), 0).await.unwrap();
    }
    let files = bodies(dir.path());
    let contents: Vec<_> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    fs::write(&files[0], &contents[1]).unwrap();
    fs::remove_file(&files[1]).unwrap();
    for row in queue.list(&acme, Topic::Call, &ItemFilter::default(), None, 9) {
        assert_eq!(queue.request(&row).await.unwrap_err().code(), Code::Integrity, "{}", row.id);
    }
}

#[tokio::test]
async fn f46_a_full_disk_refuses_the_put_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::default();
    let store = open(dir.path(), &options);
    let (queue, acme) = (store.queue(), tenant("acme"));
    queue.put(&acme, item("a", 0), Some(LIMITS), 0).await.unwrap();
    *options.faults.room.lock().unwrap() = Some(3);
    let put = queue.put(&acme, item("b", 0), Some(LIMITS), 0).await;
    assert_eq!(put.unwrap_err().code(), Code::StorageFull);
    assert_eq!(queue.lease(WISH, 0).await.unwrap_err().code(), Code::StorageFull);
    assert_eq!(queue.row(&acme, "a").unwrap().state, ItemState::Queued);
    *options.faults.room.lock().unwrap() = None;
    assert_eq!(ids(&queue.lease(WISH, 0).await.unwrap()), ["a"]);
    assert!(queue.row(&acme, "b").is_none());
}

#[tokio::test]
async fn what_follows_is_put_in_the_same_record_and_a_tenant_can_be_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default());
    let (queue, acme) = (store.queue(), tenant("acme"));
    queue.put(&acme, item("a", 0), Some(LIMITS), 0).await.unwrap();
    let row = queue.lease(WISH, 0).await.unwrap().remove(0);
    let message = NewItem { topic: Topic::Webhook, tag: Some("a".to_owned()), ..item("m", 1) };
    queue.end(&row, Ending::Done(Parts::default()), 10, Some(message), 1).await.unwrap();
    let filter = ItemFilter { tag: Some("a".to_owned()), ..ItemFilter::default() };
    assert_eq!(ids(&queue.list(&acme, Topic::Webhook, &filter, None, 9)), ["m"]);
    queue.erase(acme.name()).await.unwrap();
    assert_eq!((queue.used(&acme), queue.row(&acme, "m")), (QueueUse::default(), None));
}

#[tokio::test]
async fn a_list_can_be_read_from_either_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default());
    let (queue, acme, all) = (store.queue(), tenant("acme"), ItemFilter::default());
    for id in ["a", "b", "c"] {
        queue.put(&acme, item(id, 0), Some(LIMITS), 0).await.unwrap();
    }
    assert_eq!(ids(&queue.list(&acme, Topic::Call, &all, Some("a"), 2)), ["b", "c"]);
    assert_eq!(ids(&queue.newest(&acme, Topic::Call, &all, None, 2)), ["c", "b"]);
    assert_eq!(ids(&queue.newest(&acme, Topic::Call, &all, Some("b"), 2)), ["a"]);
    assert!(queue.newest(&acme, Topic::Webhook, &all, None, 2).is_empty());
    assert!(queue.newest(&tenant("other"), Topic::Call, &all, None, 2).is_empty());
}

#[tokio::test]
async fn a_backup_holds_the_queue() {
    let (dir, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(dir.path(), &Options::default());
    let acme = tenant("acme");
    let large = NewItem { request: parts("", &[7; 70_000]), ..item("a", 0) };
    store.queue().put(&acme, large, Some(LIMITS), 0).await.unwrap();
    let backup = target.path().join("backup");
    crate::backup(dir.path(), &backup, &[], None, &mut |_| {}).unwrap();
    crate::restore(&backup, &target.path().join("data"), &mut |_| {}).unwrap();
    let restored =
        Store::open_with(&target.path().join("data/store"), KeyFile::at(dir.path().join("key")), Options::default())
            .unwrap();
    let row = restored.queue().row(&acme, "a").unwrap();
    assert_eq!(restored.queue().request(&row).await.unwrap().body, vec![7; 70_000]);
}
