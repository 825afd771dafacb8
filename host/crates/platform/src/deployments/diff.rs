//! What is different between two versions of a plugin or model.

use std::collections::BTreeSet;

use aimass_core::event::{Device, Kind, SignedBy};
use aimass_core::{Digest, Fault, Name, Port, Result, Signature};
use aimass_store::VersionRow;
use serde::Serialize;

use super::aliases::read;
use crate::{Asked, Platform};

/// Something that is one thing in the first version and another in the second. Nothing where they are alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed<T> {
    /// In the first.
    pub from: T,
    /// In the second.
    pub to: T,
}

/// Names that only one of two versions has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Names {
    /// What only the second has, sorted.
    pub added: Vec<String>,
    /// What only the first has, sorted.
    pub removed: Vec<String>,
}

/// An input or output that is not the same in both versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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

/// Two versions beside one another. What is the same in both is left out.
#[derive(Clone, Debug, Serialize)]
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
}

impl Platform {
    /// Shows what is different between two versions.
    ///
    /// # Errors
    /// `not_found`.
    pub fn diff(&self, asked: Asked<'_>, (kind, name): (Kind, &Name), from: u64, to: u64) -> Result<DiffDocument> {
        let tenant = asked.tenant(read(kind))?;
        self.object_row(tenant, kind, name)?;
        let state = self.store.state();
        let row = |number| state.version(tenant, name, number)?.ok_or_else(Fault::not_found);
        Ok(diff(row(from)?, row(to)?))
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
