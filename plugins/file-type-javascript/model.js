// The model, through `wasi:nn`.

import { loadByName } from "wasi:nn/graph@0.2.0-rc-2024-10-28";
import { Tensor } from "wasi:nn/tensor@0.2.0-rc-2024-10-28";

// Asks the model about a file. It is loaded at the first file that needs it: an empty or tiny one does not.
export class Classifier {
  #name;
  #context;

  constructor(name) {
    this.#name = name;
  }

  scores(tokens) {
    // File by file: the platform prepares a model for each batch size it meets, and batches calls itself.
    const data = new Uint8Array(tokens.buffer);
    const outputs = orRefuse(() => {
      this.#context ??= loadByName(this.#name).initExecutionContext();
      const given = new Tensor([1, tokens.length], "I32", data);
      return new Map(this.#context.compute([["bytes", given]]));
    });
    const scores = outputs.get("target_label");
    if (!scores) throw { tag: "internal", val: "the model has no output `target_label`" };
    return new Float32Array(scores.data().slice().buffer);
  }
}

// A time-out may go away; whatever else failed is the plugin's, which made the inputs and named the model.
function orRefuse(call) {
  try {
    return call();
  } catch (thrown) {
    const error = thrown.payload;
    if (error === undefined) throw thrown;
    const code = error.code();
    const val = `inference: ${code.replaceAll("-", " ")}: ${error.data()}`;
    throw { tag: code === "timeout" ? "unavailable" : "internal", val };
  }
}
