//! From the model's scores to a label, as `Magika._get_output_label_from_dl_label_and_score` of magika 1.0.3 does it in
//! its default mode (high confidence).

use aimass_sdk::Fault;

use crate::config::{Config, ContentTypes};

/// What the model, or a rule before it, takes a file for.
#[derive(Debug)]
pub(crate) struct Guess<'a> {
    /// The label, after the overwrite map.
    pub(crate) label: &'a str,
    score: f32,
    /// Whether the score is high enough for it.
    trusted: bool,
}

/// What the caller is told.
#[derive(Debug)]
pub(crate) struct Verdict<'a> {
    pub(crate) label: &'a str,
    pub(crate) score: f32,
    pub(crate) mime_type: &'a str,
    pub(crate) group: &'a str,
}

impl<'a> Guess<'a> {
    /// Decided without the model.
    pub(crate) fn certain(label: &'a str) -> Self {
        Self { label, score: 1.0, trusted: true }
    }

    /// The kind with the highest score; the first of equals.
    pub(crate) fn best(scores: &[f32], config: &Config<'a>) -> Result<Self, Fault> {
        let labels = &config.target_labels_space;
        if scores.len() != labels.len() {
            let why =
                format!("the model gives {} scores, and the setting `config` names {}", scores.len(), labels.len());
            return Err(Fault::internal(why));
        }
        let (mut best, mut score) = (0, f32::NEG_INFINITY);
        for (i, &s) in scores.iter().enumerate() {
            if s > score {
                (best, score) = (i, s);
            }
        }
        let Some(&label) = labels.get(best) else { return Err(Fault::internal("the setting `config` names no kinds")) };
        let threshold = config.thresholds.get(label).copied().unwrap_or(config.medium_confidence_threshold);
        let label = config.overwrite_map.get(label).copied().unwrap_or(label);
        Ok(Self { label, score, trusted: f64::from(score) >= threshold })
    }

    /// The label if it is trusted, else the general one: text or unknown.
    pub(crate) fn settle(&self, kinds: &ContentTypes<'a>) -> Result<Verdict<'a>, Fault> {
        let mut kind = kinds.get(self.label)?;
        let mut label = self.label;
        if !self.trusted {
            label = if kind.is_text { "txt" } else { "unknown" };
            kind = kinds.get(label)?;
        }
        Ok(Verdict { label, score: self.score, mime_type: kind.mime_type(), group: kind.group() })
    }
}
