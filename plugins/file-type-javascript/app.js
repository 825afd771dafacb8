// Tells what kind of file some bytes are, with the model `standard_v3_3` of the Python package `magika` 1.0.3.
//
// It does what `plugins/file-type` does in Rust, from the same settings and with the same answers:
//
//     model           the name of the model (default `magika`)
//     config          the package's `models/standard_v3_3/config.min.json`
//     content_types   the package's `config/content_types_kb.min.json`

import { get } from "wasi:config/store@0.2.0-rc.1";

import { features } from "./features.js";
import { Classifier } from "./model.js";
import { elements, floats, strings } from "./tensors.js";
import { best, certain, settle } from "./verdict.js";

export const model = {
  signature() {
    const port = (name, elementType, description) => ({ name, elementType, shape: [-1n], description });
    return {
      inputs: [port("content", "bytes", "whole files, one an element")],
      outputs: [
        port("label", "bytes", "the kind of file, such as `rust` or `png`"),
        port("score", "fp32", "how sure that is, 0 to 1"),
        port("mime_type", "bytes", "its MIME type"),
        port("group", "bytes", "its group, such as `code` or `image`"),
      ],
      description: "Tells what kind of file some bytes are",
    };
  },

  infer(inputs) {
    const content = inputs.find((tensor) => tensor.name === "content");
    const config = setting("config");
    const kinds = setting("content_types");
    const classifier = new Classifier(get("model") ?? "magika");
    const verdicts = elements(content).map((file) => {
      const { decided, tokens } = features(file, config);
      const guess = decided ? certain(decided) : best(classifier.scores(tokens), config);
      return settle(guess, kinds);
    });
    const { shape } = content;
    return [
      strings("label", shape, verdicts.map((verdict) => verdict.label)),
      floats("score", shape, verdicts.map((verdict) => verdict.score)),
      strings("mime_type", shape, verdicts.map((verdict) => verdict.mimeType)),
      strings("group", shape, verdicts.map((verdict) => verdict.group)),
    ];
  },
};

// A setting that is a JSON document.
function setting(key) {
  const text = get(key);
  if (text === undefined) throw { tag: "internal", val: `the plugin's setting \`${key}\` is not set` };
  try {
    return JSON.parse(text);
  } catch (error) {
    throw { tag: "internal", val: `the setting \`${key}\` is not as expected: ${error.message}` };
  }
}
