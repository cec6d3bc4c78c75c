"""What a careful person would write in plain Python: pyarrow reads, ONNX Runtime scores on all cores, pyarrow writes.

It is one process with the model loaded before the clock starts. It obeys lines of JSON on standard input, so that its passes
can take turns with those of a pool: {"data": folder, "format": ..., "out": file, "keep": [columns]} is answered by
{"rows": ..., "seconds": ...}. Further keys: "batch_rows" (a run of the model), "group_rows" (of the Parquet that is written; a group
for each batch without it), "writer" (options of pyarrow's Parquet writer).
"""

import json
import os
import sys
import time

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet

BATCH_ROWS = 16_384


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


def score(session: onnxruntime.InferenceSession, features: list[str], request: dict) -> int:
    """One pass over the data; returns its rows."""
    keep, batch_rows = request["keep"], request.get("batch_rows", BATCH_ROWS)
    dataset = pa.dataset.dataset(request["data"], format=request["format"], exclude_invalid_files=False)
    schema = pa.schema([("predict", pa.float32()), *(dataset.schema.field(name) for name in keep)])
    matrix = np.empty((batch_rows, len(features)), dtype=np.float32)
    rows = 0
    with pa.parquet.ParquetWriter(request["out"], schema, **request.get("writer", {})) as writer:
        groups = Groups(writer, request.get("group_rows", 1))
        for batch in dataset.to_batches(columns=features + keep, batch_size=batch_rows):
            count = batch.num_rows
            for place in range(len(features)):
                matrix[:count, place] = batch.column(place).to_numpy(zero_copy_only=False)
            (predicted, *_) = session.run(None, {session.get_inputs()[0].name: matrix[:count]})
            columns = [pa.array(predicted.reshape(-1)), *(batch.column(name) for name in keep)]
            groups.add(pa.record_batch(columns, schema=schema))
            rows += count
        groups.write()
    return rows


def main() -> int:
    session = open_session(sys.argv[1])
    features = json.loads(session.get_modelmeta().custom_metadata_map["feature_names"])
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        begun = time.monotonic()
        rows = score(session, features, request)
        print(json.dumps({"rows": rows, "seconds": time.monotonic() - begun}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
