//! The rules of egress: a tenant's administrators make them, within what the operator's node connects to at all.

use aimass_core::event::Event;
use aimass_core::policy::{EgressRule, TransferRule, pattern};
use aimass_core::{Fault, Name, Result};
use aimass_egress::Host;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::objects::{PAGE, Page};
use crate::{Asked, Platform, Scope};

/// Rules of each kind that a tenant may have: every outgoing request looks at all of them.
const MAX_RULES: usize = 100;

/// What a new rule should allow.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EgressWish {
    /// The ports.
    pub ports: Vec<u16>,
    /// The methods, in capitals; every one if there are none.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Where the destination is; left out, where the node is, if that was told no region.
    #[serde(default)]
    pub region: Option<Name>,
}

/// What a transfer is for.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TransferWish {
    /// What for, in a sentence.
    pub purpose: Option<String>,
}

/// Where a tenant's data is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RegionDocument {
    /// The region that the data is labelled with.
    pub region: Name,
    /// Whether the tenant said so; else it is the node's.
    pub own: bool,
    /// The node's region.
    pub node: Name,
}

impl Platform {
    /// The destinations that the tenant's guests may send to, by host.
    ///
    /// # Errors
    /// `insufficient_scope`.
    pub fn egress_rules(
        &self,
        asked: Asked<'_>,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page<EgressRule>> {
        let tenant = asked.tenant(Scope::EgressRead)?;
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let rows = self.store.state().egress_rules(tenant, after, limit + 1)?;
        Ok(Page::cut(rows.into_iter(), limit, |rule: &EgressRule| rule.host.clone()))
    }

    /// Lets guests send to `host`, by this rule instead of one that stands.
    ///
    /// # Errors
    /// `invalid_request` for a rule that is none, or that does not say where the destination is though it matters;
    /// `conflict` for one too many.
    pub async fn allow_egress(&self, asked: Asked<'_>, host: &str, wish: EgressWish) -> Result<EgressRule> {
        let tenant = asked.tenant(Scope::EgressWrite)?.clone();
        let host = one_spelling(host)?;
        let labelled = self.egress.node.is_some() || self.store.state().data_region(&tenant)?.is_some();
        let region = match wish.region {
            Some(region) => region,
            None if labelled => return Err(Fault::invalid("say where the destination is: `region`")),
            None => self.egress.node_region()?,
        };
        let rule = EgressRule::new(&host, wish.ports, wish.methods, region)?;
        let wanted = rule.clone();
        self.store
            .write(asked.actor(), move |state| {
                let known = state.egress_rule(&tenant, &wanted.host)?;
                if known.is_none() && state.egress_rules(&tenant, None, MAX_RULES)?.len() == MAX_RULES {
                    return Err(full());
                }
                let changed = known.as_ref() != Some(&wanted);
                let event = Event::EgressAllowed { tenant: tenant.name().clone(), rule: wanted };
                Ok((changed.then_some(event), ()))
            })
            .await?;
        Ok(rule)
    }

    /// Takes a rule away: what is sent from now on needs another one.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn remove_egress(&self, asked: Asked<'_>, host: &str) -> Result<()> {
        let tenant = asked.tenant(Scope::EgressWrite)?.clone();
        let host = one_spelling(host)?;
        self.store
            .write(asked.actor(), move |state| {
                state.egress_rule(&tenant, &host)?.ok_or_else(Fault::not_found)?;
                Ok((Some(Event::EgressRuleRemoved { tenant: tenant.name().clone(), host }), ()))
            })
            .await
    }

    /// Between which regions the tenant's data may be sent.
    ///
    /// # Errors
    /// `invalid_request` for a cursor that is none.
    pub fn transfers(&self, asked: Asked<'_>, after: Option<&str>, limit: Option<usize>) -> Result<Page<TransferRule>> {
        let tenant = asked.tenant(Scope::EgressRead)?;
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let pair = |cursor: &str| -> Result<(Name, Name)> {
            let (from, to) = cursor.split_once('/').ok_or_else(|| Fault::invalid("`after` is FROM/TO"))?;
            Ok((from.parse()?, to.parse()?))
        };
        let after = after.map(pair).transpose()?;
        let rows = self.store.state().transfers(tenant, after.as_ref().map(|(from, to)| (from, to)), limit + 1)?;
        Ok(Page::cut(rows.into_iter(), limit, |rule: &TransferRule| format!("{}/{}", rule.from, rule.to)))
    }

    /// Lets data of one region be sent to another one.
    ///
    /// # Errors
    /// `invalid_request` for a region and itself, or a purpose that is too long; `conflict` for one too many.
    pub async fn allow_transfer(
        &self,
        asked: Asked<'_>,
        from: Name,
        to: Name,
        wish: TransferWish,
    ) -> Result<TransferRule> {
        let tenant = asked.tenant(Scope::EgressWrite)?.clone();
        let rule = TransferRule::new(from, to, wish.purpose)?;
        let wanted = rule.clone();
        self.store
            .write(asked.actor(), move |state| {
                let known = state.transfer(&tenant, &wanted.from, &wanted.to)?;
                if known.is_none() && state.transfers(&tenant, None, MAX_RULES)?.len() == MAX_RULES {
                    return Err(full());
                }
                let changed = known.as_ref() != Some(&wanted);
                let event = Event::TransferAllowed { tenant: tenant.name().clone(), rule: wanted };
                Ok((changed.then_some(event), ()))
            })
            .await?;
        Ok(rule)
    }

    /// Takes a transfer rule away.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn remove_transfer(&self, asked: Asked<'_>, from: Name, to: Name) -> Result<()> {
        let tenant = asked.tenant(Scope::EgressWrite)?.clone();
        self.store
            .write(asked.actor(), move |state| {
                state.transfer(&tenant, &from, &to)?.ok_or_else(Fault::not_found)?;
                Ok((Some(Event::TransferRuleRemoved { tenant: tenant.name().clone(), from, to }), ()))
            })
            .await
    }

    /// Where the tenant's data is.
    ///
    /// # Errors
    /// `insufficient_scope`.
    pub fn data_region(&self, asked: Asked<'_>) -> Result<RegionDocument> {
        let tenant = asked.tenant(Scope::EgressRead)?;
        let (own, node) = (self.store.state().data_region(tenant)?, self.egress.node_region()?);
        Ok(RegionDocument { own: own.is_some(), region: own.unwrap_or_else(|| node.clone()), node })
    }

    /// Labels all of the tenant's data (plugins, models, key-value data) with a region; with none, the node's.
    ///
    /// # Errors
    /// `insufficient_scope`.
    pub async fn set_data_region(&self, asked: Asked<'_>, region: Option<Name>) -> Result<RegionDocument> {
        let tenant = asked.tenant(Scope::EgressWrite)?.clone();
        self.store
            .write(asked.actor(), move |state| {
                let changed = state.data_region(&tenant)? != region;
                let event = Event::DataRegionSet { tenant: tenant.name().clone(), region };
                Ok((changed.then_some(event), ()))
            })
            .await?;
        let (own, node) =
            (self.store.state().data_region(asked.tenant(Scope::EgressWrite)?)?, self.egress.node_region()?);
        Ok(RegionDocument { own: own.is_some(), region: own.unwrap_or_else(|| node.clone()), node })
    }
}

fn full() -> Fault {
    Fault::new(aimass_core::Code::Conflict, format!("a tenant has at most {MAX_RULES} of these rules"))
}

/// The host as requests are compared with it: addresses as they are written shortest, names in lower case.
fn one_spelling(host: &str) -> Result<String> {
    let host = pattern(host)?;
    if host.starts_with('*') {
        return Ok(host);
    }
    host.parse::<Host>().map(|host| host.to_string()).map_err(Fault::invalid)
}
