//! From bytes to the model's input, as `Magika._extract_features_from_seekable` of magika 1.0.3 does it.

use crate::config::Config;

/// What is known of a file before the model is asked.
#[derive(Debug, PartialEq)]
pub(crate) enum Features {
    /// Too little for the model: this label, for certain.
    Decided(&'static str),
    /// The model's input: `beg_size` tokens of the beginning, then `end_size` of the end.
    AskModel(Vec<i32>),
}

impl Features {
    pub(crate) fn of(file: &[u8], config: &Config<'_>) -> Self {
        if file.is_empty() {
            return Self::Decided("empty");
        }
        if file.len() < config.min_file_size_for_dl {
            return Self::Decided(text_or_unknown(file));
        }
        let block = config.block_size.min(file.len());
        let (first, last) = (&file[..block], &file[file.len() - block..]);

        let beginning = first.trim_ascii_start_py();
        if beginning.len() < config.min_file_size_for_dl {
            return Self::Decided(text_or_unknown(first)); // mostly white space
        }
        let end = last.trim_ascii_end_py();

        let mut tokens = vec![config.padding_token; config.beg_size + config.end_size];
        let (at_beginning, at_end) = tokens.split_at_mut(config.beg_size);
        for (token, &byte) in at_beginning.iter_mut().zip(beginning) {
            *token = byte.into();
        }
        for (token, &byte) in at_end.iter_mut().rev().zip(end.iter().rev()) {
            *token = byte.into();
        }
        Self::AskModel(tokens)
    }
}

fn text_or_unknown(bytes: &[u8]) -> &'static str {
    if std::str::from_utf8(bytes).is_ok() { "txt" } else { "unknown" }
}

/// White space as Python's `bytes.strip` has it: Rust's ASCII white space and the vertical tab.
trait Trim {
    fn trim_ascii_start_py(&self) -> &[u8];
    fn trim_ascii_end_py(&self) -> &[u8];
}

impl Trim for [u8] {
    fn trim_ascii_start_py(&self) -> &[u8] {
        let kept = self.iter().position(|b| !is_space(*b)).unwrap_or(self.len());
        &self[kept..]
    }

    fn trim_ascii_end_py(&self) -> &[u8] {
        let kept = self.iter().rposition(|b| !is_space(*b)).map_or(0, |last| last + 1);
        &self[..kept]
    }
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"beg_size":4,"mid_size":0,"end_size":3,"use_inputs_at_offsets":false,
        "medium_confidence_threshold":0.5,"min_file_size_for_dl":2,"padding_token":256,"block_size":6,
        "target_labels_space":[],"thresholds":{},"overwrite_map":{}}"#;

    fn of(file: &[u8]) -> Features {
        Features::of(file, &Config::parse(CONFIG).unwrap())
    }

    #[test]
    fn a_long_file_gives_both_its_ends() {
        assert_eq!(of(&[1, 2, 3, 4, 5, 6, 7, 8, 14]), Features::AskModel(vec![1, 2, 3, 4, 7, 8, 14]));
    }

    #[test]
    fn a_short_file_is_padded_towards_the_middle() {
        assert_eq!(of(&[1, 2]), Features::AskModel(vec![1, 2, 256, 256, 256, 1, 2]));
    }

    #[test]
    fn white_space_is_stripped_where_it_is_on_the_outside() {
        assert_eq!(of(b"\x0b\nab \n"), Features::AskModel(vec![97, 98, 32, 10, 10, 97, 98]));
    }

    #[test]
    fn what_is_mostly_white_space_is_not_asked_about() {
        assert_eq!(of(b"     a      "), Features::Decided("txt"));
        assert_eq!(of(b"     \xff      "), Features::Decided("unknown"));
    }

    #[test]
    fn a_character_cut_by_the_block_is_no_text() {
        assert_eq!(of("     ü     ".as_bytes()), Features::Decided("unknown"));
    }
}
