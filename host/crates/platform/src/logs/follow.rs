//! Following a plugin's lines as they come.

use std::sync::Arc;

use aimass_core::{Name, Tenant};
use tokio::sync::Notify;

use super::query::{Filter, LogDocument, LogQuery, MOST, number};
use super::{Logs, lock};
use crate::{Asked, Platform, Scope};

/// Lines that are looked at under the lock at once, and that a follower holds at most: of the longest, 256 KiB.
const PIECE: usize = 32;

/// What came.
#[derive(Clone, Debug)]
pub enum News {
    /// A line.
    Line(LogDocument),
    /// So many lines came and went that the reader did not take in time; without a number, an unknown number: the
    /// reader had read another process's.
    Lost(Option<u64>),
}

/// Follows one plugin. It holds a place in the lines and no lines: a reader that is slow loses some and is told how
/// many.
pub struct Follower {
    logs: Arc<Logs>,
    tenant: Tenant,
    plugin: Name,
    told: Arc<Notify>,
    filter: Filter,
    next: u64,
    /// It went on from a line of a process before this one.
    restarted: bool,
}

impl Follower {
    /// What came since, after having waited for it; never nothing. None when the plugin was deleted.
    pub async fn next(&mut self) -> Option<Vec<News>> {
        loop {
            // Before looking: what comes between is told as well.
            let told = self.told.clone();
            let told = told.notified();
            let piece = match self.logs.known(&self.tenant) {
                Some(book) => lock(&book).after(&self.plugin, self.next, PIECE)?,
                None => return None,
            };
            let whole = piece.lines.len() == PIECE;
            self.next = piece.next;
            let mut news = vec![];
            news.extend(std::mem::take(&mut self.restarted).then_some(News::Lost(None)));
            news.extend((piece.lost > 0).then_some(News::Lost(Some(piece.lost))));
            let documents = piece.lines.iter().map(|kept| LogDocument::of(kept, self.logs.boot));
            news.extend(documents.filter(|line| self.filter.passes(line)).map(News::Line));
            if !news.is_empty() {
                return Some(news);
            }
            if !whole {
                told.await;
            }
        }
    }
}

impl Platform {
    /// Follows a plugin's lines, from behind the line `query.after`, or from the last `query.limit` ones (none if that
    /// is not given) that pass.
    ///
    /// # Errors
    /// `not_found`; `invalid_request` for a line's id that is none.
    pub fn follow_logs(&self, asked: Asked<'_>, plugin: &Name, query: &LogQuery) -> aimass_core::Result<Follower> {
        let tenant = asked.tenant(Scope::PluginsRead)?;
        self.object_row(tenant, aimass_core::event::Kind::Plugin, plugin)?;
        let (book, filter) = (self.logs.book(tenant), Filter::new(query));
        let (told, next) = self.logs.change(&book, |book| book.follow(plugin));
        let (logs, tenant, plugin) = (self.logs.clone(), tenant.clone(), plugin.clone());
        let mut follower = Follower { logs, tenant, plugin, told, filter, next, restarted: false };
        match query.after.as_deref().map(number).transpose()? {
            Some((boot, last)) if boot == follower.logs.boot => follower.next = last.saturating_add(1).min(next),
            Some(_) => {
                // Every line that is there is newer than that one.
                follower.next = lock(&book).oldest(&follower.plugin);
                follower.restarted = true;
            }
            None => {
                let (mut left, mut first) = (query.limit.unwrap_or(0).min(MOST), next);
                if left > 0 {
                    let of = (&follower.tenant, &follower.plugin);
                    follower.logs.newest(of, &follower.filter, next, |number, _| {
                        (first, left) = (number, left - 1);
                        left > 0
                    });
                }
                follower.next = first;
            }
        }
        Ok(follower)
    }
}
