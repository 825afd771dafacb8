//! With which settings and secrets an alias's versions run: those of the deployment that said so, until another one.

use aimass_core::event::{Kind, Route};
use aimass_core::{Fault, Name, Result, Tenant};
use aimass_store::State;

/// The number of a plugin's newest configuration; 0 if it has none.
pub(super) fn newest(state: &State<'_>, tenant: &Tenant, name: &Name) -> Result<u64> {
    Ok(state.configuration(tenant, name, None)?.map_or(0, |row| row.number))
}

/// What is in both stays as it is in `now`: who gives versions other parts of the calls changes no settings.
pub(super) fn keep(route: &mut Route, now: &Route) {
    for share in route.split.iter_mut().filter(|share| share.configuration.is_none()) {
        let known = now.split.iter().find(|known| known.version == share.version);
        share.configuration = known.and_then(|known| known.configuration);
    }
    keep_shadow(route, now);
}

/// The same of the shadow alone.
pub(super) fn keep_shadow(route: &mut Route, now: &Route) {
    if route.shadow == now.shadow && route.shadow_configuration.is_none() {
        route.shadow_configuration = now.shadow_configuration;
    }
}

/// What says nothing of its configuration takes the newest one, and no later one.
///
/// # Errors
/// `invalid_request` for a model's configuration: it has none.
pub(super) fn pin(state: &State<'_>, (tenant, kind, name): (&Tenant, Kind, &Name), route: &mut Route) -> Result<()> {
    if kind == Kind::Model {
        return match route.configurations().next() {
            Some(_) => Err(Fault::invalid("a model has no settings: leave `configuration` out")),
            None => Ok(()),
        };
    }
    let newest = newest(state, tenant, name)?;
    for share in &mut route.split {
        share.configuration.get_or_insert(newest);
    }
    if route.shadow.is_some() {
        route.shadow_configuration.get_or_insert(newest);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use aimass_core::event::Share;

    use super::*;

    fn route(shares: &[(u64, Option<u64>)], shadow: Option<(u64, Option<u64>)>) -> Route {
        let split = shares.iter().map(|&(version, configuration)| Share { configuration, ..Share::new(version, 1) });
        let shadow_configuration = shadow.and_then(|(_, configuration)| configuration);
        let shadow = shadow.map(|(version, _)| version);
        Route { split: split.collect(), shadow, shadow_configuration, canary: None }
    }

    #[test]
    fn a_version_that_stays_keeps_its_settings() {
        let now = route(&[(1, Some(4)), (2, None)], Some((3, Some(5))));
        let kept = |mut wanted: Route| {
            keep(&mut wanted, &now);
            wanted
        };
        let both = [(1, None), (2, None), (4, None)];
        assert_eq!(
            kept(route(&both, Some((3, None)))),
            route(&[(1, Some(4)), (2, None), (4, None)], Some((3, Some(5))))
        );
        assert_eq!(kept(route(&[(1, Some(6))], None)), route(&[(1, Some(6))], None), "unless it says otherwise");
        assert_eq!(kept(route(&[(3, None)], Some((1, None)))), route(&[(3, None)], Some((1, None))));
    }
}
