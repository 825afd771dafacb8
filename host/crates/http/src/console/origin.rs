//! The console shares its origin with everything that the node serves, tenants' functions among it. This keeps pages of
//! other sites, and of functions, from acting for who is signed in.

use aimass_core::{Code, Fault, Result};
use http::header::{CONTENT_SECURITY_POLICY, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, SET_COOKIE};
use http::{Method, Uri};

/// The name of the cookie that holds a session's id; behind TLS with [`SECURE`] before it.
const COOKIE_NAME: &str = "aimass-console";

/// A browser takes a cookie of such a name only over TLS (RFC 6265bis, section 4.1.3.1).
const SECURE: &str = "__Secure-";

/// What a function's page may do: it runs in an origin of its own (HTML, section 7.1.4), so it reaches neither the
/// console nor other tenants' pages. Without this, any function could act in the console for who opens it.
const SANDBOX: &str = "sandbox allow-scripts allow-forms allow-popups allow-modals allow-downloads";

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether the browser says that the request was made by one of the node's own pages. A client that is no browser says
/// nothing, and is let pass: it holds the session's id and the form's key, or it does not.
///
/// # Errors
/// `cross_site`.
pub(super) fn check(headers: &HeaderMap, uri: &Uri) -> Result<()> {
    let refused = |what: &str| Err(Fault::new(Code::CrossSite, format!("{what}; open the console and do it there")));
    if headers.get(FETCH_SITE).is_some_and(|site| site != "same-origin") {
        return refused("the request comes from another site");
    }
    let host = uri.authority().map(|a| a.as_str()).or_else(|| headers.get(HOST)?.to_str().ok());
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    // The scheme may be another one: that of a proxy that ends TLS.
    let from = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    if from.is_none() || from != host {
        return refused("the request's origin is another one");
    }
    Ok(())
}

/// Whether a link on another site brought the browser here: then it holds the session's cookie back.
pub(super) fn linked_from_elsewhere(method: &Method, headers: &HeaderMap) -> bool {
    let is = |name: &'static str, value: &str| headers.get(name).is_some_and(|header| header == value);
    method == Method::GET && is("sec-fetch-site", "cross-site") && is("sec-fetch-mode", "navigate")
}

/// The session's id that the browser sent.
pub(super) fn session_id(headers: &HeaderMap) -> Option<&str> {
    let pairs = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|all| all.split(';'));
    let mut named = pairs.filter_map(|pair| pair.trim().split_once('='));
    named.find(|(name, _)| name.strip_prefix(SECURE).unwrap_or(name) == COOKIE_NAME).map(|(_, id)| id)
}

/// The cookie that keeps a session's id; with an empty id, the one that ends it. It is sent to the console alone, never
/// to functions, and never along from another site.
pub(super) fn session_cookie(id: &str, secure: bool) -> HeaderValue {
    let (before, attribute) = if secure { (SECURE, "; Secure") } else { ("", "") };
    let age = if id.is_empty() { "; Max-Age=0" } else { "" };
    let cookie = format!("{before}{COOKIE_NAME}={id}; Path=/console/; HttpOnly; SameSite=Strict{attribute}{age}");
    // Hex digits and what stands above.
    HeaderValue::from_str(&cookie).unwrap_or(HeaderValue::from_static(""))
}

/// Takes from a function's answer what would reach out of its own pages: it gets an origin of its own, no service worker
/// above its path, and cannot set the console's cookie or sign anybody out.
pub(crate) fn isolate(headers: &mut HeaderMap) {
    headers.append(CONTENT_SECURITY_POLICY, HeaderValue::from_static(SANDBOX));
    headers.remove("service-worker-allowed");
    headers.remove("clear-site-data");
    let ours = |cookie: &HeaderValue| {
        let name = cookie.as_bytes().split(|byte| b"=;".contains(byte)).next().unwrap_or_default().trim_ascii();
        name.strip_prefix(SECURE.as_bytes()).unwrap_or(name) == COOKIE_NAME.as_bytes()
    };
    if headers.get_all(SET_COOKIE).iter().any(ours) {
        let others: Vec<_> = headers.get_all(SET_COOKIE).iter().filter(|cookie| !ours(cookie)).cloned().collect();
        headers.remove(SET_COOKIE);
        headers.extend(others.into_iter().map(|cookie| (SET_COOKIE, cookie)));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn only_pages_of_this_host_may_write() {
        let check = |pairs: &[(&'static str, &'static str)], uri: &str| check(&headers(pairs), &uri.parse().unwrap());
        let here = "/console/x";
        assert!(check(&[("host", "a:1")], here).is_ok(), "no browser");
        assert!(check(&[("host", "a:1"), ("origin", "http://a:1"), ("sec-fetch-site", "same-origin")], here).is_ok());
        assert!(check(&[("origin", "https://a:1")], "https://a:1/console/x").is_ok(), "HTTP/2 has no `Host`");
        for bad in [
            &[("host", "a:1"), ("origin", "http://b:1")] as &[_],
            &[("host", "a:1"), ("origin", "http://a:2")],
            &[("host", "a:1"), ("origin", "null")],
            &[("host", "a:1"), ("origin", "http://a:1.evil.example")],
            &[("host", "a:1"), ("sec-fetch-site", "same-site")],
            &[("host", "a:1"), ("sec-fetch-site", "cross-site")],
            &[("host", "a:1"), ("origin", "http://a:1"), ("sec-fetch-site", "cross-site")],
        ] {
            assert_eq!(check(bad, here).unwrap_err().code(), Code::CrossSite, "{bad:?}");
        }
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        for cookie in ["aimass-console=ab", "x=1; __Secure-aimass-console=ab; y=2", "a; aimass-console=ab"] {
            assert_eq!(session_id(&headers(&[("cookie", cookie)])), Some("ab"));
        }
        for cookie in ["", "xaimass-console=ab", "aimass-console-x=ab", "aimass-console"] {
            assert_eq!(session_id(&headers(&[("cookie", cookie)])), None);
        }
        let cookie = session_cookie("ab", true);
        assert!(cookie.to_str().unwrap().contains("; HttpOnly; SameSite=Strict; Secure"), "{cookie:?}");
    }

    #[test]
    fn a_function_keeps_its_hands_off_the_console() {
        let mut headers = headers(&[
            ("service-worker-allowed", "/"),
            ("clear-site-data", "\"cookies\""),
            ("content-security-policy", "default-src 'self'"),
        ]);
        for cookie in ["own=1", " aimass-console =x; Path=/console/", "__Secure-aimass-console=x; Secure"] {
            headers.append(SET_COOKIE, HeaderValue::from_static(cookie));
        }
        isolate(&mut headers);
        let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(cookies, ["own=1"]);
        assert!(!headers.contains_key("service-worker-allowed") && !headers.contains_key("clear-site-data"));
        let policies: Vec<_> = headers.get_all(CONTENT_SECURITY_POLICY).iter().collect();
        assert_eq!(policies, ["default-src 'self'", SANDBOX], "its own stands, too");
    }
}
