"""What the suite stands on: the binary, the sample models, trips as files, a pool of real processes and a session with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet
import pytest

import whimbrel
from processes import Cluster

ROOT = Path(__file__).resolve().parents[2]
ROWS = 3000
FILES = 5

sys.path.insert(0, str(ROOT / "tools" / "demo"))


@pytest.fixture(scope="session")
def binary() -> str:
    """`WHIMBREL_BINARY`, which `make test` sets. Without it there is nothing to test."""
    named = os.environ.get("WHIMBREL_BINARY")
    if not named or not Path(named).is_file():
        pytest.fail("WHIMBREL_BINARY does not name the whimbrel binary: run `make test`", pytrace=False)
    return str(Path(named).absolute())


@pytest.fixture(scope="session")
def models() -> Path:
    """The sample models, which `make models` makes."""
    folder = Path(os.environ.get("TEST_MODELS") or ROOT / ".dev" / "models")
    if not (folder / "done.json").exists():
        pytest.fail(f"{folder} has no models: run `make models`", pytrace=False)
    return folder.absolute()


@pytest.fixture(scope="session")
def trips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same trips as `csv/` and as `parquet/`, several files each."""
    import trips as maker

    folder = tmp_path_factory.mktemp("trips")
    (folder / "csv").mkdir()
    (folder / "parquet").mkdir()
    table = pyarrow.Table.from_batches([maker.block(0)]).slice(0, ROWS)
    each = ROWS // FILES
    for number in range(FILES):
        part = table.slice(number * each, each)
        pyarrow.csv.write_csv(part, folder / "csv" / f"part-{number}.csv")
        pyarrow.parquet.write_table(part, folder / "parquet" / f"part-{number}.parquet")
    return folder


@pytest.fixture(scope="session")
def cluster(binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One scheduler, two executors."""
    running = Cluster(binary, tmp_path_factory.mktemp("cluster"))
    yield running
    running.stop()


@pytest.fixture
def pool(cluster: Cluster, models: Path) -> Iterator[whimbrel.Connection]:
    """A session of its own with the cluster, where `fare` is bound."""
    with whimbrel.connect(cluster.url) as connection:
        connection.bind_model("fare", str(models / "fare.onnx"), replace=True)
        yield connection


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell's own settings are none of the suite's."""
    for name in ("WHIMBREL_POOL", "WHIMBREL_TOKEN", "WHIMBREL_TOKEN_FILE", "WHIMBREL_STATE"):
        monkeypatch.delenv(name, raising=False)
