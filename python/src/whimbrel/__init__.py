"""Whimbrel scores whole datasets with trained models, in SQL, on one machine or a pool of many.

    import whimbrel

    with whimbrel.connect() as pool:
        pool.bind_model("fare", "fare.onnx", replace=True)
        pool.sql("SELECT trip_id, PREDICT('fare', *) AS fare FROM 'trips.parquet'").show()
        pool.score(model="fare", input="s3://lake/trips/", keep=["trip_id"], output="s3://lake/scored/").wait()

`whimbrel.synapse` has what a notebook of Azure Synapse needs to run unchanged but for its imports.
"""

from whimbrel._connection import Connection, connect
from whimbrel._error import Error
from whimbrel._job import Job, JobStatus
from whimbrel._model import Model
from whimbrel._result import Result

__version__ = "0.1.0"

__all__ = ["Connection", "Error", "Job", "JobStatus", "Model", "Result", "connect"]
