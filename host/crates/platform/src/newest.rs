//! The audit log from its end: what people look for is mostly what was done last.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use aimass_core::{Name, Result};
use aimass_store::Store;

use crate::audit::{AuditDocument, AuditQuery, SCAN, shown};
use crate::objects::{PAGE, Page};
use crate::{Asked, Platform};

impl Platform {
    /// One page of the audit log, newest first: of the records below number `before`, or of all. The cursor of the next
    /// page is such a number. The page may be empty and still have a next one.
    ///
    /// # Errors
    /// As [`Platform::audit`].
    pub async fn newest_audit(
        &self,
        asked: Asked<'_>,
        mut query: AuditQuery,
        before: Option<u64>,
    ) -> Result<Page<AuditDocument>> {
        let viewer = self.audit_viewer(&asked, &mut query).await?;
        self.walk(move |store| page(store, &query, before, viewer.as_ref())).await
    }
}

fn page(store: &Store, query: &AuditQuery, before: Option<u64>, viewer: Option<&Name>) -> Result<Page<AuditDocument>> {
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let end = before.unwrap_or(u64::MAX).min(store.sequence().saturating_add(1));
    let start = end.saturating_sub(SCAN + 1);
    let (mut kept, mut failed, mut more) = (VecDeque::with_capacity(limit), None, start > 0);
    aimass_store::read_journal(store.folder(), start, &mut |record| {
        if record.seq >= end {
            return ControlFlow::Break(());
        }
        match shown(&store.state(), record, query, viewer) {
            Ok(Some(document)) => {
                if kept.len() == limit {
                    kept.pop_front();
                    more = true;
                }
                kept.push_back(document);
            }
            Ok(None) => {}
            Err(fault) => {
                failed = Some(fault);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    if let Some(fault) = failed {
        return Err(fault);
    }
    // Fewer than a page: everything down to `start` was looked at.
    let lowest = if kept.len() == limit { kept.front().map_or(start, |oldest| oldest.seq) } else { start + 1 };
    let next = more.then(|| lowest.to_string());
    Ok(Page { items: kept.into_iter().rev().collect(), next })
}
