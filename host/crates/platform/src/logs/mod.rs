//! What plugins' calls log, kept in memory for their tenants: the newest lines of each plugin, in bounded memory.
//!
//! Who logs never waits: a line goes under its tenant's own lock, which nobody holds for longer than it takes to copy a
//! few hundred references. When all tenants together are over the node's bound, somebody who logs makes room, and who
//! comes meanwhile loses a line rather than wait. Nothing of this survives the process.

mod book;
mod follow;
mod query;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use aimass_core::logs::{Line, LogKeeper};
use aimass_core::{Name, Tenant};

use book::{Book, Bounds};
pub use follow::{Follower, News};
pub use query::{CallEnd, LogDocument, LogQuery};

/// The newest lines of every plugin. One for a node; the sandbox and the platform write into it.
pub struct Logs {
    node: usize,
    bounds: Bounds,
    /// Tells this process's lines from those of one before.
    boot: u32,
    total: AtomicUsize,
    books: RwLock<HashMap<Tenant, Arc<Mutex<Book>>>>,
    /// Held by who makes room.
    trimming: Mutex<()>,
}

impl Logs {
    /// At most `bytes` of lines in all; an eighth of that for a tenant, and a quarter of its part for a plugin, so that
    /// one that is loud leaves the others theirs.
    pub fn new(bytes: usize) -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self {
            node: bytes,
            bounds: Bounds { tenant: bytes / 8, plugin: bytes / 32 },
            // Differs from that of every process that started in another second of the last 136 years.
            boot: since.as_secs() as u32,
            total: AtomicUsize::new(0),
            books: RwLock::default(),
            trimming: Mutex::default(),
        }
    }

    /// Forgets a plugin that was deleted; who follows it is at its end.
    pub(crate) fn forget(&self, tenant: &Tenant, plugin: &Name) {
        if let Some(book) = self.known(tenant) {
            self.change(&book, |book| book.forget(plugin));
        }
    }

    /// Forgets all of a tenant's lines; who follows them is at the end.
    pub(crate) fn forget_tenant(&self, tenant: &Name) {
        let mut books = self.books.write().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<_> = books.extract_if(|owner, _| owner.name() == tenant).collect();
        drop(books);
        for (_, book) in gone {
            self.change(&book, Book::clear);
        }
    }

    fn known(&self, tenant: &Tenant) -> Option<Arc<Mutex<Book>>> {
        self.books.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
    }

    fn book(&self, tenant: &Tenant) -> Arc<Mutex<Book>> {
        self.known(tenant).unwrap_or_else(|| {
            let mut books = self.books.write().unwrap_or_else(PoisonError::into_inner);
            books.entry(tenant.clone()).or_default().clone()
        })
    }

    /// Changes a book, and counts what it holds more or less since.
    fn change<T>(&self, book: &Mutex<Book>, act: impl FnOnce(&mut Book) -> T) -> T {
        let mut book = lock(book);
        let before = book.bytes();
        let done = act(&mut book);
        let after = book.bytes();
        // Wrapping: what is subtracted was added before.
        self.total.fetch_add(after.wrapping_sub(before), Relaxed);
        done
    }

    /// Makes room until the node's bound holds again, with some to spare. Whether there is room.
    fn trim(&self) -> bool {
        let Ok(_one) = self.trimming.try_lock() else { return false };
        if self.total.load(Relaxed) < self.node {
            return true;
        }
        let books: Vec<_> = self.books.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let share = (self.node / 8 * 7) / books.len().max(1);
        for book in books {
            self.change(&book, |book| book.shrink(share));
        }
        true
    }
}

impl LogKeeper for Logs {
    fn keep(&self, tenant: &Tenant, plugin: &Name, line: Line) {
        let room = self.total.load(Relaxed) < self.node || self.trim();
        let book = self.book(tenant);
        self.change(&book, |book| if room { book.push(plugin, line, self.bounds) } else { book.miss(plugin) });
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
