"""Arrays of every element type, two of them a row, with what is easily lost: extremes, signs, NaN, bytes that are no text."""

import ml_dtypes
import numpy as np


def _extremes(dtype):
    info = np.iinfo(dtype)
    return np.array([[info.min, info.max], [0, 1], [info.max - 1, info.min + 1]], dtype=dtype)


def _floats(dtype, special=True):
    info = ml_dtypes.finfo(dtype)
    last = [np.nan, -np.inf] if special else [-1.5, 3.0]
    return np.array([[float(info.max), float(info.min)], [-0.0, 0.5], last], dtype=dtype)


INTEGERS = ["UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"]
FLOATS = {"FP16": np.float16, "BF16": ml_dtypes.bfloat16, "FP32": np.float32, "FP64": np.float64}


def arrays(binary=True):
    """One array a type. JSON has no NaN, no infinities, and no bytes that are not UTF-8."""
    found = {"BOOL": np.array([[True, False], [False, True], [True, True]])}
    found |= {name: _extremes(np.dtype(name.lower())) for name in INTEGERS}
    found |= {name: _floats(dtype, special=binary) for name, dtype in FLOATS.items()}
    text = [[b"", b"a"], ["\u00fcber \U0001f680 \"\\\n".encode(), b"\x01"], [b"x" * 1000, b"0"]]
    if binary:
        text[2] = [bytes(range(256)), b"\xff\x00"]
    found["BYTES"] = np.array(text, dtype=np.object_)
    return found


def same(came, sent):
    """Bit by bit: NaN equals NaN, and -0 is not 0."""
    if sent.dtype == np.object_:
        flat = [element.encode() if isinstance(element, str) else bytes(element) for element in np.ravel(came)]
        return list(np.shape(came)) == list(sent.shape) and flat == [bytes(element) for element in np.ravel(sent)]
    return came.dtype == sent.dtype and came.shape == sent.shape and came.tobytes() == sent.tobytes()
