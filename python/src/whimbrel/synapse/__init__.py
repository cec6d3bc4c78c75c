"""What a notebook of Azure Synapse that scores with PREDICT needs, on a Whimbrel pool: only its imports change.

    import whimbrel.synapse as pcontext                         # was: import azure.synapse.ml.predict as pcontext
    from whimbrel.synapse import spark                          # was: there by itself
    from whimbrel.synapse import Workspace, ServicePrincipalAuthentication   # was: azureml.core
    from whimbrel.synapse.functions import col, lit             # was: pyspark.sql.functions

A `DataFrame` is a query that has not run: nothing is read before its rows are asked for, and the pool does all of the work.
"""

import logging

from whimbrel.synapse._azure import ServicePrincipalAuthentication, Workspace, azureML, mssparkutils
from whimbrel.synapse._column import Column
from whimbrel.synapse._frame import DataFrame, Row
from whimbrel.synapse._predict import PredictModel, Transformer, bind_model
from whimbrel.synapse._session import SparkSession, connect, spark

logger = logging.getLogger("whimbrel.synapse")

__all__ = [
    "Column",
    "DataFrame",
    "PredictModel",
    "Row",
    "ServicePrincipalAuthentication",
    "SparkSession",
    "Transformer",
    "Workspace",
    "azureML",
    "bind_model",
    "connect",
    "logger",
    "mssparkutils",
    "spark",
]
