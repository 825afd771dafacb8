//! WordPiece over the vocabulary that was built in.

use aimass_sdk::Fault;

use crate::index::slot;

include!(concat!(env!("OUT_DIR"), "/built_in.rs"));

/// Longer words are unknown without being looked at, as in BERT's tokenizer.
const LONGEST_WORD: usize = 100;

/// The tokens that are taken literally where they stand in a text.
const LITERAL: [&str; 5] = ["[CLS]", "[SEP]", "[UNK]", "[MASK]", "[PAD]"];

/// Tokens by their ids: see [`Index`](crate::index::Index).
pub(crate) struct Vocabulary<'a> {
    text: &'a [u8],
    starts: &'a [u32],
    slots: &'a [u16],
    longest: usize,
}

/// Cuts words into tokens.
pub(crate) struct Tokenizer<'a> {
    vocabulary: &'a Vocabulary<'a>,
    /// The ids of [`LITERAL`].
    special: [i64; 5],
}

impl<'a> Vocabulary<'a> {
    /// # Errors
    /// It lacks a special token; or there is none.
    pub(crate) fn tokenizer(&'a self) -> Result<Tokenizer<'a>, Fault> {
        if self.text.is_empty() {
            return Err(Fault::internal("no vocabulary was built in: build with MINILM_VOCABULARY=.../vocab.txt"));
        }
        let mut special = [0; 5];
        for (id, token) in special.iter_mut().zip(LITERAL) {
            let missing = || Fault::internal(format!("what was built in is no vocab.txt of a BERT: it lacks {token}"));
            *id = self.find("", token).ok_or_else(missing)?;
        }
        Ok(Tokenizer { vocabulary: self, special })
    }

    /// The id of the token that is `prefix` and `piece` together.
    fn find(&self, prefix: &str, piece: &str) -> Option<i64> {
        let mut at = slot(prefix.bytes().chain(piece.bytes()), self.slots.len());
        loop {
            let id = usize::from(self.slots[at].checked_sub(1)?);
            let token = &self.text[self.starts[id] as usize..self.starts[id + 1] as usize - 1];
            if token.strip_prefix(prefix.as_bytes()) == Some(piece.as_bytes()) {
                return Some(id as i64);
            }
            at = (at + 1) % self.slots.len();
        }
    }
}

impl Tokenizer<'_> {
    /// `[CLS]`
    pub(crate) fn beginning(&self) -> i64 {
        self.special[0]
    }

    /// `[SEP]`
    pub(crate) fn end(&self) -> i64 {
        self.special[1]
    }

    /// `[PAD]`
    pub(crate) fn padding(&self) -> i64 {
        self.special[4]
    }

    /// Appends the ids of a word: the longest token that it begins with, then the longest of what is left, which is
    /// written with `##` before it. A word of which something is left over is unknown.
    pub(crate) fn cut(&self, word: &str, ids: &mut Vec<i64>) {
        let before = ids.len();
        let mut rest = word;
        while !rest.is_empty() && (word.len() <= LONGEST_WORD || word.chars().count() <= LONGEST_WORD) {
            let prefix = if rest.len() == word.len() { "" } else { "##" };
            let mut end = rest.len().min(self.vocabulary.longest);
            let found = loop {
                end = rest.floor_char_boundary(end);
                if end == 0 {
                    break None;
                }
                if let Some(id) = self.vocabulary.find(prefix, &rest[..end]) {
                    break Some(id);
                }
                end -= 1;
            };
            let Some(id) = found else { break };
            ids.push(id);
            rest = &rest[end..];
        }
        if !rest.is_empty() {
            ids.truncate(before);
            ids.push(self.special[2]);
        }
    }

    /// The first special token that stands literally in the text: where, its length, its id.
    pub(crate) fn literal(&self, text: &str) -> Option<(usize, usize, i64)> {
        text.match_indices('[').find_map(|(at, _)| {
            let found = LITERAL.iter().zip(self.special).find(|(token, _)| text[at..].starts_with(**token));
            found.map(|(token, id)| (at, token.len(), id))
        })
    }
}

/// Calls a test with the tokenizer of a vocabulary.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) fn with<R>(text: &str, test: impl FnOnce(Result<Tokenizer<'_>, Fault>) -> R) -> R {
    let crate::index::Index { starts, slots, longest } = crate::index::Index::of(text).unwrap();
    test(Vocabulary { text: text.as_bytes(), starts: &starts, slots: &slots, longest }.tokenizer())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::index::Index;

    const TEXT: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##aff\n##able\naff\n##a\nä\n";

    fn cut(word: &str) -> Vec<i64> {
        let mut ids = vec![];
        with(TEXT, |tokenizer| tokenizer.unwrap().cut(word, &mut ids));
        ids
    }

    #[test]
    fn a_word_is_cut_into_the_longest_pieces() {
        assert_eq!(cut("unaffable"), [5, 6, 7]);
        assert_eq!(cut("aff"), [8]);
        assert_eq!(cut("ä"), [10]);
    }

    #[test]
    fn a_word_with_a_rest_is_unknown_as_a_whole() {
        assert_eq!(cut("unaffx"), [1]);
        assert_eq!(cut("äx"), [1]);
        assert_eq!(cut("xä"), [1]);
    }

    #[test]
    fn a_word_of_more_than_a_hundred_characters_is_unknown() {
        assert_eq!(cut(&format!("un{}", "a".repeat(98))).len(), 99);
        assert_eq!(cut(&format!("un{}", "a".repeat(99))), [1]);
    }

    #[test]
    fn special_tokens_are_found_where_they_stand() {
        with(TEXT, |tokenizer| {
            let tokenizer = tokenizer.unwrap();
            assert_eq!(tokenizer.literal("a [x] [[MASK] [SEP]"), Some((7, 6, 4)));
            assert_eq!(tokenizer.literal("[mask] ["), None);
            assert_eq!((tokenizer.beginning(), tokenizer.end(), tokenizer.padding()), (2, 3, 0));
        });
    }

    #[test]
    fn what_is_no_vocabulary_is_refused() {
        for text in ["", "a\nb", "[CLS]\n\n\n"] {
            assert!(with(text, |tokenizer| tokenizer.is_err()), "{text:?}");
        }
        assert!(Index::of(&"a\n".repeat(70_000)).is_err());
    }
}
