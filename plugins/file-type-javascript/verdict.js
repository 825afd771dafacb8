// From the model's scores to a label, as `Magika._get_output_label_from_dl_label_and_score` of magika 1.0.3 does it in
// its default mode (high confidence).

// Decided without the model.
export const certain = (label) => ({ label, score: 1, trusted: true });

// The kind with the highest score; the first of equals.
export function best(scores, config) {
  const labels = config.target_labels_space;
  if (scores.length !== labels.length) {
    const val = `the model gives ${scores.length} scores, and the setting \`config\` names ${labels.length}`;
    throw { tag: "internal", val };
  }
  const at = scores.reduce((best, score, i) => (score > scores[best] ? i : best), 0);
  const threshold = own(config.thresholds, labels[at]) ?? config.medium_confidence_threshold;
  const label = own(config.overwrite_map, labels[at]) ?? labels[at];
  return { label, score: scores[at], trusted: scores[at] >= threshold };
}

// What the caller is told: the label if it is trusted, else the general one, text or unknown.
export function settle({ label, score, trusted }, kinds) {
  let kind = kindOf(label, kinds);
  if (!trusted) {
    label = kind.is_text ? "txt" : "unknown";
    kind = kindOf(label, kinds);
  }
  const mimeType = kind.mime_type ?? (kind.is_text ? "text/plain" : "application/octet-stream");
  return { label, score, mimeType, group: kind.group ?? "unknown" };
}

function kindOf(label, kinds) {
  const kind = own(kinds, label);
  if (kind === undefined) throw { tag: "internal", val: `the setting \`content_types\` does not know \`${label}\`` };
  return kind;
}

// A field of a document, and not what every object has.
const own = (object, key) => (Object.hasOwn(object, key) ? object[key] : undefined);
