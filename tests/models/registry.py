"""Logs models of the zoo with MLflow to a real server and registers them: the database and the artifacts that the tests' own
servers start from.

    fare            1: a linear model, alias `before`; 2: the zoo's LightGBM, alias `champion`
    digits          1: the zoo's convolutional network, its weights in a file beside it
    fare-python     1: a scikit-learn model that only Python can run
    fare-notes      1: a text file, no model
    fare-disagrees  1: a signature of two columns over a graph of ten
    fare-nothing    no version
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

# Nothing is sent to anybody, and git is not asked about the checkout.
QUIET = {
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "ORT_DISABLE_TELEMETRY": "1",
}
os.environ.update(QUIET)
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools/demo"))

import trips

START_SECONDS = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """`mlflow server` over `folder`, as long as the `with` block lasts."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "Server":
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "./art"]
        self.log = (self.folder / "server.log").open("wb")
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise SystemExit(f"registry: mlflow server does not start\n{(self.folder / 'server.log').read_text()}")
            time.sleep(0.1)
        return self

    def answers(self) -> bool:
        try:
            return urllib.request.urlopen(f"{self.uri}/health", timeout=5).status == 200
        except OSError:
            return False

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def __exit__(self, *_) -> None:
        self.stop()
        (self.folder / "server.log").unlink()


def log_models(zoo: Path) -> None:
    import mlflow
    import onnx
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    requirements = ["onnxruntime"]
    client = mlflow.MlflowClient()
    mlflow.set_experiment("fares")

    def signature(folder: str):
        return mlflow.models.get_model_info(str(zoo / folder)).signature

    def log(folder: str, name: str, **more) -> None:
        path = zoo / folder
        model = onnx.load(str(path / "model.onnx" if path.is_dir() else path))
        external = {} if (path / "model.onnx").exists() and list(path.glob("*.data")) else {"save_as_external_data": False}
        mlflow.onnx.log_model(model, name="model", registered_model_name=name, pip_requirements=requirements, **external, **more)

    with mlflow.start_run():
        log("linear.onnx", "fare")
    with mlflow.start_run():
        log("lightgbm", "fare", signature=signature("lightgbm"))
    client.set_registered_model_alias("fare", "before", "1")
    client.set_registered_model_alias("fare", "champion", "2")
    with mlflow.start_run():
        log("cnn_mlflow", "digits", signature=signature("cnn_mlflow"))
    with mlflow.start_run():
        two = Schema([ColSpec("double", "trip_distance"), ColSpec("double", "duration_min")])
        log("lightgbm", "fare-disagrees", signature=ModelSignature(inputs=two))
    with mlflow.start_run() as run:
        log_python(requirements)
        mlflow.log_text("There is no model here.\n", "notes/notes.txt")
    client.create_registered_model("fare-notes")
    client.create_model_version("fare-notes", source=f"{run.info.artifact_uri}/notes", run_id=run.info.run_id)
    client.create_registered_model("fare-nothing")


def log_python(requirements: list[str]) -> None:
    import mlflow
    import numpy as np
    from sklearn.linear_model import LinearRegression

    estimator = LinearRegression().fit(np.eye(3), np.arange(3.0))
    mlflow.sklearn.log_model(
        estimator,
        name="model",
        registered_model_name="fare-python",
        pip_requirements=requirements,
        serialization_format="cloudpickle",
    )


def fill(folder: Path, zoo: Path) -> None:
    with Server(folder) as server:
        os.environ["MLFLOW_TRACKING_URI"] = server.uri
        log_models(zoo)
    for made in ["mlflow.db-wal", "mlflow.db-shm"]:
        if (folder / made).exists():
            raise SystemExit(f"registry: the server left {made}: its database is not whole")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", type=Path, required=True, help="the folder that zoo.py made")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    arguments = parser.parse_args()
    begun = time.monotonic()
    out, zoo = arguments.out, arguments.zoo.resolve()
    print(f"registry: logging models to an MLflow server in {out} ...", flush=True)
    parameters = {"zoo": (zoo / "done.json").read_text()}
    if trips.make_folder(out, [Path(__file__)], parameters, lambda folder: fill(folder, zoo)):
        print(f"registry: made, {trips.folder_bytes(out) / 1e6:.1f} MB in {time.monotonic() - begun:.1f} s")
    else:
        print("registry: there already")
    return 0


if __name__ == "__main__":
    sys.exit(main())
