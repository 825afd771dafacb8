"""Makes a table, and compares the result of a batch job with what pyarrow and onnxruntime say.

batch_rows.py make FILE ROWS
batch_rows.py compare INPUT RESULT MODEL
batch_rows.py lists FILE
"""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS = [f"f{i}" for i in range(8)]


def make(path: str, rows: int) -> None:
    """Eight columns of numbers, of several types, a key and a text, in pieces: the table need not fit into memory."""
    random = np.random.default_rng(7)
    writer, done = None, 0
    while done < rows:
        count = min(100_000, rows - done)
        columns = {"id": np.arange(done, done + count, dtype=np.int64)}
        for i, name in enumerate(COLUMNS):
            values = random.normal(size=count)
            columns[name] = (values * 10).astype(np.int32) if i == 0 else values.astype([np.float32, np.float64][i % 2])
        columns["text"] = pa.array([f"row {i % 1000}" for i in range(done, done + count)])
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=37_000)
        done += count
    writer.close()


def compare(source: str, result: str, model: str) -> None:
    """Prints the number of rows, if they are all as they should be."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    read, wrote = pq.read_table(source), pq.read_table(result)
    assert wrote.column_names == ["id", "text", "y"], wrote.column_names
    assert read.num_rows == wrote.num_rows, (read.num_rows, wrote.num_rows)
    assert read["id"].equals(wrote["id"]) and read["text"].equals(wrote["text"].cast(pa.string()))
    x = np.stack([read[name].to_numpy().astype(np.float32) for name in COLUMNS], axis=1)
    y = np.stack(wrote["y"].to_numpy(zero_copy_only=False))
    (expected,) = session.run(None, {"x": x})
    assert y.dtype == np.float32 and y.shape == expected.shape, (y.dtype, y.shape, expected.shape)
    worst = float(np.abs(y - expected).max())
    assert worst < 1e-4, worst
    print(wrote.num_rows)


def lists(path: str) -> None:
    """Twenty rows of fifteen million nulls each: kilobytes that become gigabytes."""
    rows, length = 20, 15_000_000
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * length)
    table = pa.table({"x": pa.ListArray.from_arrays(offsets, pa.nulls(rows * length, pa.int8()))})
    pq.write_table(table, path, max_rows_per_page=1)


if sys.argv[1] == "lists":
    lists(sys.argv[2])
elif sys.argv[1] == "make":
    make(sys.argv[2], int(sys.argv[3]))
else:
    compare(*sys.argv[2:5])
