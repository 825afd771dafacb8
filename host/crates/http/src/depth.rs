//! Guests that call guests: how deep, and no deeper.
//!
//! A guest reaches another one by an outgoing request to this listener. Whoever sends it for the guest says in
//! [`CALL_DEPTH`] how many calls stand above; the guest cannot, since what it sets itself is overwritten there. The
//! header is not signed: a caller from outside that makes it up only makes its own call fail sooner.

use aimass_core::limits::{CALL_DEPTH, MAX_CALL_DEPTH};
use aimass_core::{Code, Fault, Result};
use http::HeaderMap;

/// How many calls stand above this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Depth(pub(crate) u32);

impl Depth {
    /// Reads it from a request's head.
    ///
    /// # Errors
    /// `call_depth` at the limit, `invalid_request` for what is no number, or several.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self> {
        let mut values = headers.get_all(CALL_DEPTH).iter();
        let Some(value) = values.next() else { return Ok(Self(0)) };
        let depth = value.to_str().ok().and_then(|text| text.parse::<u32>().ok()).filter(|_| values.next().is_none());
        let depth = depth.ok_or_else(|| Fault::invalid(format!("`{CALL_DEPTH}` is one number")))?;
        if depth >= MAX_CALL_DEPTH {
            let detail =
                format!("this call stands below {depth} others, and at most {MAX_CALL_DEPTH} may; is it a loop?");
            return Err(Fault::new(Code::CallDepth, detail));
        }
        Ok(Self(depth))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn f26_a_call_at_the_limit_is_refused() {
        let check = |values: &[&'static str]| {
            let pairs = values.iter().map(|v| (http::HeaderName::from_static(CALL_DEPTH), HeaderValue::from_static(v)));
            Depth::of(&pairs.collect()).map_err(|fault| fault.code())
        };
        assert_eq!(check(&[]), Ok(Depth(0)));
        assert_eq!(check(&["7"]), Ok(Depth(7)));
        for over in ["8", "9", "4294967295"] {
            assert_eq!(check(&[over]), Err(Code::CallDepth));
        }
        for wrong in [&["-1"] as &[_], &["x"], &[""], &["4294967296"], &["1", "2"]] {
            assert_eq!(check(wrong), Err(Code::InvalidRequest));
        }
    }
}
