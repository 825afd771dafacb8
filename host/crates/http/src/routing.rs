//! What a request says about the version that serves it, and what the answer says.

use aimass_core::name::version_number;
use aimass_core::{Fault, ObjectRef, Result, Selector};
use aimass_platform::Routing;
use axum::extract::FromRequestParts;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::problem::Rejection;

/// The request's: this version of the alias's split, and no other.
const VERSION: &str = "aimass-version";

/// The request's: whatever has this in common gets the same version.
const KEY: &str = "aimass-route-key";

/// The answer's: the version that served, or failed to.
const SERVED: &str = "aimass-served-version";

/// Reads it from a request's head.
///
/// # Errors
/// `invalid_request` for what is no version, or for several.
pub(crate) fn of(headers: &HeaderMap) -> Result<Routing> {
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next();
        if values.next().is_some() {
            return Err(Fault::invalid(format!("`{name}` stands once or not at all")));
        }
        Ok(value)
    };
    let version = one(VERSION)?.map(|value| {
        let number = value.to_str().ok().and_then(|text| version_number(text).ok());
        number.ok_or_else(|| Fault::invalid(format!("`{VERSION}` is a number from 1")))
    });
    let key = one(KEY)?.map(|value| value.as_bytes().into());
    Ok(Routing { version: version.transpose()?, key, main: false })
}

/// The same as an extractor.
pub(crate) struct Routed(pub(crate) Routing);

impl<S: Sync> FromRequestParts<S> for Routed {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        Ok(Self(of(&parts.headers)?))
    }
}

/// Says which version served.
pub(crate) fn served(response: &mut Response, version: u64) {
    response.headers_mut().insert(HeaderName::from_static(SERVED), HeaderValue::from(version));
}

/// A name, perhaps with an alias, and a version that stands elsewhere.
///
/// # Errors
/// `invalid_request` for both.
pub(crate) fn reference(name: &str, version: Option<u64>) -> Result<ObjectRef> {
    let named: ObjectRef = name.parse()?;
    match version {
        None => Ok(named),
        Some(version) if named.selector == Selector::Latest => {
            Ok(ObjectRef { name: named.name, selector: Selector::Version(version) })
        }
        Some(_) => Err(Fault::invalid("a name with an alias or a version has no other version beside it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn a_version_and_a_key_are_read_from_the_head() {
        let routing = of(&headers(&[(VERSION, "3"), (KEY, "user 7")])).unwrap();
        assert_eq!((routing.version, routing.key.as_deref()), (Some(3), Some(&b"user 7"[..])));
        let nothing = of(&HeaderMap::new()).unwrap();
        assert!(nothing.version.is_none() && nothing.key.is_none() && !nothing.main);
        for bad in ["0", "-1", "x", "", "03"] {
            assert!(of(&headers(&[(VERSION, bad)])).is_err(), "{bad}");
        }
        assert!(of(&headers(&[(VERSION, "1"), (VERSION, "2")])).is_err());
        assert!(of(&headers(&[(KEY, "1"), (KEY, "2")])).is_err());
    }

    #[test]
    fn a_name_has_one_version_beside_it_at_most() {
        assert_eq!(reference("m:prod", None).unwrap().to_string(), "m:prod");
        assert_eq!(reference("m", Some(2)).unwrap().to_string(), "m@2");
        assert!(reference("m:prod", Some(2)).is_err());
        assert!(reference("m@1", Some(1)).is_err());
    }
}
