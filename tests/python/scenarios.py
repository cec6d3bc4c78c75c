"""What the scripts beside this file share: a scenario is a function that checks one thing of a pool and says what it measured.

`SCRIPT URI SCENARIO [--token-env NAME] [--ca FILE] [--set key=value]...` runs one of them. It ends with 0 and prints the figures as
one line of JSON, or with 1 and prints one line that says what was otherwise than it should be. The token comes from the
environment, so that it is in no command line.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


class Wrong(Exception):
    """The pool did otherwise than it should."""


@dataclass
class Pool:
    """Where the pool is, and how it is entered."""

    uri: str
    token: str | None = None
    ca: Path | None = None
    settings: dict[str, str] = field(default_factory=dict)

    def number(self, key: str) -> int:
        return int(self.text(key))

    def text(self, key: str) -> str:
        if key not in self.settings:
            raise Wrong(f"the scenario needs --set {key}=...")
        return self.settings[key]


Scenario = Callable[[Pool], dict | None]


def expect(holds: bool, what: object) -> None:
    if not holds:
        raise Wrong(str(what))


def same(found: object, wanted: object, what: str) -> None:
    expect(found == wanted, f"{what}: {found!r}, not {wanted!r}")


def refusal(kind: type[BaseException], act: Callable[[], object], *words: str, only: tuple = ()) -> str:
    """The text of the error that `act` must end in; each of `words` must be in it. `only` are the classes it may be of."""
    try:
        act()
    except kind as error:
        text = str(error)
        expect(not only or isinstance(error, only), f"a {type(error).__name__}: {text}")
        for word in words:
            expect(word.lower() in text.lower(), f"the error does not say '{word}': {text}")
        return text
    raise Wrong(f"no error, and one that says {words} is due")


def until(what: str, probe: Callable[[], object], seconds: float = 60.0) -> object:
    """Asks until the answer is not None; a state that does not come is wrong."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = probe()
        if answer is not None:
            return answer
        time.sleep(0.02)
    raise Wrong(f"{what}: not within {seconds:.0f} s")


def main(scenarios: dict[str, Scenario]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("uri")
    parser.add_argument("scenario", choices=sorted(scenarios))
    parser.add_argument("--token-env", help="the variable that holds the token")
    parser.add_argument("--ca", type=Path, help="the certificate that the pool's must be signed by")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    token = os.environ[given.token_env] if given.token_env else None
    pool = Pool(given.uri, token, given.ca, dict(pair.split("=", 1) for pair in given.set))
    try:
        figures = scenarios[given.scenario](pool)
    except Wrong as wrong:
        print(f"{given.scenario}: {wrong}".replace("\n", " "), file=sys.stderr)
        return 1
    except Exception as error:
        print(f"{given.scenario}: {type(error).__name__}: {error}".replace("\n", " "), file=sys.stderr)
        return 1
    print(json.dumps({"scenario": given.scenario, **(figures or {})}))
    return 0
