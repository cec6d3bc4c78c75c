"""The package itself."""

from __future__ import annotations

import re

import whimbrel
from conftest import ROOT


def test_its_version_is_the_binarys() -> None:
    manifest = (ROOT / "Cargo.toml").read_text()
    found = re.search(r'^\[workspace\.package\]$.*?^version = "([^"]+)"', manifest, re.MULTILINE | re.DOTALL)
    assert found is not None and found[1] == whimbrel.__version__


def test_what_it_promises_is_there() -> None:
    import whimbrel.synapse
    from whimbrel.synapse import functions

    for module in (whimbrel, whimbrel.synapse, functions):
        for name in module.__all__:
            assert getattr(module, name).__doc__, f"{module.__name__}.{name} is not described"
