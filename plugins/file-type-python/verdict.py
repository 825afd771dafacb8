"""From the model's scores to a label, as `Magika._get_output_label_from_dl_label_and_score` of magika 1.0.3 does it in
its default mode (high confidence)."""

from dataclasses import dataclass

from componentize_py_types import Err
from wit_world.imports.types import Fault_Internal


@dataclass
class Verdict:
    """What the caller is told."""

    label: str
    score: float
    mime_type: str
    group: str


@dataclass
class Guess:
    """What the model, or a rule before it, takes a file for."""

    label: str
    score: float
    trusted: bool

    def settle(self, kinds: dict) -> Verdict:
        """The label if it is trusted, else the general one: text or unknown."""
        kind, label = kind_of(self.label, kinds), self.label
        if not self.trusted:
            label = "txt" if kind["is_text"] else "unknown"
            kind = kind_of(label, kinds)
        default = "text/plain" if kind["is_text"] else "application/octet-stream"
        return Verdict(label, self.score, kind["mime_type"] or default, kind["group"] or "unknown")


def certain(label: str) -> Guess:
    """Decided without the model."""
    return Guess(label, 1.0, True)


def best(scores: tuple[float, ...], config: dict) -> Guess:
    """The kind with the highest score; the first of equals."""
    labels = config["target_labels_space"]
    if len(scores) != len(labels):
        raise Err(Fault_Internal(f"the model gives {len(scores)} scores, and the setting `config` names {len(labels)}"))
    score = max(scores)
    label = labels[scores.index(score)]
    threshold = config["thresholds"].get(label, config["medium_confidence_threshold"])
    return Guess(config["overwrite_map"].get(label, label), score, score >= threshold)


def kind_of(label: str, kinds: dict) -> dict:
    if label not in kinds:
        raise Err(Fault_Internal(f"the setting `content_types` does not know `{label}`"))
    return kinds[label]
