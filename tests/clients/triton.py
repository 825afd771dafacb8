"""Calls the plugin `file-type` and the raw model `magika` with Triton's own client, unmodified.

Arguments: host:port, token, and files. Prints the labels that the plugin gave, as JSON.
"""

import json
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

address, token, *paths = sys.argv[1:]
# `infer` writes into the headers that it is given, so each call gets its own.
authorization = {"Authorization": f"Bearer {token}"}
client = triton.InferenceServerClient(address)

assert client.is_server_live(headers=authorization)
assert client.is_server_ready(headers=authorization)
assert "binary_tensor_data" in client.get_server_metadata(headers=authorization)["extensions"]

for name in ("file-type", "magika"):
    assert client.is_model_ready(name, headers=authorization), name
    assert client.is_model_ready(name, "1", headers=authorization), name
    metadata = client.get_model_metadata(name, headers=authorization)
    assert metadata["name"] == name and metadata["versions"] == ["1"], metadata
    assert metadata["inputs"] and metadata["outputs"], metadata
assert not client.is_model_ready("nobody", headers=authorization)
assert not client.is_model_ready("magika", "2", headers=authorization)


def ask_plugin(contents, binary):
    tensor = triton.InferInput("content", [len(contents)], "BYTES")
    tensor.set_data_from_numpy(np.array(contents, dtype=np.object_), binary_data=binary)
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("label", "score")]
    answer = client.infer("file-type", [tensor], outputs=outputs, headers=dict(authorization), request_id="7")
    assert answer.get_response()["id"] == "7"
    labels = [label.decode() if isinstance(label, bytes) else label for label in answer.as_numpy("label")]
    return labels, answer.as_numpy("score")


contents = [open(path, "rb").read() for path in paths]
labels, scores = ask_plugin(contents, binary=True)
# JSON carries text only, so only files that are UTF-8 go that way.
texts = [i for i, content in enumerate(contents) if content.decode("utf-8", "ignore").encode() == content]
json_labels, json_scores = ask_plugin([contents[i] for i in texts], binary=False)
assert json_labels == [labels[i] for i in texts], (json_labels, labels)
np.testing.assert_allclose(json_scores, [scores[i] for i in texts], rtol=1e-5)

# The raw model, with JSON and with binary tensors.
metadata = client.get_model_metadata("magika", headers=authorization)
(port,) = metadata["inputs"]
shape = [2, port["shape"][1]]
features = np.random.default_rng(1).integers(0, 256, shape).astype(np.int32)
answers = []
for binary in (False, True):
    tensor = triton.InferInput(port["name"], shape, port["datatype"])
    tensor.set_data_from_numpy(features, binary_data=binary)
    wanted = [triton.InferRequestedOutput(output["name"], binary_data=binary) for output in metadata["outputs"]]
    answer = client.infer("magika", [tensor], outputs=wanted, headers=dict(authorization))
    answers.append(answer.as_numpy(metadata["outputs"][0]["name"]))
assert answers[0].shape[0] == 2
np.testing.assert_allclose(answers[0], answers[1], rtol=1e-5, atol=1e-7)
np.testing.assert_allclose(answers[1].sum(axis=1), 1, rtol=1e-3)

# Refusals reach the client as its own exception.
for shape in ([1, 3], [2, 2, 2]):
    tensor = triton.InferInput(port["name"], shape, port["datatype"])
    tensor.set_data_from_numpy(np.zeros(shape, dtype=np.int32))
    try:
        client.infer("magika", [tensor], headers=dict(authorization))
        raise SystemExit("a tensor that does not fit was taken")
    except InferenceServerException as refused:
        assert port["name"] in str(refused), refused
try:
    client.infer("magika", [tensor])
    raise SystemExit("a call without a token was answered")
except InferenceServerException:
    pass

print(json.dumps(dict(zip(paths, labels))))
