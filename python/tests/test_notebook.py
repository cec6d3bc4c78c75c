"""The notebook of the examples runs unchanged, on a pool that is named and on one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import whimbrel
from conftest import ROOT, ROWS
from processes import Cluster


def run(models: Path, trips: Path, folder: Path, **settings: str) -> str:
    command = [
        sys.executable,
        str(ROOT / "examples" / "synapse_notebook.py"),
        str(models / "classifier.onnx"),
        str(trips),
        str(folder / "out"),
    ]
    source = str(Path(whimbrel.__file__).parents[1])
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": source, **settings}, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_on_a_cluster(cluster: Cluster, models: Path, trips: Path, tmp_path: Path) -> None:
    assert run(models, trips, tmp_path, WHIMBREL_POOL=cluster.url).endswith(f"{ROWS} rows scored and written\n")
    assert not (tmp_path / ".whimbrel").exists()


def test_on_a_pool_of_its_own(binary: str, models: Path, trips: Path, tmp_path: Path) -> None:
    assert run(models, trips, tmp_path, WHIMBREL_BINARY=binary).endswith(f"{ROWS} rows scored and written\n")
    # Bindings last, as those of any command do.
    assert (tmp_path / ".whimbrel").exists()
    run(models, trips, tmp_path, WHIMBREL_BINARY=binary)
