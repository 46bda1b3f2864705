//! Layers of records: what lies above hides what lies below under the same key.

use crate::error::Result;
use crate::log::{Order, PageLimit, Range, Record};

/// What a layer says of a key.
pub(super) trait Said {
    fn key(&self) -> &[u8];
    /// The record; `None` where the layer says that there is none.
    fn into_record(self) -> Option<Record>;
}

impl Said for Record {
    fn key(&self) -> &[u8] {
        &self.key
    }

    fn into_record(self) -> Option<Record> {
        Some(self)
    }
}

/// What a layer says in a range, a page at a time: any number of its keys may be hidden or gone.
pub(super) struct Layer<T, F> {
    /// What is left to read; `None` at the end.
    rest: Option<Range>,
    page: std::vec::IntoIter<T>,
    read: F,
}

impl<T: Said, F: Fn(&Range) -> Result<Vec<T>>> Layer<T, F> {
    /// `read` gives pages, none of them empty before the end.
    pub(super) fn new(range: Range, read: F) -> Self {
        Self { rest: Some(range), page: Vec::new().into_iter(), read }
    }

    fn peek(&mut self) -> Result<Option<&T>> {
        if self.page.as_slice().is_empty()
            && let Some(range) = self.rest.take()
        {
            let page = (self.read)(&range)?;
            self.rest = page.last().map(|last| range.behind(last.key()));
            self.page = page.into_iter();
        }
        Ok(self.page.as_slice().first())
    }

    fn next(&mut self) -> Option<T> {
        self.page.next()
    }
}

impl<T: Said> Layer<T, fn(&Range) -> Result<Vec<T>>> {
    /// What was read before, all at once.
    pub(super) fn of(page: Vec<T>) -> Self {
        Self { rest: None, page: page.into_iter(), read: |_| Ok(Vec::new()) }
    }
}

/// A page of two layers over the same range, in its order.
pub(super) fn merge<A: Said, B: Said>(
    mut above: Layer<A, impl Fn(&Range) -> Result<Vec<A>>>,
    mut below: Layer<B, impl Fn(&Range) -> Result<Vec<B>>>,
    order: Order,
    limit: PageLimit,
) -> Result<Vec<Record>> {
    let (mut page, mut bytes) = (Vec::new(), 0);
    while !limit.is_reached(page.len(), bytes) {
        let side = match (above.peek()?, below.peek()?) {
            (None, None) => break,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(above), Some(below)) => match order {
                Order::Ascending => above.key().cmp(below.key()),
                Order::Descending => below.key().cmp(above.key()),
            },
        };
        let hidden = if side.is_ge() { below.next() } else { None };
        let record = if side.is_gt() {
            hidden.and_then(Said::into_record)
        } else {
            above.next().and_then(Said::into_record)
        };
        bytes += record.as_ref().map_or(0, |record| record.key.len() + record.value.len());
        page.extend(record);
    }
    Ok(page)
}
