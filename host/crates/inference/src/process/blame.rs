//! Which models engines died of: suspects run alone, and one that killed three times runs no more.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use aimass_core::{Code, Fault, Result};

use crate::pool::lock;

/// A model as its owner knows it, for this and for the log: `tenant/digest`. Loading it again does not change it.
pub type ModelKey = Arc<str>;

/// Deaths until a model is quarantined.
const DEATHS: u32 = 3;

/// The deaths of this node's engines, by model.
#[derive(Default)]
pub(super) struct Blame {
    deaths: Mutex<HashMap<ModelKey, u32>>,
    /// Whether there were any: nearly always none, and then nothing is locked.
    any: AtomicBool,
}

impl Blame {
    /// An engine died, or hung, while it had requests about these models. Suspects among them are to blame (no two of
    /// them run at once, so there is one); without one, all of them are suspects from now on.
    pub(super) fn died_of(&self, models: &[ModelKey]) {
        let models: BTreeSet<&ModelKey> = models.iter().collect();
        let mut deaths = lock(&self.deaths);
        let suspected = models.iter().any(|model| deaths.contains_key(*model));
        for model in models {
            if suspected && !deaths.contains_key(model) {
                continue;
            }
            let count = deaths.entry(model.clone()).or_default();
            *count += 1;
            if *count == DEATHS {
                tracing::error!(%model, "a model is quarantined: engines died of it {DEATHS} times");
            } else if *count < DEATHS {
                tracing::warn!(%model, deaths = *count, "an engine process died while it ran this model");
            }
        }
        self.any.store(!deaths.is_empty(), Ordering::Release);
    }

    /// Whether engines have died of it: then it runs beside no other such model.
    pub(super) fn suspects(&self, model: &ModelKey) -> bool {
        self.count(model) > 0
    }

    /// # Errors
    /// `unavailable` if the model is quarantined.
    pub(super) fn check(&self, model: &ModelKey) -> Result<()> {
        if self.count(model) < DEATHS {
            return Ok(());
        }
        let detail = format!(
            "the model is quarantined: the inference engine died {DEATHS} times while it ran it. Upload a model that \
             needs less memory and ends in time, or have the node restarted to try this one again"
        );
        Err(Fault::new(Code::Unavailable, detail).retry_after(std::time::Duration::from_secs(3_600)))
    }

    fn count(&self, model: &ModelKey) -> u32 {
        if !self.any.load(Ordering::Acquire) {
            return 0;
        }
        lock(&self.deaths).get(model).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f59_the_third_death_quarantines_the_culprit_and_not_who_was_beside_it_once() {
        let (culprit, bystander): (ModelKey, ModelKey) = ("a/1".into(), "b/2".into());
        let blame = Blame::default();
        blame.died_of(&[culprit.clone(), bystander.clone(), culprit.clone()]);
        assert!(blame.suspects(&culprit) && blame.suspects(&bystander));
        // From now on they do not run together, and somebody new beside the culprit is above suspicion.
        blame.died_of(&[culprit.clone(), "c/3".into()]);
        assert!(!blame.suspects(&"c/3".into()));
        assert!(blame.check(&culprit).is_ok());
        blame.died_of(std::slice::from_ref(&culprit));
        assert_eq!(blame.check(&culprit).unwrap_err().code(), Code::Unavailable);
        assert!(blame.check(&bystander).is_ok());
    }
}
