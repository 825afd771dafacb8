//! What somebody wants an alias to say, and whether it may.

use std::collections::BTreeSet;

use aimass_core::event::{Canary, Route, Share};
use aimass_core::limits::{MAX_SPLIT, MAX_WEIGHT};
use aimass_core::{Code, Fault, Name, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use super::pinning::keep_shadow;

/// Calls that a canary must have had before its gate is asked, unless somebody says otherwise.
const MIN_REQUESTS: u64 = 20;

/// The longest time after which a canary is promoted by itself: a month.
const MAX_AFTER: u64 = 31 * 24 * 3600;

/// A canary's part is told to a hundredth of a percent.
const HUNDREDTHS: u32 = 100;

/// What an alias should say, in full: one version, or a split.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AliasWish {
    /// The one version that serves.
    pub version: Option<u64>,
    /// Versions with their weights.
    pub split: Option<Vec<Share>>,
    /// A version that gets a copy of each call.
    pub shadow: Option<u64>,
}

/// A version to deploy under an alias.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DeployWish {
    /// Which alias; `prod` if it is left out.
    pub alias: Option<Name>,
    /// The version. Left out, the alias says again what it says, and all of it takes the newest settings and secrets.
    pub version: Option<u64>,
    /// The number of the configuration (settings and secrets) that it runs with; the newest if it is left out. What the
    /// alias serves beside it stays with its own.
    pub configuration: Option<u64>,
    /// Its part of the calls, in percent, while it is tried out; left out, it serves all of them at once.
    pub canary_percent: Option<f64>,
    /// A version that gets a copy of each call.
    pub shadow: Option<u64>,
    /// What must hold of the canary's figures, in CEL: `error_rate < 0.01 && p99_ms < 50`.
    pub gate: Option<String>,
    /// Calls that the canary must have had before the gate is asked, in the last minute or, where they are rare, in the
    /// last hour; 20 if it is left out.
    pub min_requests: Option<u64>,
    /// Seconds after which the canary is promoted by itself, if the gate holds then.
    pub after_seconds: Option<u64>,
}

impl AliasWish {
    pub(super) fn route(self) -> Result<Route> {
        let split = match (self.version, self.split) {
            (Some(version), None) => vec![Share::new(version, 100)],
            (None, Some(split)) => split,
            _ => return Err(Fault::invalid("an alias names either one `version` or a `split`")),
        };
        checked(Route { split, shadow: self.shadow, shadow_configuration: None, canary: None })
    }
}

impl DeployWish {
    /// What the alias is to say, which says `now` so far.
    pub(super) fn route(&self, now: Option<&Route>) -> Result<Route> {
        let mut route = match self.version {
            Some(version) => self.version(version, now)?,
            None => return self.again(now),
        };
        if let Some(now) = now {
            keep_shadow(&mut route, now);
        }
        Ok(route)
    }

    /// What it says now, with other settings.
    fn again(&self, now: Option<&Route>) -> Result<Route> {
        let Self { canary_percent, shadow, gate, min_requests, after_seconds, .. } = self;
        let more = canary_percent.is_some() || shadow.is_some() || gate.is_some();
        if more || min_requests.is_some() || after_seconds.is_some() {
            return Err(Fault::invalid("say which `version` is deployed"));
        }
        let now = now.ok_or_else(|| {
            Fault::new(Code::Conflict, "the alias does not stand yet: say which `version` is deployed")
        })?;
        let split = now.split.iter().map(|share| Share { configuration: self.configuration, ..*share }).collect();
        let shadow_configuration = self.configuration.filter(|_| now.shadow.is_some());
        Ok(Route { split, shadow_configuration, ..now.clone() })
    }

    fn version(&self, version: u64, now: Option<&Route>) -> Result<Route> {
        let Some(percent) = self.canary_percent else {
            if self.gate.is_some() || self.min_requests.is_some() || self.after_seconds.is_some() {
                return Err(Fault::invalid("a gate watches over a canary: give `canary_percent` as well, 100 at most"));
            }
            let split = vec![Share { configuration: self.configuration, ..Share::new(version, 100) }];
            return checked(Route { split, shadow: self.shadow, shadow_configuration: None, canary: None });
        };
        let now = now.ok_or_else(|| {
            let detail = "the alias does not stand yet, so there is nothing to try a canary beside: deploy it whole";
            Fault::new(Code::Conflict, detail)
        })?;
        let mut split = steady(now);
        split.retain(|share| share.version != version);
        if split.is_empty() {
            // Gates, figures and the answers' heads tell versions apart, and nothing else.
            let detail = format!(
                "version {version} serves all calls already, and a canary is another version: try other settings of it \
                 under another alias, then deploy it whole"
            );
            return Err(Fault::new(Code::Conflict, detail));
        }
        add_canary(&mut split, Share { configuration: self.configuration, ..Share::new(version, 0) }, percent)?;
        let min_requests = self.min_requests.unwrap_or(MIN_REQUESTS);
        if !(1..=1_000_000).contains(&min_requests) {
            return Err(Fault::invalid("`min_requests` is 1 to 1000000"));
        }
        if self.after_seconds.is_some_and(|seconds| !(1..=MAX_AFTER).contains(&seconds)) {
            return Err(Fault::invalid(format!("`after_seconds` is 1 to {MAX_AFTER}")));
        }
        let canary = Canary { version, gate: self.gate.clone(), min_requests, after_seconds: self.after_seconds };
        checked(Route { split, shadow: self.shadow, shadow_configuration: None, canary: Some(canary) })
    }
}

/// What is left of a split without the version that is tried out.
pub(super) fn steady(route: &Route) -> Vec<Share> {
    let canary = route.canary.as_ref().map(|canary| canary.version);
    let mut split: Vec<_> = route.split.iter().copied().filter(|share| Some(share.version) != canary).collect();
    // A canary of everything leaves versions without weight.
    if split.iter().all(|share| share.weight == 0) {
        split.iter_mut().for_each(|share| share.weight = 1);
    }
    split
}

/// Gives a canary its part of a split, and the others the rest of it as they shared it. It comes last, so that keys
/// which it has stay with it when its part grows.
fn add_canary(split: &mut Vec<Share>, canary: Share, percent: f64) -> Result<()> {
    let hundredths = (percent * f64::from(HUNDREDTHS)).round();
    if !(0.0..=100.0 * f64::from(HUNDREDTHS)).contains(&hundredths) {
        return Err(Fault::invalid("`canary_percent` is 0 to 100"));
    }
    let (part, whole) = (hundredths as u64, 100 * u64::from(HUNDREDTHS));
    let sum: u64 = split.iter().map(|share| u64::from(share.weight)).sum();
    let mut weights: Vec<u64> = split.iter().map(|share| u64::from(share.weight) * (whole - part)).collect();
    weights.push(sum * part);
    let common = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    weights.iter_mut().for_each(|weight| *weight /= common);
    // Weights that people read add up to 100 where they can.
    let total: u64 = weights.iter().sum();
    if total <= 100 && 100 % total == 0 {
        weights.iter_mut().for_each(|weight| *weight *= 100 / total);
    }
    split.push(canary);
    for (share, weight) in split.iter_mut().zip(weights) {
        share.weight = u32::try_from(weight).unwrap_or(u32::MAX);
    }
    Ok(())
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

fn checked(route: Route) -> Result<Route> {
    let split = &route.split;
    if !(1..=MAX_SPLIT).contains(&split.len()) {
        return Err(Fault::invalid(format!("a split names 1 to {MAX_SPLIT} versions")));
    }
    if split.iter().any(|share| share.weight > MAX_WEIGHT) {
        return Err(Fault::invalid(format!("a weight is 0 to {MAX_WEIGHT}")));
    }
    if split.iter().all(|share| share.weight == 0) {
        return Err(Fault::invalid("one version of a split at least has a weight"));
    }
    let versions: BTreeSet<_> = route.versions().collect();
    if versions.len() != split.len() + usize::from(route.shadow.is_some()) {
        return Err(Fault::invalid("an alias names each version once"));
    }
    Ok(route)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn split(shares: &[(u64, u32)]) -> Route {
        let split = shares.iter().map(|&(version, weight)| Share::new(version, weight)).collect();
        Route { split, shadow: None, shadow_configuration: None, canary: None }
    }

    fn canary(now: &Route, version: u64, percent: f64) -> Result<Vec<(u64, u32)>> {
        let wish = DeployWish { version: Some(version), canary_percent: Some(percent), ..DeployWish::default() };
        Ok(wish.route(Some(now))?.split.iter().map(|share| (share.version, share.weight)).collect())
    }

    #[test]
    fn a_canary_takes_its_part_and_leaves_the_others_theirs() {
        let one = split(&[(1, 100)]);
        assert_eq!(canary(&one, 2, 10.0).unwrap(), [(1, 90), (2, 10)]);
        assert_eq!(canary(&one, 2, 0.5).unwrap(), [(1, 199), (2, 1)]);
        assert_eq!(canary(&one, 2, 100.0).unwrap(), [(1, 0), (2, 100)]);
        assert_eq!(canary(&one, 2, 0.0).unwrap(), [(1, 100), (2, 0)]);
        assert_eq!(canary(&split(&[(1, 1), (2, 1)]), 3, 50.0).unwrap(), [(1, 25), (2, 25), (3, 50)]);
        for bad in [-1.0, 100.1, f64::NAN, f64::INFINITY] {
            assert!(canary(&one, 2, bad).is_err(), "{bad}");
        }
        assert_eq!(canary(&one, 1, 10.0).unwrap_err().code(), Code::Conflict);
    }

    #[test]
    fn another_canary_takes_the_place_of_the_one_before() {
        let wish = |percent| DeployWish { version: Some(2), canary_percent: Some(percent), ..DeployWish::default() };
        let mut now = wish(100.0).route(Some(&split(&[(1, 100)]))).unwrap();
        assert_eq!(canary(&now, 3, 20.0).unwrap(), [(1, 80), (3, 20)]);
        now = wish(10.0).route(Some(&now)).unwrap();
        assert_eq!(now.split, split(&[(1, 90), (2, 10)]).split);
        assert_eq!(now.canary.unwrap().min_requests, MIN_REQUESTS);
    }

    #[test]
    fn a_deployment_changes_the_settings_of_what_it_names() {
        let mut now = split(&[(1, 90), (2, 10)]);
        for (share, number) in now.split.iter_mut().zip([7, 8]) {
            share.configuration = Some(number);
        }
        (now.shadow, now.shadow_configuration) = (Some(4), Some(9));
        let says = |wish: DeployWish| {
            let route = wish.route(Some(&now)).unwrap();
            let split: Vec<_> = route.split.iter().map(|share| (share.version, share.configuration)).collect();
            (split, route.shadow_configuration)
        };
        let three = || DeployWish { version: Some(3), ..DeployWish::default() };
        assert_eq!(says(three()), (vec![(3, None)], None));
        let beside = says(DeployWish { canary_percent: Some(5.0), shadow: Some(4), ..three() });
        assert_eq!(beside, (vec![(1, Some(7)), (2, Some(8)), (3, None)], Some(9)));
        let older = says(DeployWish { configuration: Some(6), shadow: Some(5), ..three() });
        assert_eq!(older, (vec![(3, Some(6))], None));
        assert_eq!(says(DeployWish::default()), (vec![(1, None), (2, None)], None), "all of it");
        let all = says(DeployWish { configuration: Some(6), ..DeployWish::default() });
        assert_eq!(all, (vec![(1, Some(6)), (2, Some(6))], Some(6)));
        assert_eq!(DeployWish::default().route(None).unwrap_err().code(), Code::Conflict);
        let shadowed = DeployWish { shadow: Some(3), ..DeployWish::default() };
        assert!(shadowed.route(Some(&now)).unwrap_err().detail().contains("version"));
        let refused = DeployWish { canary_percent: Some(5.0), version: Some(1), ..DeployWish::default() };
        assert!(refused.route(Some(&split(&[(1, 1)]))).unwrap_err().detail().contains("another alias"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let alias =
            |text: &str| serde_json::from_str::<AliasWish>(text).map_err(Fault::internal).and_then(AliasWish::route);
        assert_eq!(alias(r#"{"version":2}"#).unwrap(), split(&[(2, 100)]));
        assert!(alias(r#"{"split":[{"version":2,"weight":90},{"version":3,"weight":10}],"shadow":4}"#).is_ok());
        for bad in [
            "{}",
            r#"{"version":1,"split":[{"version":2,"weight":1}]}"#,
            r#"{"split":[]}"#,
            r#"{"split":[{"version":2,"weight":0}]}"#,
            r#"{"split":[{"version":2,"weight":1},{"version":2,"weight":1}]}"#,
            r#"{"split":[{"version":2,"weight":1000001}]}"#,
            r#"{"version":1,"shadow":1}"#,
            r#"{"version":1,"tenant":"other"}"#,
        ] {
            assert!(alias(bad).is_err(), "{bad}");
        }
        let deploy = |wish: DeployWish| wish.route(Some(&split(&[(1, 1)]))).unwrap_err().detail().to_owned();
        let gated = |gate: &str| DeployWish {
            version: Some(2),
            canary_percent: Some(10.0),
            gate: Some(gate.to_owned()),
            ..DeployWish::default()
        };
        assert!(deploy(DeployWish { canary_percent: None, ..gated("true") }).contains("canary_percent"));
        assert!(deploy(DeployWish { version: None, ..gated("true") }).contains("version"));
        assert!(deploy(DeployWish { min_requests: Some(0), ..gated("true") }).contains("min_requests"));
        assert!(deploy(DeployWish { after_seconds: Some(0), ..gated("true") }).contains("after_seconds"));
        assert_eq!(gated("true").route(None).unwrap_err().code(), Code::Conflict);
    }
}
