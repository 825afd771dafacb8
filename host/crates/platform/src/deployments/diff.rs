//! What is different between two versions of a plugin or model.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use aimass_core::event::{Device, Kind, SignedBy};
use aimass_core::name::version_number;
use aimass_core::{Digest, Fault, Name, Port, Result, Signature};
use aimass_store::{ConfigurationRow, VersionRow};
use schemars::JsonSchema;
use serde::Serialize;

use super::aliases::read;
use super::pinning::newest;
use crate::{Asked, Platform};

/// Something that is one thing in the first version and another in the second. Nothing where they are alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ChangeOf{T}")]
pub struct Changed<T> {
    /// In the first.
    pub from: T,
    /// In the second.
    pub to: T,
}

/// Names that only one of two versions has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Names {
    /// What only the second has, sorted.
    pub added: Vec<String>,
    /// What only the first has, sorted.
    pub removed: Vec<String>,
}

/// An input or output that is not the same in both versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PortChange {
    /// `input` or `output`.
    pub direction: &'static str,
    /// Its name.
    pub name: String,
    /// What it is in the first version; none if it is new.
    pub from: Option<Port>,
    /// What it is in the second version; none if it is gone.
    pub to: Option<Port>,
}

/// Settings or secrets, by key and without their values, that are not the same on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KeyChanges {
    /// What only the second has, sorted.
    pub added: Vec<String>,
    /// What only the first has, sorted.
    pub removed: Vec<String>,
    /// What has another value, sorted.
    pub changed: Vec<String>,
}

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// A version, with the newest settings.
    Version(u64),
    /// What an alias serves (of a split, the version with the largest part), with the settings that it serves with.
    Alias(Name),
}

impl FromStr for Side {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self> {
        // A name begins with a letter.
        match text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic()) {
            true => text.parse().map(Self::Alias),
            false => version_number(text).map(Self::Version),
        }
    }
}

/// Two versions beside one another. What is the same in both is left out.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DiffDocument {
    /// The plugin's or model's name.
    pub name: Name,
    /// The first version.
    pub from: u64,
    /// The second.
    pub to: u64,
    /// Whether their bytes are the same.
    pub same_bytes: bool,
    /// SHA-256 of the bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Changed<Digest>>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Changed<u64>>,
    /// What a plugin can be used through.
    pub worlds: Names,
    /// Interfaces that a plugin asks for.
    pub imports: Names,
    /// Interfaces that a plugin offers.
    pub exports: Names,
    /// Inputs and outputs.
    pub ports: Vec<PortChange>,
    /// Whether what was sent to the first version can be sent to the second, and whoever read the answers of the first
    /// can read those of the second.
    pub compatible: bool,
    /// What it does, in its own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<Changed<String>>,
    /// The device that a model was uploaded for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Changed<Device>>,
    /// Who signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<Changed<Option<SignedBy>>>,
    /// The number of the configuration that each runs with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<Changed<u64>>,
    /// Settings, if the configuration differs.
    pub settings: KeyChanges,
    /// Secrets, if the configuration differs. One that was set again has changed, whatever its value.
    pub secrets: KeyChanges,
}

impl Platform {
    /// Shows what is different between two versions, and between the settings that they run with.
    ///
    /// # Errors
    /// `not_found`.
    pub fn diff(&self, asked: Asked<'_>, (kind, name): (Kind, &Name), from: &Side, to: &Side) -> Result<DiffDocument> {
        let tenant = asked.tenant(read(kind))?;
        self.object_row(tenant, kind, name)?;
        let state = self.store.state();
        let newest = if kind == Kind::Plugin { newest(&state, tenant, name)? } else { 0 };
        let side = |side: &Side| {
            let (version, configuration) = match side {
                Side::Version(version) => (*version, None),
                Side::Alias(alias) => {
                    let route = state.alias(tenant, name, alias)?.ok_or_else(Fault::not_found)?.route;
                    let main = route.split.into_iter().max_by_key(|share| share.weight);
                    main.map(|share| (share.version, share.configuration)).ok_or_else(Fault::not_found)?
                }
            };
            let row = state.version(tenant, name, version)?.ok_or_else(Fault::not_found)?;
            Ok::<_, Fault>((row, configuration.unwrap_or(newest)))
        };
        let ((from, before), (to, after)) = (side(from)?, side(to)?);
        let mut told = diff(from, to);
        if before != after {
            let open = |number| self.store.configuration(tenant, name, Some(number));
            let (a, b) = (open(before)?, open(after)?);
            told.configuration = changed(before, after);
            told.settings = keys(&a.settings()?, &b.settings()?);
            let of = |row: &ConfigurationRow| -> BTreeMap<String, u64> {
                row.secrets.iter().map(|(key, secret)| (key.clone(), secret.number)).collect()
            };
            told.secrets = keys(&of(a.row()), &of(b.row()));
        }
        Ok(told)
    }
}

fn keys<T: PartialEq>(before: &BTreeMap<String, T>, after: &BTreeMap<String, T>) -> KeyChanges {
    let only = |one: &BTreeMap<String, T>, other: &BTreeMap<String, T>| {
        one.keys().filter(|key| !other.contains_key(*key)).cloned().collect()
    };
    let differs = |(key, value): (&String, &T)| after.get(key).is_some_and(|other| other != value).then(|| key.clone());
    KeyChanges {
        added: only(after, before),
        removed: only(before, after),
        changed: before.iter().filter_map(differs).collect(),
    }
}

fn diff(a: VersionRow, b: VersionRow) -> DiffDocument {
    let empty = Signature::default();
    let (before, after) = (&a.inspection, &b.inspection);
    let signatures = (before.signature.as_ref().unwrap_or(&empty), after.signature.as_ref().unwrap_or(&empty));
    let inputs = ports("input", &signatures.0.inputs, &signatures.1.inputs);
    let outputs = ports("output", &signatures.0.outputs, &signatures.1.outputs);
    let worlds = names(&before.worlds, &after.worlds);
    // An input may take more than it did, and an output may be new.
    let takes = |change: &PortChange| match (&change.from, &change.to) {
        (Some(from), Some(to)) => fits(from, to),
        _ => false,
    };
    let gives = |change: &PortChange| match (&change.from, &change.to) {
        (Some(from), Some(to)) => fits(to, from),
        (from, _) => from.is_none(),
    };
    let compatible = inputs.iter().all(takes) && outputs.iter().all(gives) && worlds.removed.is_empty();
    DiffDocument {
        name: a.name.clone(),
        from: a.version,
        to: b.version,
        same_bytes: a.digest == b.digest,
        digest: changed(a.digest, b.digest),
        size: changed(a.size, b.size),
        worlds,
        imports: names(&before.imports, &after.imports),
        exports: names(&before.exports, &after.exports),
        ports: inputs.into_iter().chain(outputs).collect(),
        compatible,
        description: changed(signatures.0.description.clone(), signatures.1.description.clone()),
        device: changed(before.device, after.device),
        signed_by: changed(a.provenance.signed_by, b.provenance.signed_by),
        configuration: None,
        settings: KeyChanges::default(),
        secrets: KeyChanges::default(),
    }
}

/// Whether every tensor that goes through the one port goes through the other.
fn fits(one: &Port, other: &Port) -> bool {
    let dimensions = one.shape.iter().zip(&other.shape);
    one.element_type == other.element_type
        && one.shape.len() == other.shape.len()
        && dimensions.into_iter().all(|(one, other)| *other < 0 || one == other)
}

fn changed<T: PartialEq>(from: T, to: T) -> Option<Changed<T>> {
    (from != to).then_some(Changed { from, to })
}

fn names(before: &[String], after: &[String]) -> Names {
    let (before, after): (BTreeSet<_>, BTreeSet<_>) = (before.iter().collect(), after.iter().collect());
    let only =
        |one: &BTreeSet<&String>, other: &BTreeSet<&String>| one.difference(other).map(|n| (*n).clone()).collect();
    Names { added: only(&after, &before), removed: only(&before, &after) }
}

fn ports(direction: &'static str, before: &[Port], after: &[Port]) -> Vec<PortChange> {
    let find = |ports: &[Port], name: &str| ports.iter().find(|port| port.name == name).cloned();
    let new = after.iter().filter(|port| find(before, &port.name).is_none());
    let all = before.iter().chain(new).map(|port| PortChange {
        direction,
        name: port.name.clone(),
        from: find(before, &port.name),
        to: find(after, &port.name),
    });
    all.filter(|change| change.from != change.to).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use aimass_core::ElementType;
    use aimass_core::event::{Inspection, Provenance};

    use super::*;

    fn version(number: u64, imports: &[&str], inputs: Vec<Port>, outputs: Vec<Port>) -> VersionRow {
        VersionRow {
            kind: Kind::Plugin,
            name: "m".parse().unwrap(),
            version: number,
            digest: Digest::of(&number.to_le_bytes()),
            size: 100 * number,
            inspection: Inspection {
                worlds: vec!["model-plugin".to_owned()],
                imports: imports.iter().map(|&i| i.to_owned()).collect(),
                exports: vec![],
                signature: Some(Signature { inputs, outputs, description: String::new() }),
                device: Device::Auto,
            },
            created_ms: 0,
            created_by: "test".to_owned(),
            idempotency_key: None,
            provenance: Provenance::default(),
        }
    }

    fn x(shape: &[i64]) -> Port {
        Port::new("x", ElementType::Fp32, shape)
    }

    #[test]
    fn settings_are_told_by_their_keys() {
        let of = |pairs: &[(&str, u64)]| pairs.iter().map(|&(key, value)| (key.to_owned(), value)).collect();
        let told = keys(&of(&[("a", 1), ("b", 1), ("c", 1)]), &of(&[("b", 2), ("c", 1), ("d", 1)]));
        let named = |key: &str| vec![key.to_owned()];
        assert_eq!(told, KeyChanges { added: named("d"), removed: named("a"), changed: named("b") });
        assert_eq!("prod".parse::<Side>().unwrap(), Side::Alias("prod".parse().unwrap()));
        assert_eq!("3".parse::<Side>().unwrap(), Side::Version(3));
        for bad in ["", "0", "-1", "3x", "Prod", "pr od"] {
            assert!(bad.parse::<Side>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_differs_is_told_and_what_does_not_is_left_out() {
        let y = Port::new("y", ElementType::Fp32, [1]);
        let a = version(1, &["wasi:cli@0.2", "wasi:nn@0.2"], vec![x(&[4])], vec![]);
        let b = version(2, &["wasi:http@0.2", "wasi:nn@0.2"], vec![x(&[-1])], vec![y.clone()]);
        let told = diff(a.clone(), b);
        assert_eq!(told.imports, Names { added: vec!["wasi:http@0.2".into()], removed: vec!["wasi:cli@0.2".into()] });
        assert_eq!((told.size, told.same_bytes), (Some(Changed { from: 100, to: 200 }), false));
        assert_eq!(told.ports.len(), 2);
        assert!(told.compatible, "it takes more and gives more");
        let back = diff(version(2, &[], vec![x(&[-1])], vec![y]), a.clone());
        assert!(!back.compatible);
        let same = diff(a.clone(), a);
        assert!(same.same_bytes && same.compatible && same.ports.is_empty() && same.imports == Names::default());
    }
}
