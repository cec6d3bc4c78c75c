"""What a careful person would write with polars: it reads the columns, ONNX Runtime scores them on all cores, polars writes.

It is asked as `floor.py` is, about Parquet and models of one matrix. "batch_rows" is how many rows the model is given at a time;
"group_rows" and "writer" are of the Parquet that it writes, "writer" as polars calls its options.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import polars
from floor import serve


def score(session: onnxruntime.InferenceSession, request: dict) -> int:
    """One pass over the data; returns its rows."""
    features = json.loads(session.get_modelmeta().custom_metadata_map["feature_names"])
    keep, batch_rows = request["keep"], request["batch_rows"]
    rows = polars.scan_parquet(Path(request["data"]) / "*.parquet").select(features + keep).collect()
    matrix = np.empty((batch_rows, len(features)), dtype=np.float32)
    predicted = np.empty(rows.height, dtype=np.float32)
    given = session.get_inputs()[0].name
    for first in range(0, rows.height, batch_rows):
        part = rows.slice(first, batch_rows)
        # A third of the time of polars' own `to_numpy` of all columns.
        for place, name in enumerate(features):
            matrix[: part.height, place] = part[name].to_numpy()
        (answer,) = session.run(None, {given: matrix[: part.height]})
        predicted[first : first + part.height] = answer.reshape(-1)
    scored = rows.select(polars.Series("predict", predicted), *keep)
    scored.write_parquet(request["out"], row_group_size=request.get("group_rows"), **request.get("writer", {}))
    return rows.height


if __name__ == "__main__":
    sys.exit(serve(score))
