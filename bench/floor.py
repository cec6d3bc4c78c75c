"""What a careful person would write in plain Python: pyarrow reads, ONNX Runtime scores on all cores, pyarrow writes.

It is one process with the model loaded before the clock starts. It obeys lines of JSON on standard input, so that its passes
can take turns with those of a pool: {"data": folder, "format": ..., "out": file, "with_id": false} is answered by
{"rows": ..., "seconds": ...}.
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


def score(session: onnxruntime.InferenceSession, features: list[str], request: dict) -> int:
    """One pass over the data; returns its rows."""
    ids = ["trip_id"] if request["with_id"] else []
    dataset = pa.dataset.dataset(request["data"], format=request["format"], exclude_invalid_files=False)
    fields = [("predict", pa.float32())] + [(name, pa.int64()) for name in ids]
    matrix = np.empty((BATCH_ROWS, len(features)), dtype=np.float32)
    rows = 0
    with pa.parquet.ParquetWriter(request["out"], pa.schema(fields)) as writer:
        for batch in dataset.to_batches(columns=features + ids, batch_size=BATCH_ROWS):
            count = batch.num_rows
            for place in range(len(features)):
                matrix[:count, place] = batch.column(place).to_numpy(zero_copy_only=False)
            (predicted, *_) = session.run(None, {session.get_inputs()[0].name: matrix[:count]})
            columns = [pa.array(predicted.reshape(-1))] + [batch.column(name).cast(pa.int64()) for name in ids]
            writer.write_batch(pa.record_batch(columns, schema=writer.schema))
            rows += count
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
