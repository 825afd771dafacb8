//! Takes long arrays of numbers out of a document before it is parsed: a parser of JSON would walk every digit only to
//! find the array's end, and then they are walked again for their values.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memchr2, memchr3};

/// Shorter arrays are left where they are: they cost less than the look-up.
const LONG: usize = 1 << 10;

/// What stands in the place of an array that was taken out.
const EMPTY: &[u8] = b"[]";

/// A document without its long arrays of numbers.
pub(super) struct Lifted<'a> {
    document: &'a [u8],
    /// To be parsed in the document's place.
    pub(super) rest: Cow<'a, [u8]>,
    /// Where in `rest` an array was, and where it is in the document; in the order of both.
    taken: Vec<(usize, Range<usize>)>,
}

impl<'a> Lifted<'a> {
    /// Takes out the values of `"data"` that are arrays without strings, wherever they are. Nothing is checked but that
    /// brackets match: whoever reads an array checks what is in it, and a document that is no JSON is none without it.
    pub(super) fn new(document: &'a [u8]) -> Self {
        let mut rest = Vec::new();
        let mut taken = Vec::new();
        let mut copied = 0;
        let mut at = 0;
        while let Some((literal, end)) = string(document, at) {
            at = end;
            if literal == b"data"
                && let Some(array) = array_after(document, end)
                && array.len() >= LONG
            {
                rest.extend_from_slice(&document[copied..array.start]);
                taken.push((rest.len(), array.clone()));
                rest.extend_from_slice(EMPTY);
                (copied, at) = (array.end, array.end);
            }
        }
        if taken.is_empty() {
            return Self { document, rest: Cow::Borrowed(document), taken };
        }
        rest.extend_from_slice(&document[copied..]);
        Self { document, rest: Cow::Owned(rest), taken }
    }

    /// The text that `part`, a piece of `rest`, stands for: an array that was taken out, or itself.
    pub(super) fn original<'b>(&'b self, part: &'b str) -> Result<&'b str, String> {
        let offset = (part.as_ptr() as usize).wrapping_sub(self.rest.as_ptr() as usize);
        match self.taken.binary_search_by_key(&offset, |(at, _)| *at) {
            Ok(found) => std::str::from_utf8(&self.document[self.taken[found].1.clone()])
                .map_err(|_| "`data` is not UTF-8".to_owned()),
            Err(_) => Ok(part),
        }
    }
}

/// The next string from `at`: what is between its quotes, and where it ends.
fn string(document: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let start = at + memchr(b'"', document.get(at..)?)? + 1;
    let mut end = start;
    loop {
        end += memchr2(b'"', b'\\', document.get(end..)?)?;
        if document[end] == b'"' {
            return Some((&document[start..end], end + 1));
        }
        end += 2;
    }
}

/// The array after a colon from `at`; none if it is something else, holds strings, or does not end.
fn array_after(document: &[u8], at: usize) -> Option<Range<usize>> {
    let colon = skip_spaces(document, at);
    let start = skip_spaces(document, colon + 1);
    if document.get(colon) != Some(&b':') || document.get(start) != Some(&b'[') {
        return None;
    }
    let (mut depth, mut end) = (1usize, start + 1);
    while depth > 0 {
        end += memchr3(b'[', b']', b'"', document.get(end..)?)?;
        match document[end] {
            b'[' => depth += 1,
            b']' => depth -= 1,
            _ => return None,
        }
        end += 1;
    }
    Some(start..end)
}

fn skip_spaces(document: &[u8], at: usize) -> usize {
    let spaces = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    at + document.get(at..).unwrap_or_default().iter().take_while(spaces).count()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn long_arrays_of_numbers_go_and_everything_else_stays() {
        let long = format!("[{}0]", "1.5, ".repeat(300));
        let strings = format!("[{}\"\"]", "\"]\\\"[\",".repeat(300));
        let document = format!(
            r#"{{"data\"":"data","data" : {long},"a":{{"data":[1]}},"data":{strings},"b":"\"data\":{long}","data":
            {long}}}"#
        );
        let lifted = Lifted::new(document.as_bytes());
        let rest = std::str::from_utf8(&lifted.rest).unwrap();
        let wanted = document.replacen(&format!("\"data\" : {long}"), "\"data\" : []", 1);
        let (front, back) = wanted.rsplit_once(&long).unwrap();
        assert_eq!(rest, format!("{front}[]{back}"));
        let last = rest.rfind("[]").unwrap();
        assert_eq!(lifted.original(&rest[last..last + 2]).unwrap(), long);
        assert_eq!(lifted.original(&rest[1..7]).unwrap(), &rest[1..7]);
    }

    #[test]
    fn what_does_not_end_stays() {
        for document in ["\"data\":[[1,2]", "\"data\":", "\"data", "\"data\\", "", "\"data\"", "\"data\":{"] {
            let long = format!("{document}{}", " ".repeat(LONG));
            assert_eq!(&*Lifted::new(document.as_bytes()).rest, document.as_bytes());
            assert_eq!(&*Lifted::new(long.as_bytes()).rest, long.as_bytes());
        }
    }
}
