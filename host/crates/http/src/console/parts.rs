//! What pages are made of.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aimass_core::event::Kind;
use maud::{Markup, html};

/// The heading of a page, with what can be done there.
pub(super) fn heading(title: &Markup, actions: &Markup) -> Markup {
    html! { div.heading { h1 { (title) } div.actions { (actions) } } }
}

/// A table that scrolls by itself where it is too wide. A heading that ends with `#` stands over numbers.
pub(super) fn table(label: &str, heads: &[&str], rows: &Markup) -> Markup {
    html! {
        div.scroll role="region" aria-label=(label) tabindex="0" {
            table {
                thead {
                    tr {
                        @for head in heads {
                            @let text = head.strip_suffix('#').unwrap_or(head);
                            th.number[text != *head] scope="col" {
                                @if text.is_empty() { span.hidden { "Actions" } } @else { (text) }
                            }
                        }
                    }
                }
                tbody { (rows) }
            }
        }
    }
}

/// What stands where there is nothing yet: what it would be, and how to get it.
pub(super) fn empty(title: &str, body: &Markup) -> Markup {
    html! { div.empty { h2 { (title) } (body) } }
}

/// A command to be copied.
pub(super) fn command(text: &str) -> Markup {
    html! { div.command { code { (text) } button.quiet type="button" data-copy=(text) { "Copy" } } }
}

/// A secret, this once.
pub(super) fn secret(text: &str) -> Markup {
    html! {
        p.notice.warn { "This is the only time that it is shown. Keep it like a password." }
        div.command { code #secret { (text) } button.quiet type="button" data-copy=(text) { "Copy" } }
    }
}

/// A figure with its name.
pub(super) fn card(title: &str, value: &Markup, more: &Markup) -> Markup {
    html! { div.card { div.title { (title) } div.value { (value) } div.more { (more) } } }
}

/// The way to the next page of a list.
pub(super) fn pager(path: &str, next: Option<&str>) -> Markup {
    let Some(next) = next else { return html! {} };
    let after: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
    let sign = if path.contains('?') { '&' } else { '?' };
    html! { nav.pager aria-label="Pages" { a.button href={ (path) (sign) "after=" (after) } rel="next" { "Next page" } } }
}

/// When something was, as one says it, with the exact time behind it.
pub(super) fn ago(ms: u64) -> Markup {
    let exact = exact(ms);
    let past = now().saturating_sub(Duration::from_millis(ms)).as_secs();
    let words = match past {
        0..60 => "just now".to_owned(),
        60..3_600 => format!("{} min ago", past / 60),
        3_600..172_800 => format!("{} h ago", past / 3_600),
        _ => format!("{} days ago", past / 86_400),
    };
    html! { time datetime=(exact) title=(exact) { (words) } }
}

/// When something was or will be, exactly, UTC.
pub(super) fn when(ms: u64) -> Markup {
    let exact = exact(ms);
    html! { time datetime=(exact) { (exact.replace('T', " ").trim_end_matches('Z')) } }
}

/// A time in RFC 3339, UTC.
pub(super) fn exact(ms: u64) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(ms)).unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Milliseconds of today.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Bytes as people say them: `1.3 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A count with thin spaces between thousands.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds for an axis: `0`, `2.5 ms`, `1 s`.
pub(super) fn short_time(ms: f64) -> String {
    match ms {
        _ if ms <= 0.0 => "0".to_owned(),
        _ if ms >= 1e3 => format!("{} s", ms / 1e3),
        _ => format!("{} ms", short(ms)),
    }
}

/// A count for an axis; nothing for what is none.
pub(super) fn short_count(count: f64) -> String {
    if count.fract() == 0.0 { short(count) } else { String::new() }
}

/// A number for an axis: `0.5`, `20`, `1.5k`.
pub(super) fn short(value: f64) -> String {
    match value {
        _ if value >= 1e6 => format!("{}M", value / 1e6),
        _ if value >= 1e3 => format!("{}k", value / 1e3),
        // Sums of floats: three digits say all that there is.
        _ => format!("{}", (value * 1e3).round() / 1e3),
    }
}

/// Nanoseconds as milliseconds, with as many digits as say something.
pub(super) fn millis(ns: u64) -> String {
    let ms = ns as f64 / 1e6;
    match ms {
        _ if ms < 10.0 => format!("{ms:.2} ms"),
        _ if ms < 1_000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1e3),
    }
}

/// Where a plugin or model is.
pub(super) fn path(kind: Kind, name: &str) -> String {
    format!("/console/{}s/{name}", kind.as_str())
}

/// A digest, shortened; the whole one in its title.
pub(super) fn digest(digest: &aimass_core::Digest) -> Markup {
    let whole = digest.to_string();
    html! { code title=(whole) { (digest.hex()[..12]) "…" } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_people_say_them() {
        assert_eq!((bytes(0), bytes(1023), bytes(1536)), ("0 B".into(), "1023 B".into(), "1.5 KiB".into()));
        assert_eq!((count(7), count(1_234_567)), ("7".into(), "1\u{202f}234\u{202f}567".into()));
        assert_eq!((millis(1_234_567), millis(123_456_789)), ("1.23 ms".into(), "123 ms".into()));
    }

    #[test]
    fn every_text_is_escaped() {
        let hostile = "<script>alert(1)</script>\"'";
        for markup in
            [command(hostile), card(hostile, &html! { (hostile) }, &html! {}), table(hostile, &[hostile], &html! {})]
        {
            assert!(
                !markup.0.contains("<script>") && markup.0.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;"),
                "{}",
                markup.0
            );
        }
        assert!(!pager("/console/x", Some(hostile)).0.contains("<script>"));
    }
}
