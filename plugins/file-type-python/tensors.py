"""Tensors as Python has them. Everything is little-endian; an element of type BYTES stands behind its length, a u32."""

import struct

from wit_world.imports.types import ElementType, Tensor


def elements(tensor: Tensor) -> list[bytes]:
    """The elements of a tensor of type BYTES."""
    found, at, data = [], 0, tensor.data
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        found.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def strings(name: str, shape: list[int], texts: list[str]) -> Tensor:
    parts = [text.encode() for text in texts]
    data = b"".join(struct.pack("<I", len(part)) + part for part in parts)
    return Tensor(name, ElementType.BYTES, shape, data)


def floats(name: str, shape: list[int], numbers: list[float]) -> Tensor:
    return Tensor(name, ElementType.FP32, shape, struct.pack(f"<{len(numbers)}f", *numbers))
