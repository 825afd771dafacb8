//! From a text to the words that WordPiece cuts up, as BERT's uncased tokenizer has it: control characters go, white
//! space separates, accents go, capitals become small, and every punctuation mark and ideograph is a word of its own.
//!
//! The categories are those of today's Unicode. Python's `tokenizers` has an older one: the two differ on characters
//! that are younger than Unicode 8, none of which the vocabulary knows.

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// Calls `each` with every word of the text, in order.
pub(crate) fn each_word(text: &str, each: &mut impl FnMut(&str)) {
    let mut words = Words { word: String::new(), each };
    if text.is_ascii() {
        // The same rules where no table is needed.
        for c in text.chars().filter(|&c| !c.is_ascii_control() || matches!(c, '\t' | '\n' | '\r')) {
            words.push(c.to_ascii_lowercase(), char::is_ascii_punctuation);
        }
    } else {
        let clean = text.chars().filter(|&c| !is_dropped(c));
        let spaced = clean.flat_map(|c| {
            let around = is_ideograph(c).then_some(' ');
            around.into_iter().chain([if c.is_whitespace() { ' ' } else { c }]).chain(around)
        });
        let bare = spaced.nfd().filter(|&c| c.general_category() != GeneralCategory::NonspacingMark);
        for c in bare.flat_map(char::to_lowercase) {
            words.push(c, is_punctuation);
        }
    }
    words.end();
}

struct Words<'e, F> {
    word: String,
    each: &'e mut F,
}

impl<F: FnMut(&str)> Words<'_, F> {
    fn push(&mut self, c: char, is_punctuation: impl Fn(&char) -> bool) {
        if c.is_whitespace() {
            self.end();
        } else if is_punctuation(&c) {
            self.end();
            self.word.push(c);
            self.end();
        } else {
            self.word.push(c);
        }
    }

    fn end(&mut self) {
        if !self.word.is_empty() {
            (self.each)(&self.word);
            self.word.clear();
        }
    }
}

fn is_dropped(c: char) -> bool {
    use GeneralCategory::{Control, Format, PrivateUse};
    match c {
        '\t' | '\n' | '\r' => false,
        '\u{fffd}' => true,
        _ => matches!(c.general_category(), Control | Format | PrivateUse),
    }
}

fn is_punctuation(c: &char) -> bool {
    // BERT counts all of ASCII's symbols, `$` and `^` among them.
    c.is_ascii_punctuation() || c.general_category_group() == GeneralCategoryGroup::Punctuation
}

/// The blocks of CJK ideographs that BERT's tokenizer names. (It is right that Hangul, Hiragana and Katakana are not
/// among them: they write words.)
fn is_ideograph(c: char) -> bool {
    matches!(u32::from(c),
        0x4e00..=0x9fff | 0x3400..=0x4dbf | 0xf900..=0xfaff
        | 0x20000..=0x2a6df | 0x2a700..=0x2b73f | 0x2b740..=0x2b81f | 0x2b920..=0x2ceaf | 0x2f800..=0x2fa1f)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut words = vec![];
        each_word(text, &mut |word| words.push(word.to_owned()));
        words
    }

    #[test]
    fn punctuation_stands_alone_and_space_separates() {
        assert_eq!(words("Don't\tpay $3.50,\n OK? "), ["don", "'", "t", "pay", "$", "3", ".", "50", ",", "ok", "?"]);
        assert_eq!(words("  "), [""; 0]);
    }

    #[test]
    fn accents_and_capitals_go() {
        assert_eq!(words("Ünïcode ÉTÉ Ⅷ"), ["unicode", "ete", "ⅷ"]);
        assert_eq!(words("ΣΊΣΥΦΟΣ"), ["σισυφοσ"]);
    }

    #[test]
    fn control_characters_go_and_unicodes_spaces_separate() {
        assert_eq!(words("a\u{0}b\u{7}c"), ["abc"]);
        assert_eq!(words("zero\u{200b}width no\u{a0}break\u{3000}wide\u{fffd}"), ["zerowidth", "no", "break", "wide"]);
    }

    #[test]
    fn ideographs_stand_alone_and_kana_do_not() {
        assert_eq!(words("東京タワーで"), ["東", "京", "タワーて"]);
    }

    #[test]
    fn ascii_is_read_by_the_same_rules_as_the_rest() {
        let ascii: String = (0..128u8).map(|b| format!("a{}b ", char::from(b))).collect();
        let mut both = words(&format!("{ascii} ü"));
        assert_eq!(both.pop().as_deref(), Some("u"));
        assert_eq!(words(&ascii), both);
    }
}
