//! The fields of the index, and what an entry puts into them.

use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, NumericOptions, Schema, TantivyDocument,
    TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{TextAnalyzer, Token, TokenStream, Tokenizer};
use tantivy::{Index, Term};

use super::hit::Said;
use super::words::{Words, words};
use crate::id::Digest;

/// Goes up when an index of an earlier version does not do any more: it is made anew then.
pub(super) const SEARCH_VERSION: u32 = 3;

const TOKENIZER: &str = "sessionlog";

#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    /// The words.
    pub(super) text: Field,
    /// Stream and seq, as one term: what an entry is found by to be taken out.
    pub(super) place: Field,
    /// The stream that holds the event.
    pub(super) stream: Field,
    /// The scopes of those who may reach it.
    pub(super) owner: Field,
    /// Kind and role.
    pub(super) sort: Field,
    /// When the event was recorded.
    pub(super) at: Field,
}

/// Columns that are read for what was found.
pub(super) const SEQ: &str = "seq";
pub(super) const STREAM_HIGH: &str = "stream_high";
pub(super) const STREAM_LOW: &str = "stream_low";
pub(super) const AT: &str = "at";
/// The seq, and a part of the stream behind it: which of two comes first that are equal else.
pub(super) const TIE: &str = "tie";
/// The first bytes of the commitment to the stored body: tells whether it was replaced since.
pub(super) const MARK: &str = "mark";

/// Stands for the scopes of those who may reach it, all together.
pub(super) const REACH: &str = "reach";

pub(super) fn schema() -> Schema {
    let mut builder = Schema::builder();
    let words = TextFieldIndexing::default()
        .set_tokenizer(TOKENIZER)
        .set_index_option(IndexRecordOption::WithFreqsAndPositions);
    builder.add_text_field("text", TextOptions::default().set_indexing_options(words));
    builder.add_bytes_field("place", INDEXED);
    builder.add_bytes_field("stream", INDEXED);
    builder.add_bytes_field("owner", INDEXED);
    builder.add_u64_field("sort", NumericOptions::default().set_indexed());
    for column in [SEQ, STREAM_HIGH, STREAM_LOW, TIE, MARK, REACH] {
        builder.add_u64_field(column, FAST);
    }
    builder.add_i64_field(AT, FAST);
    builder.build()
}

pub(super) fn fields(schema: &Schema) -> tantivy::Result<Fields> {
    Ok(Fields {
        text: schema.get_field("text")?,
        place: schema.get_field("place")?,
        stream: schema.get_field("stream")?,
        owner: schema.get_field("owner")?,
        sort: schema.get_field("sort")?,
        at: schema.get_field(AT)?,
    })
}

pub(super) fn register_words(index: &Index) {
    index.tokenizers().register(TOKENIZER, TextAnalyzer::from(WordTokenizer));
}

/// An event in the index.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) stream: Digest,
    pub(super) seq: u64,
    pub(super) at_us: i64,
    pub(super) mark: u64,
    pub(super) owners: &'a [Digest],
    pub(super) said: &'a Said,
}

impl Entry<'_> {
    pub(super) fn document(
        &self,
        schema: &Schema,
        fields: &Fields,
    ) -> tantivy::Result<TantivyDocument> {
        let mut document = TantivyDocument::new();
        document.add_text(fields.text, &self.said.text);
        document.add_bytes(fields.place, &place_of(self.stream, self.seq));
        document.add_bytes(fields.stream, &self.stream.to_bytes());
        for owner in self.owners {
            document.add_bytes(fields.owner, &owner.to_bytes());
        }
        document.add_u64(fields.sort, self.said.sort());
        let (high, low) = halves(self.stream);
        let tie = (self.seq << 20) | (low & 0xf_ffff);
        let columns = [
            (SEQ, self.seq),
            (STREAM_HIGH, high),
            (STREAM_LOW, low),
            (TIE, tie),
            (MARK, self.mark),
            (REACH, reach_of(self.owners)),
        ];
        for (column, value) in columns {
            document.add_u64(schema.get_field(column)?, value);
        }
        document.add_i64(fields.at, self.at_us);
        Ok(document)
    }
}

/// A number for a set of scopes, which are in order.
pub(super) fn reach_of(owners: &[Digest]) -> u64 {
    owners.iter().fold(0, |reach, owner| reach.rotate_left(1) ^ halves(*owner).1)
}

pub(super) fn place_term(fields: &Fields, stream: Digest, seq: u64) -> Term {
    Term::from_field_bytes(fields.place, &place_of(stream, seq))
}

pub(super) fn stream_term(fields: &Fields, stream: Digest) -> Term {
    Term::from_field_bytes(fields.stream, &stream.to_bytes())
}

pub(super) fn owner_term(fields: &Fields, scope: Digest) -> Term {
    Term::from_field_bytes(fields.owner, &scope.to_bytes())
}

fn place_of(stream: Digest, seq: u64) -> [u8; 24] {
    let mut place = [0; 24];
    let (head, tail) = place.split_at_mut(16);
    head.copy_from_slice(&stream.to_bytes());
    tail.copy_from_slice(&seq.to_be_bytes());
    place
}

fn halves(stream: Digest) -> (u64, u64) {
    let whole = u128::from_be_bytes(stream.to_bytes());
    // The two halves of it.
    (
        u64::try_from(whole >> 64).unwrap_or_default(),
        u64::try_from(whole & u128::from(u64::MAX)).unwrap_or_default(),
    )
}

pub(super) fn stream_of(high: u64, low: u64) -> Digest {
    Digest(((u128::from(high) << 64) | u128::from(low)).to_be_bytes())
}

/// Gives tantivy the words of a text.
#[derive(Debug, Clone)]
struct WordTokenizer;

impl Tokenizer for WordTokenizer {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        WordStream { words: words(text), token: Token::default() }
    }
}

struct WordStream<'a> {
    words: Words<'a>,
    token: Token,
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        let Some(word) = self.words.next() else { return false };
        self.token.offset_from = word.range.start;
        self.token.offset_to = word.range.end;
        // It begins before the first word, at the greatest number.
        self.token.position = self.token.position.wrapping_add(1);
        self.token.text = word.folded;
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}
