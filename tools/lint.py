#!/usr/bin/env python3
"""What no compiler checks: sizes, dependency arrows, the engine's version group, secrets, machine paths, links.

Plain Python without packages. Prints one line per finding, `path:line: what is wrong`, and fails if there is one.
`tools/lint_allow.txt` lists what is let through; an entry holds the exact figure, so that it can only shrink.
"""

import json
import math
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import rust_scan

FILE_LINES = 600
FUNCTION_LINES = 100

# Who may see whom. `tests` sees everything.
ARROWS = {
    "whimbrel-proto": set(),
    "whimbrel-access": {"whimbrel-proto"},
    "whimbrel-graph": set(),
    "whimbrel-predict": {"whimbrel-graph", "whimbrel-proto"},
    "whimbrel-stores": {"whimbrel-proto"},
    "whimbrel-scheduler": {"whimbrel-proto", "whimbrel-access", "whimbrel-graph", "whimbrel-predict", "whimbrel-stores"},
    "whimbrel-executor": {"whimbrel-proto", "whimbrel-access", "whimbrel-graph", "whimbrel-predict", "whimbrel-stores"},
    "whimbrel": {"whimbrel-proto", "whimbrel-access", "whimbrel-scheduler", "whimbrel-executor"},
}
FREE_CRATES = {"whimbrel-tests"}
# Only behind the client's feature `embedded`.
EMBEDDED = {"whimbrel-scheduler", "whimbrel-executor"}
# Foreign crates that one crate of ours owns.
OWNERS = {"ort": "whimbrel-executor", "redb": "whimbrel-scheduler", "clap": "whimbrel"}

# Crates that must agree; each line moves together and stands in Cargo.lock once.
ENGINE_GROUPS = [
    ["ballista-core", "ballista-executor", "ballista-scheduler"],
    ["datafusion", "datafusion-proto"],
    ["arrow", "arrow-flight", "parquet"],
    ["object_store"],
    ["ort"],
]
ONCE = ["prost", "tonic", "arrow-array", "datafusion-common"]
# Named by generated code only.
GENERATED = {"prost", "prost-types", "tonic-prost"}

SECRETS = [
    ("an AWS access key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a private key", re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----")),
    ("a SAS token", re.compile(r"[?&;]sig=[A-Za-z0-9%+/]{20,}")),
    ("a storage account key", re.compile(r"AccountKey=[A-Za-z0-9+/=]{40,}", re.IGNORECASE)),
    ("a GitHub token", re.compile(r"\bgh[pousr]_[A-Za-z0-9]{30,}")),
    ("a JSON web token", re.compile(r"\beyJ[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")),
]
SECRET_NAME = r"[\w.-]*(?:secret|token|passw(?:or)?d|api_?key|access_?key|account_?key|credential)[\w.-]*"
SECRET_SETTING = re.compile(rf"""(?i)\b{SECRET_NAME}["']?\s*[:=]\s*["']?(?P<value>[A-Za-z0-9+/=_~.-]{{20,}})""")
CONFIG_ENDINGS = {".toml", ".yaml", ".yml", ".json", ".env", ".ini", ".cfg", ".conf", ".properties", ".sh"}
# Put together from halves, so that these lines are not findings themselves.
MACHINE_PATH = re.compile(
    r"(?<![\w})\]$~.*-])/(?:" + "|".join(["wo" + r"rk/(?:main|wt|shared|\.\w+)", "ro" + "ot", "ho" + "me/[a-z]", "Us" + "ers/[A-Za-z]", "tmp/ba" + "sh_jobs"]) + r")[\w-]*/?"
)
REGISTRY_HOST = re.compile(
    r"(?i)\b(?:" + "|".join(["crates" + r"\.io", "py" + r"pi\.org", "python" + "hosted", "npm" + r"js\.(?:org|com)", "deb" + r"ian\.org", "proxy" + r"\.golang"]) + ")"
)
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\((?P<target>[^)\s]+)\)|!\[[^\]\n]*\]\((?P<image>[^)\s]+)\)")


class Lint:
    """The findings of one run over one tree."""

    def __init__(self, root: Path):
        self.root = root
        self.findings: list[str] = []
        self.allowed = self.read_allowed()
        self.used: set[tuple[str, ...]] = set()
        self.files = self.list_files()

    def say(self, path: str, line: int, text: str) -> None:
        self.findings.append(f"{path}:{line}: {text}")

    def read_allowed(self) -> dict[tuple[str, ...], int]:
        """`file PATH LINES` or `function PATH NAME LINES`."""
        allowed = {}
        path = self.root / "tools/lint_allow.txt"
        for line in path.read_text().splitlines() if path.exists() else []:
            words = line.split("#")[0].split()
            if words:
                allowed[tuple(words[:-1])] = int(words[-1])
        return allowed

    def list_files(self) -> list[str]:
        """Committed files and those that would be."""
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        names = subprocess.run(command, cwd=self.root, check=True, capture_output=True, text=True).stdout
        return sorted(name for name in set(names.split("\0")) if name and (self.root / name).is_file())

    def text(self, name: str) -> str | None:
        try:
            return (self.root / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return None

    def run(self) -> list[str]:
        for name in self.files:
            text = self.text(name)
            if text is None:
                continue
            if name.endswith(".rs"):
                self.rust(name, text)
            if name != "Cargo.lock":
                self.secrets(name, text)
            if name.endswith(".md"):
                self.links(name, text)
            if name.endswith(".py"):
                self.python(name, text)
            if re.match(r"#!.*\bbash\b", text):
                self.shell(name)
        self.unused_allowances()
        self.readme()
        self.versions()
        return self.findings

    def measure(self, key: tuple[str, ...], line: int, lines: int, limit: int) -> None:
        """A size against its limit, or against the exact figure that the allow-list has."""
        if lines > limit:
            self.used.add(key)
        allowance = self.allowed.get(key)
        what = f"function {key[2]}" if key[0] == "function" else "the file"
        if lines <= limit or lines == allowance:
            return
        if allowance is None:
            self.say(key[1], line, f"{what} has {lines} lines, the limit is {limit}: split it")
        elif lines > allowance:
            self.say(key[1], line, f"{what} grew from {allowance} to {lines} lines, the limit is {limit}: split it")
        else:
            self.say(key[1], line, f"{what} shrank to {lines} lines: lower its entry in tools/lint_allow.txt")

    def unused_allowances(self) -> None:
        for key in sorted(set(self.allowed) - self.used):
            self.say("tools/lint_allow.txt", 1, f"'{' '.join(key)}' is within its limit or gone: remove the entry")

    def rust(self, name: str, text: str) -> None:
        if not text.startswith("//!"):
            self.say(name, 1, "the file does not open with `//!` and why it exists")
        self.measure(("file", name), 1, text.count("\n"), FILE_LINES)
        for function, first, lines in rust_scan.functions(text):
            self.measure(("function", name, function), first, lines, FUNCTION_LINES)
        for number, line in enumerate(text.splitlines(), 1):
            if re.search(r"//.*\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b", line):
                self.say(name, number, "a note to do something: do it, or file an issue")

    def secrets(self, name: str, text: str) -> None:
        config = Path(name).suffix in CONFIG_ENDINGS or Path(name).name.startswith(".env")
        for number, line in enumerate(text.splitlines(), 1):
            for what, pattern in SECRETS:
                if pattern.search(line):
                    self.say(name, number, f"this looks like {what}")
            match = SECRET_SETTING.search(line) if config else None
            if match and looks_random(match["value"]):
                self.say(name, number, "this looks like a secret in a configuration file")
            if match := MACHINE_PATH.search(line):
                self.say(name, number, f"'{match.group()}' is a path of one machine")
            if match := REGISTRY_HOST.search(line):
                self.say(name, number, f"'{match.group()}' names a package registry's host")

    def links(self, name: str, text: str) -> None:
        folder = (self.root / name).parent
        for number, line in prose_lines(text):
            for match in LINK.finditer(line):
                target = match["target"] or match["image"]
                if re.match(r"[a-z][a-z0-9+.-]*:", target):
                    continue
                path, _, anchor = target.partition("#")
                file = folder / path if path else self.root / name
                if not file.exists():
                    self.say(name, number, f"the link to '{target}' leads nowhere")
                elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text()):
                    self.say(name, number, f"'{path or name}' has no heading '#{anchor}'")

    def python(self, name: str, text: str) -> None:
        try:
            compile(text, name, "exec")
        except SyntaxError as error:
            self.say(name, error.lineno or 1, f"Python cannot read this: {error.msg}")

    def shell(self, name: str) -> None:
        done = subprocess.run(["bash", "-n", name], cwd=self.root, capture_output=True, text=True)
        if done.returncode != 0:
            self.say(name, 1, f"bash cannot read this: {' '.join(done.stderr.split())}")

    def readme(self) -> None:
        text = self.text("README.md") if "README.md" in self.files else ""
        for command in ("make demo", "make test"):
            if command not in (text or ""):
                self.say("README.md", 1, f"`{command}` is not mentioned")

    def versions(self) -> None:
        manifest = tomllib.loads((self.root / "Cargo.toml").read_text())
        locked = tomllib.loads((self.root / "Cargo.lock").read_text())["package"]
        versions: dict[str, list[str]] = {}
        for package in locked:
            versions.setdefault(package["name"], []).append(package["version"])
        self.check_versions(manifest["workspace"]["dependencies"], versions)

    def check_versions(self, pinned: dict, locked: dict[str, list[str]]) -> None:
        for group in ENGINE_GROUPS:
            wanted = {name: requirement(pinned[name]) for name in group if name in pinned}
            for name, version in wanted.items():
                if not version.startswith("="):
                    self.say("Cargo.toml", 1, f"{name} = \"{version}\" is not pinned exactly: write \"=...\"")
                elif locked.get(name) != [version[1:]]:
                    found = ", ".join(locked.get(name, ["none"]))
                    self.say("Cargo.lock", 1, f"{name} is {found} here and {version} in Cargo.toml")
            if len({version.split(".")[0] for version in wanted.values()}) > 1:
                self.say("Cargo.toml", 1, f"{', '.join(wanted)} are of one release and must agree: {wanted}")
        for name in ONCE:
            if len(locked.get(name, [])) > 1:
                self.say("Cargo.lock", 1, f"{name} is there in several versions: {', '.join(locked[name])}")

    def arrows(self, metadata: dict) -> None:
        for package in metadata["packages"]:
            manifest = os.path.relpath(package["manifest_path"], self.root)
            name = package["name"]
            if name not in ARROWS and name not in FREE_CRATES:
                self.say(manifest, 1, f"crate {name} has no place in the dependency arrows of tools/lint.py")
                continue
            for dependency in package["dependencies"]:
                self.arrow(manifest, name, dependency)
            self.embedded(manifest, package)
            self.unused(manifest, package)
            if not tomllib.loads(Path(package["manifest_path"]).read_text()).get("lints", {}).get("workspace"):
                self.say(manifest, 1, f"{name} does not take the workspace's lints: add `[lints] workspace = true`")

    def arrow(self, manifest: str, name: str, dependency: dict) -> None:
        target = dependency["name"]
        ours = target in ARROWS or target in FREE_CRATES
        if name in FREE_CRATES:
            return
        if ours and target not in ARROWS[name]:
            self.say(manifest, 1, f"{name} may not depend on {target}")
        if OWNERS.get(target, name) != name:
            self.say(manifest, 1, f"only {OWNERS[target]} may depend on {target}")

    def embedded(self, manifest: str, package: dict) -> None:
        """The client brings scheduler and executor along only behind its feature `embedded`."""
        for dependency in package["dependencies"]:
            target = dependency["name"]
            if package["name"] != "whimbrel" or target not in EMBEDDED:
                continue
            brought_by = {name for name, parts in package["features"].items() if any(target in part for part in parts)}
            if not dependency["optional"] or brought_by != {"embedded"}:
                self.say(manifest, 1, f"{target} must be optional, and only behind the feature `embedded`")

    def unused(self, manifest: str, package: dict) -> None:
        """Dependencies that no source file of the crate names."""
        folder = Path(package["manifest_path"]).parent
        sources = [path for path in folder.rglob("*.rs") if "target" not in path.relative_to(folder).parts]
        text = "\n".join(rust_scan.code_only(path.read_text()) for path in sources)
        generated = GENERATED if (folder / "build.rs").exists() else set()
        for dependency in package["dependencies"]:
            name = dependency["rename"] or dependency["name"]
            if name not in generated and not re.search(rf"\b{name.replace('-', '_')}\b", text):
                self.say(manifest, 1, f"{package['name']} does not use {name}: remove the dependency")


def requirement(entry: str | dict) -> str:
    return entry if isinstance(entry, str) else entry["version"]


def looks_random(text: str) -> bool:
    """Letters and digits mixed, above 3.5 bits a character: words stay below, tokens of 20 and more characters above."""
    bits = -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())
    return bits > 3.5 and bool(re.search(r"\d", text)) and bool(re.search(r"[A-Za-z]", text))


def prose_lines(markdown: str):
    """Lines outside fenced code, with their numbers."""
    fenced = False
    for number, line in enumerate(markdown.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, re.sub(r"`[^`]*`", "", line)


def anchors(markdown: str) -> set[str]:
    """The anchors that headings get."""
    fenced, found = False, set()
    for line in markdown.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and (match := re.match(r"#+\s+(.*)", line)):
            title = re.sub(r"[^\w\- ]", "", match[1].strip().lower())
            found.add(title.replace(" ", "-"))
    return found


def main() -> int:
    root = Path(__file__).resolve().parent.parent
    lint = Lint(root)
    lint.run()
    command = [os.environ.get("CARGO", "cargo"), "metadata", "--format-version", "1", "--no-deps", "--locked"]
    metadata = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout
    lint.arrows(json.loads(metadata))
    for finding in lint.findings:
        print(finding)
    print(f"lint: {len(lint.files)} files, {len(lint.findings)} findings")
    return 1 if lint.findings else 0


if __name__ == "__main__":
    sys.exit(main())
