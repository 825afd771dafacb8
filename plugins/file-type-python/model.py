"""The model, through `wasi:nn`."""

import struct
from typing import NoReturn, Optional

from componentize_py_types import Err
from wit_world.imports import graph, tensor
from wit_world.imports.errors import ErrorCode
from wit_world.imports.inference import GraphExecutionContext
from wit_world.imports.types import Fault_Internal, Fault_Unavailable


class Classifier:
    """Asks the model about a file. It is loaded at the first file that needs it: an empty or tiny one does not."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.context: Optional[GraphExecutionContext] = None

    def scores(self, tokens: list[int]) -> tuple[float, ...]:
        # File by file: the platform prepares a model for each batch size it meets, and batches calls itself.
        data = struct.pack(f"<{len(tokens)}i", *tokens)
        try:
            if self.context is None:
                self.context = graph.load_by_name(self.name).init_execution_context()
            given = tensor.Tensor([1, len(tokens)], tensor.TensorType.I32, data)
            outputs = dict(self.context.compute([("bytes", given)]))
        except Err as error:
            refuse(error)
        if "target_label" not in outputs:
            raise Err(Fault_Internal("the model has no output `target_label`"))
        scores = outputs["target_label"].data()
        return struct.unpack(f"<{len(scores) // 4}f", scores)


def refuse(error: Err) -> NoReturn:
    """A time-out may go away; whatever else failed is the plugin's, which made the inputs and named the model."""
    code, data = error.value.code(), error.value.data()
    kind = Fault_Unavailable if code == ErrorCode.TIMEOUT else Fault_Internal
    raise Err(kind(f"inference: {code.name.lower().replace('_', ' ')}: {data}"))
