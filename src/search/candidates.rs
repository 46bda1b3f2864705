//! What the index says may match, the best first.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::Bound;

use tantivy::collector::{Count, TopDocs};
use tantivy::query::{
    Bm25StatisticsProvider, BooleanQuery, ConstScoreQuery, Occur, PhraseQuery, Query, RangeQuery,
    TermQuery, TermSetQuery,
};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocId, Score, Searcher, SegmentReader, Term};

use super::hit::sort_of;
use super::index::Searching;
use super::query::SearchQuery;
use super::schema::{self, AT, Fields, SEQ, STREAM_HIGH, STREAM_LOW, TIE};
use super::store::guarded;
use super::wanted::{Phrase, Wanted};
use super::{SearchKind, hit::Speaker};
use crate::access::Access;
use crate::error::Result;
use crate::id::Digest;
use crate::index::scope_of;

/// Words of an entry of middling length. A constant, so that the length of what others say does
/// not change anybody's order.
const AVERAGE_WORDS: u64 = 64;

/// Scores that differ by less are equal: sums of the same numbers in another order are.
const SCORE_STEPS: f32 = 1_000.0;

/// An event that may match.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) stream: Digest,
    pub(super) seq: u64,
    pub(super) score: f32,
}

/// A query as the index takes it.
pub(super) struct Candidates<'a> {
    searching: &'a Searching<'a>,
    query: Box<dyn Query>,
    statistics: Statistics<'a>,
}

impl<'a> Candidates<'a> {
    /// `streams` are those that hold the sessions that are searched; `None` for all. `without` are
    /// streams that hold none of them.
    pub(super) fn new(
        searching: &'a Searching<'a>,
        request: &SearchQuery,
        wanted: &Wanted,
        streams: Option<&[Digest]>,
        without: &[Digest],
    ) -> Result<Self> {
        let fields = searching.fields;
        let owner = match request.reach() {
            Access::User(user_id) => Some(scope_of(Some(&user_id))),
            Access::Nobody => Some(scope_of(None)),
            Access::Admin => None,
        };
        let owner = owner.map(|scope| schema::owner_term(&fields, scope));
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        let mut terms = Vec::new();
        for phrase in &wanted.all {
            clauses.extend(wanted_queries(&fields, phrase).map(|query| (Occur::Must, query)));
            terms.extend(phrase.words.iter().map(|word| Term::from_field_text(fields.text, word)));
        }
        for phrase in &wanted.none {
            // Of a phrase whose last word may go on the index only knows the words.
            if !phrase.is_prefix || phrase.words.len() == 1 {
                clauses
                    .extend(wanted_queries(&fields, phrase).map(|query| (Occur::MustNot, query)));
            }
        }
        if !without.is_empty() {
            let terms = without.iter().map(|stream| schema::stream_term(&fields, *stream));
            clauses.push((Occur::MustNot, Box::new(TermSetQuery::new(terms))));
        }
        let filters = filters(&fields, request, owner.as_ref(), streams);
        clauses.extend(filters.into_iter().map(|filter| (Occur::Must, unscored(filter))));
        let statistics = guarded(|| Statistics::new(&searching.searchers, owner, terms))?;
        Ok(Self { searching, query: Box::new(BooleanQuery::new(clauses)), statistics })
    }

    /// The best so many: by score, then the newest.
    pub(super) fn best(&self, count: usize) -> Result<Vec<Candidate>> {
        let mut best: Vec<(Rank, Candidate)> = Vec::new();
        for searcher in &self.searching.searchers {
            best.extend(guarded(|| self.best_of(searcher, count))?);
        }
        best.sort_by_key(|(rank, _)| Reverse(*rank));
        best.truncate(count);
        Ok(best.into_iter().map(|(_, candidate)| candidate).collect())
    }

    fn best_of(
        &self,
        searcher: &Searcher,
        count: usize,
    ) -> tantivy::Result<Vec<(Rank, Candidate)>> {
        let collector = TopDocs::with_limit(count.max(1)).tweak_score(ranked);
        let statistics = &self.statistics;
        let found =
            searcher.search_with_statistics_provider(&*self.query, &collector, statistics)?;
        let mut candidates = Vec::with_capacity(found.len());
        for (rank, address) in found {
            let columns = searcher.segment_reader(address.segment_ord).fast_fields();
            let value = |column| -> tantivy::Result<u64> {
                Ok(columns.u64(column)?.first(address.doc_id).unwrap_or_default())
            };
            let stream = schema::stream_of(value(STREAM_HIGH)?, value(STREAM_LOW)?);
            let score = rank.0 as f32 / SCORE_STEPS;
            candidates.push((rank, Candidate { stream, seq: value(SEQ)?, score }));
        }
        Ok(candidates)
    }
}

/// Score, time, and which of two comes first then.
type Rank = (u32, i64, u64);

fn ranked(segment: &SegmentReader) -> impl Fn(DocId, Score) -> Rank + use<> {
    let columns = segment.fast_fields();
    let (at, tie) = (columns.i64(AT), columns.u64(TIE));
    move |doc, score| {
        let at = at.as_ref().ok().and_then(|at| at.first(doc)).unwrap_or_default();
        let tie = tie.as_ref().ok().and_then(|tie| tie.first(doc)).unwrap_or_default();
        (steps(score), at, tie)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
fn steps(score: Score) -> u32 {
    (score * SCORE_STEPS).round() as u32
}

/// What an entry with a phrase has, as narrow as the index can say.
fn wanted_queries<'a>(
    fields: &'a Fields,
    phrase: &'a Phrase,
) -> impl Iterator<Item = Box<dyn Query>> + 'a {
    let (last, before) = match phrase.words.split_last() {
        Some((last, before)) if phrase.is_prefix => (Some(last), before),
        _ => (None, phrase.words.as_slice()),
    };
    let exact = exactly(fields.text, before);
    let prefix = last.map(|last| beginning_with(fields.text, last));
    exact.into_iter().chain(prefix)
}

fn exactly(text: Field, words: &[String]) -> Option<Box<dyn Query>> {
    let mut terms: Vec<Term> = words.iter().map(|word| Term::from_field_text(text, word)).collect();
    match terms.len() {
        0 => None,
        1 => {
            let term = terms.pop()?;
            Some(Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)))
        }
        _ => Some(Box::new(PhraseQuery::new(terms))),
    }
}

fn beginning_with(text: Field, word: &str) -> Box<dyn Query> {
    let from = Bound::Included(Term::from_field_text(text, word));
    // No word goes on with this character.
    let until = Bound::Excluded(Term::from_field_text(text, &format!("{word}\u{10ffff}")));
    Box::new(RangeQuery::new(from, until))
}

fn unscored(query: Box<dyn Query>) -> Box<dyn Query> {
    Box::new(ConstScoreQuery::new(query, 0.0))
}

fn filters(
    fields: &Fields,
    request: &SearchQuery,
    owner: Option<&Term>,
    streams: Option<&[Digest]>,
) -> Vec<Box<dyn Query>> {
    let mut filters: Vec<Box<dyn Query>> = Vec::new();
    if let Some(owner) = owner {
        filters.push(Box::new(TermQuery::new(owner.clone(), IndexRecordOption::Basic)));
    }
    if let Some(streams) = streams {
        let terms = streams.iter().map(|stream| schema::stream_term(fields, *stream));
        filters.push(Box::new(TermSetQuery::new(terms)));
    }
    if let Some(sorts) = sorts(request) {
        let terms = sorts.into_iter().map(|sort| Term::from_field_u64(fields.sort, sort));
        filters.push(Box::new(TermSetQuery::new(terms)));
    }
    if request.since_us.is_some() || request.until_us.is_some() {
        let term = |at_us: i64| Bound::Included(Term::from_field_i64(fields.at, at_us));
        let since = term(request.since_us.unwrap_or(i64::MIN));
        let until = term(request.until_us.unwrap_or(i64::MAX));
        filters.push(Box::new(RangeQuery::new(since, until)));
    }
    filters
}

/// The kinds and roles that are asked for; `None` for all.
fn sorts(request: &SearchQuery) -> Option<Vec<u64>> {
    if request.kinds.is_empty() && request.roles.is_empty() {
        return None;
    }
    let has = |kind| request.kinds.is_empty() || request.kinds.contains(&kind);
    let mut sorts = Vec::new();
    for speaker in [Speaker::User, Speaker::Assistant] {
        let is_asked = request.roles.is_empty()
            || request.roles.iter().any(|role| Speaker::of(role) == Some(speaker));
        if has(SearchKind::Message) && is_asked {
            sorts.push(sort_of(SearchKind::Message, Some(speaker)));
        }
    }
    for kind in [SearchKind::Name, SearchKind::Summary] {
        // Nobody speaks in these.
        if has(kind) && request.roles.is_empty() {
            sorts.push(sort_of(kind, None));
        }
    }
    Some(sorts)
}

/// How rare words are in what the caller reaches. So nothing that others say shows in a score.
struct Statistics<'a> {
    searchers: &'a [Searcher],
    owner: Option<Term>,
    entries: u64,
    with_word: HashMap<Term, u64>,
}

impl<'a> Statistics<'a> {
    fn new(
        searchers: &'a [Searcher],
        owner: Option<Term>,
        terms: Vec<Term>,
    ) -> tantivy::Result<Self> {
        let entries = match &owner {
            Some(owner) => count(searchers, [owner])?,
            None => searchers.iter().map(Searcher::num_docs).sum(),
        };
        let mut statistics = Self { searchers, owner, entries, with_word: HashMap::new() };
        for term in terms {
            if !statistics.with_word.contains_key(&term) {
                let with_word = statistics.count(&term)?;
                statistics.with_word.insert(term, with_word);
            }
        }
        Ok(statistics)
    }

    fn count(&self, term: &Term) -> tantivy::Result<u64> {
        let entries = match &self.owner {
            Some(owner) => count(self.searchers, [owner, term])?,
            None => self
                .searchers
                .iter()
                .map(|searcher| searcher.doc_freq(term))
                .sum::<tantivy::Result<u64>>()?,
        };
        // Without an owner it counts those that were taken out, too.
        Ok(entries.min(self.entries))
    }
}

fn count<'a>(
    searchers: &[Searcher],
    terms: impl IntoIterator<Item = &'a Term>,
) -> tantivy::Result<u64> {
    let having = |term: &Term| -> (Occur, Box<dyn Query>) {
        (Occur::Must, Box::new(TermQuery::new(term.clone(), IndexRecordOption::Basic)))
    };
    let query = BooleanQuery::new(terms.into_iter().map(having).collect());
    searchers.iter().map(|searcher| Ok(searcher.search(&query, &Count)? as u64)).sum()
}

impl Bm25StatisticsProvider for Statistics<'_> {
    fn total_num_tokens(&self, _field: Field) -> tantivy::Result<u64> {
        Ok(self.entries.saturating_mul(AVERAGE_WORDS))
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(self.entries)
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        self.with_word.get(term).map_or_else(|| self.count(term), |count| Ok(*count))
    }
}
