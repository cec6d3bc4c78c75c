"""A notebook of Azure Synapse that scores trips with PREDICT, as it runs on a Whimbrel pool: only its imports are others.

    python examples/synapse_notebook.py MODEL TRIPS OUTPUT

MODEL is an ONNX file that gives class probabilities from the columns of trips, TRIPS a folder with `csv/` and `parquet/`, OUTPUT a
folder to write to; the pool must be able to read and write them. WHIMBREL_POOL names a pool; without it one is started here.
"""

# %% What changed: these imports.
# import azure.synapse.ml.predict as pcontext
# from azure.synapse.ml.predict.utils._logger import logger
# from azureml.core import Workspace
# from azureml.core.authentication import ServicePrincipalAuthentication
# from notebookutils.mssparkutils import azureML
# from pyspark.sql.functions import col, pandas_udf, udf, lit
import sys

import whimbrel.synapse as pcontext
from whimbrel.synapse import ServicePrincipalAuthentication, Workspace, azureML, logger, mssparkutils, spark
from whimbrel.synapse.functions import col, lit, pandas_udf, udf  # noqa: F401

MODEL, TRIPS, OUTPUT = sys.argv[1:]
CSV, PARQUET = f"{TRIPS}/csv/", f"{TRIPS}/parquet/"

# %% Enable PREDICT.
spark.conf.set("spark.synapse.ml.predict.enabled", "true")
assert spark.conf.get("spark.synapse.ml.predict.enabled") == "true"
logger.info("PREDICT is enabled")

# %% Who asks, and which workspace the model is in. A model that is a file needs neither.
svc_pr = ServicePrincipalAuthentication(tenant_id="tenant", service_principal_id="client", service_principal_password="never-sent")
ws = Workspace(workspace_name="workspace", subscription_id="subscription", resource_group="group", auth=svc_pr)
assert azureML.getWorkspace("workspace").name == mssparkutils.azureML.getWorkspace("workspace").name == ws.name

# %% Bind the model, in both forms.
model = pcontext.bind_model(
    return_types="Array<float>", runtime="mlflow", model_alias="trip_class", model_uri=MODEL, aml_workspace=ws
).register()
again = pcontext.bind_model("Array<float>", "mlflow", "trip_class", MODEL, ws).register()
third = pcontext.bind_model("Array<float>", "mlflow", "trip_class", MODEL, ws, {"output": "probabilities"}).register()
assert model.model_alias == again.model_alias == third.model_alias

# %% Read the data.
df = spark.read.format("csv").option("header", "true").csv(CSV, inferSchema=True)
same = spark.read.option("header", True).option("inferSchema", True).format("csv").load(CSV)
assert df.columns == same.columns == spark.read.parquet(PARQUET).columns
df.createOrReplaceTempView("data")
df.select(df.columns[:5]).show(10)
rows = df.count()
assert rows == spark.table("data").count() > 0

# %% Call it from SQL.
spark.sql("SELECT PREDICT('trip_class', *) AS predict FROM data").show()
by_sql = spark.sql(
    """SELECT trip_id, PREDICT('trip_class', *) AS PREDICT  -- every column finds its input by name
       FROM data ORDER BY trip_id"""
).collect()
assert len(by_sql) == rows and len(by_sql[0]["PREDICT"]) > 1

# %% Call it as a user-defined function, over columns by name and by expression.
with_udf = df.withColumn("PREDICT", model.udf(lit("trip_class"), *df.columns))
with_udf.show()
assert with_udf.columns == [*df.columns, "PREDICT"]
with_cols = df.withColumn("PREDICT", model.udf(lit("trip_class"), *[col(name) for name in df.columns]))
likely = with_cols.filter(col("PREDICT")[0] > 0.5).where("trip_id >= 0")
assert 0 <= likely.count() <= rows

# %% Call it as a transformer.
columns = df.columns
tr = model.create_transformer().setInputCols(columns).setOutputCol("PREDICT")
transformed = tr.transform(df)
transformed.show(5, truncate=False)
frame = transformed.select("trip_id", df["borough"], transformed.PREDICT).toPandas().sort_values("trip_id")
assert [list(value) for value in frame["PREDICT"]] == [list(row.PREDICT) for row in by_sql]

# %% Score rows that are here already.
sample = df[df["trip_id"] < 50].toPandas().sort_values("trip_id")
predicted = model.predict(sample)
assert [list(value) for value in predicted] == [list(row.PREDICT) for row in by_sql[:50]]

# %% Write all rows, each once.
transformed.select("trip_id", "PREDICT").write.mode("overwrite").parquet(OUTPUT)
written = spark.read.parquet(OUTPUT)
assert written.count() == rows
print(f"{rows} rows scored and written")
