#!/usr/bin/env python3
"""Writes docs/configuration.md: what each setting means (the doc comments of the two `Config` structs), its default
(`--print-config`) and its flag (`--help`). With --check it only says whether the file is still true.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs/configuration.md"
DAEMONS = [("scheduler", "scheduler/src/config.rs"), ("executor", "executor/src/config.rs")]
INTRODUCTION = """# Settings

A daemon's settings are its defaults, then the file of `--config` (TOML, flat keys), then variables (`WHIMBREL_` and the key in
capitals), then flags. A key that does not exist is refused, with the nearest one that does. `--print-config` prints what holds,
as the file that would give it. Times are "90s", "5m" or a
number of seconds; sizes are "64MiB", "2GiB" or a number of bytes.

This page is made from the code by `make golden`.
"""


def documented(source: str) -> dict[str, str]:
    """Key to doc comment, in the order of the struct."""
    body = re.search(r"pub struct Config \{(.*?)^\}", source, re.DOTALL | re.MULTILINE)[1]
    settings, comment = {}, []
    for line in body.splitlines():
        if match := re.match(r"\s*/// ?(.*)", line):
            comment.append(match[1])
        elif match := re.match(r"\s*pub (\w+):", line):
            settings[match[1]] = " ".join(comment)
            comment = []
    return settings


def ask(whimbrel: str, *arguments: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WHIMBREL_")}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([whimbrel, *arguments], cwd=folder, env=clean, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def written(value: object) -> str:
    if value in ("", None):
        return "none"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


def page(whimbrel: str) -> str:
    parts = [INTRODUCTION]
    for daemon, source in DAEMONS:
        defaults = tomllib.loads(ask(whimbrel, daemon, "--print-config"))
        flags = set(re.findall(r"--([a-z][a-z-]*)", ask(whimbrel, daemon, "--help")))
        parts.append(f"## `whimbrel {daemon}`\n")
        for key, meaning in documented((ROOT / source).read_text()).items():
            flag = key.replace("_", "-")
            facts = [f"default {written(defaults.get(key))}"] + ([f"flag `--{flag}`"] if flag in flags else [])
            parts.append(f"- **`{key}`** ({', '.join(facts)}): {meaning}")
        parts.append("")
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--whimbrel", required=True, help="the binary to ask")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    text = page(arguments.whimbrel)
    if not arguments.check:
        TARGET.write_text(text)
        print(f"docs: wrote {TARGET.relative_to(ROOT)}")
    elif not TARGET.exists() or TARGET.read_text() != text:
        print("docs: docs/configuration.md is not what the code says: `make golden` writes it anew", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
