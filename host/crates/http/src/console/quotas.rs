//! What is used of what may be, as bars.

use aimass_platform::{Quota, QuotaDocument};
use maud::{Markup, html};

use super::parts;

/// A part from which a bar warns: the platform tells of a quota there, too.
const NEAR: f64 = 80.0;

/// All quotas of a tenant.
pub(super) fn section(quotas: &[QuotaDocument]) -> Markup {
    html! {
        section {
            h2 { "Quotas" }
            div.quotas { @for quota in quotas { (bar(quota)) } }
            @if quotas.iter().any(|quota| quota.resets.is_some()) {
                p.hint { "A day begins at midnight UTC. The operator sets what may be used." }
            }
        }
    }
}

fn bar(quota: &QuotaDocument) -> Markup {
    let title = title(quota.quota);
    let used = amount(quota.unit, quota.used);
    let says = match quota.limit {
        Some(limit) => format!("{used} of {}", amount(quota.unit, limit)),
        None => format!("{used}, no limit"),
    };
    let part = quota.limit.map(|limit| (quota.used as f64 * 100.0 / limit.max(1) as f64).min(100.0));
    html! {
        div.quota {
            div.quota-line { span { (title) } span.quota-says { (says) @if let Some(part) = part { " · " (format!("{:.0} %", part.floor())) } } }
            @if let Some(part) = part {
                svg.bar viewBox="0 0 100 3" preserveAspectRatio="none" role="img" aria-label={ (title) ": " (says) } {
                    rect.all x="0" y="0" width="100" height="3" {}
                    rect class=(tone(part)) x="0" y="0" width=(format!("{part:.2}")) height="3" {}
                }
            }
        }
    }
}

fn tone(part: f64) -> &'static str {
    match part {
        _ if part >= 100.0 => "full",
        _ if part >= NEAR => "near",
        _ => "fine",
    }
}

fn title(quota: Quota) -> &'static str {
    match quota {
        Quota::StorageMib => "Storage",
        Quota::ComputeSecondsPerDay => "Compute today",
        Quota::EgressMibPerDay => "Sent out today",
        Quota::Plugins => "Plugins",
        Quota::Models => "Models",
    }
}

fn amount(unit: &str, amount: u64) -> String {
    match unit {
        "bytes" => parts::bytes(amount),
        "milliseconds" if amount >= 100_000 => format!("{} s", parts::count(amount / 1_000)),
        "milliseconds" => parts::millis(amount.saturating_mul(1_000_000)),
        _ => parts::count(amount),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_says_how_much_of_how_much() {
        let of =
            |used, limit| bar(&QuotaDocument { quota: Quota::StorageMib, unit: "bytes", used, limit, resets: None }).0;
        let half = of(512 << 10, Some(1 << 20));
        assert!(half.contains("512.0 KiB of 1.0 MiB · 50 %") && half.contains("class=\"fine\""), "{half}");
        assert!(of(900, Some(1_000)).contains("class=\"near\"") && of(1_500, Some(1_000)).contains("· 100 %"));
        let free = of(1, None);
        assert!(free.contains("1 B, no limit") && !free.contains("<svg"), "{free}");
    }
}
