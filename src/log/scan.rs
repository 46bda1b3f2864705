//! All records of a range, a page at a time.

use std::vec::IntoIter;

use super::{Log, PageLimit, Range, Record};
use crate::error::Result;

/// Walks through a range without holding more of it than a page.
pub(crate) struct Scan<'a> {
    log: &'a dyn Log,
    /// What is left to read; `None` once a page came back empty or failed.
    rest: Option<Range>,
    page: IntoIter<Record>,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(log: &'a dyn Log, range: Range) -> Self {
        Self { log, rest: Some(range), page: Vec::new().into_iter() }
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(record) = self.page.next() {
            return Some(Ok(record));
        }
        let range = self.rest.take()?;
        match self.log.page(&range, PageLimit::default()) {
            Ok(page) => {
                self.rest = page.last().map(|last| range.behind(&last.key));
                self.page = page.into_iter();
                self.page.next().map(Ok)
            }
            Err(error) => Some(Err(error)),
        }
    }
}
