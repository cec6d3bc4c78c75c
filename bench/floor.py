"""What a careful person would write in plain Python: pyarrow reads, ONNX Runtime scores on all cores, pyarrow writes.

It is one process with the model loaded before the clock starts. It obeys lines of JSON on standard input, so that its passes
can take turns with those of a pool: {"data": folder, "format": ..., "out": file, "keep": [columns]} is answered by
{"rows": ..., "seconds": ...}. Further keys: "batch_rows" (a run of the model), "group_rows" (of the Parquet that is written; a group
for each batch without it), "writer" (options of pyarrow's Parquet writer), "output" (the model's, without it its first) and "class" (of
an output that is a dictionary for each row, as ZipMap makes it).
"""

import json
import os
import sys
import time
from collections.abc import Callable

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet

BATCH_ROWS = 16_384
KINDS = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(string)": object}


def open_session(path: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class Groups:
    """Gathers batches until they are a row group."""

    def __init__(self, writer: pyarrow.parquet.ParquetWriter, rows: int):
        self.writer, self.rows = writer, rows
        self.batches: list[pa.RecordBatch] = []
        self.waiting = 0

    def add(self, batch: pa.RecordBatch) -> None:
        self.batches.append(batch)
        self.waiting += batch.num_rows
        if self.waiting >= self.rows:
            self.write()

    def write(self) -> None:
        if self.batches:
            self.writer.write_table(pa.Table.from_batches(self.batches), row_group_size=self.waiting)
        self.batches, self.waiting = [], 0


def takes(session: onnxruntime.InferenceSession, batch_rows: int) -> tuple[list[str], Callable[[pa.RecordBatch], dict]]:
    """The columns that a model takes, and what makes its inputs of a batch that begins with them: one matrix, or a column for each."""
    given = session.get_inputs()

    def column(batch: pa.RecordBatch, place: int) -> np.ndarray:
        return batch.column(place).to_numpy(zero_copy_only=False)

    if len(given) > 1:
        kinds = [KINDS[entry.type] for entry in given]
        names = [entry.name for entry in given]
        return names, lambda batch: {
            name: column(batch, place).astype(kinds[place], copy=False).reshape(-1, 1) for place, name in enumerate(names)
        }
    features = json.loads(session.get_modelmeta().custom_metadata_map["feature_names"])
    matrix = np.empty((batch_rows, len(features)), dtype=np.float32)

    def fill(batch: pa.RecordBatch) -> dict:
        for place in range(len(features)):
            matrix[: batch.num_rows, place] = column(batch, place)
        return {given[0].name: matrix[: batch.num_rows]}

    return features, fill


def values(answer: np.ndarray | list[dict], label: str | None) -> np.ndarray:
    if label is None:
        return answer.reshape(-1)
    return np.array([row[label] for row in answer], dtype=np.float32)


def score(session: onnxruntime.InferenceSession, request: dict) -> int:
    """One pass over the data; returns its rows."""
    keep, batch_rows = request["keep"], request.get("batch_rows", BATCH_ROWS)
    output = [request.get("output") or session.get_outputs()[0].name]
    features, inputs = takes(session, batch_rows)
    dataset = pa.dataset.dataset(request["data"], format=request["format"], exclude_invalid_files=False)
    schema = pa.schema([("predict", pa.float32()), *(dataset.schema.field(name) for name in keep)])
    rows = 0
    with pa.parquet.ParquetWriter(request["out"], schema, **request.get("writer", {})) as writer:
        groups = Groups(writer, request.get("group_rows", 1))
        for batch in dataset.to_batches(columns=features + keep, batch_size=batch_rows):
            (answer,) = session.run(output, inputs(batch))
            columns = [pa.array(values(answer, request.get("class"))), *(batch.column(name) for name in keep)]
            groups.add(pa.record_batch(columns, schema=schema))
            rows += batch.num_rows
        groups.write()
    return rows


def serve(score: Callable[[onnxruntime.InferenceSession, dict], int]) -> int:
    """Loads the model that the command names, and does what its standard input asks."""
    session = open_session(sys.argv[1])
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        begun = time.monotonic()
        rows = score(session, request)
        print(json.dumps({"rows": rows, "seconds": time.monotonic() - begun}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(serve(score))
