"""Tells what kind of file some bytes are, with the model `standard_v3_3` of the Python package `magika` 1.0.3.

It does what `plugins/file-type` does in Rust, from the same settings and with the same answers:

    model           the name of the model (default `magika`)
    config          the package's `models/standard_v3_3/config.min.json`
    content_types   the package's `config/content_types_kb.min.json`
"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import wasi_config_store as settings
from wit_world.imports.types import ElementType, Fault_Internal, Port, Signature, Tensor

import features
import tensors
import verdict
from model import Classifier


class Model(exports.Model):
    def signature(self) -> Signature:
        content = Port("content", ElementType.BYTES, [-1], "whole files, one an element")
        outputs = [
            Port("label", ElementType.BYTES, [-1], "the kind of file, such as `rust` or `png`"),
            Port("score", ElementType.FP32, [-1], "how sure that is, 0 to 1"),
            Port("mime_type", ElementType.BYTES, [-1], "its MIME type"),
            Port("group", ElementType.BYTES, [-1], "its group, such as `code` or `image`"),
        ]
        return Signature([content], outputs, "Tells what kind of file some bytes are")

    def infer(self, inputs: list[Tensor]) -> list[Tensor]:
        content = next(tensor for tensor in inputs if tensor.name == "content")
        config, kinds = setting("config"), setting("content_types")
        classifier = Classifier(settings.get("model") or "magika")
        verdicts = []
        for file in tensors.elements(content):
            decided, tokens = features.of(file, config)
            guess = verdict.certain(decided) if decided else verdict.best(classifier.scores(tokens), config)
            verdicts.append(guess.settle(kinds))
        shape = content.shape
        return [
            tensors.strings("label", shape, [v.label for v in verdicts]),
            tensors.floats("score", shape, [v.score for v in verdicts]),
            tensors.strings("mime_type", shape, [v.mime_type for v in verdicts]),
            tensors.strings("group", shape, [v.group for v in verdicts]),
        ]


def setting(key: str) -> dict:
    """A setting that is a JSON document."""
    text = settings.get(key)
    if text is None:
        raise Err(Fault_Internal(f"the plugin's setting `{key}` is not set"))
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise Err(Fault_Internal(f"the setting `{key}` is not as expected: {error}"))
