"""What `kernels.py` found, as tables and as lines that say which target is met."""

from words import millions, table

FLOOR = "ONNX Runtime"
LIBRARIES = ["LightGBM", "XGBoost", "lleaves"]
LEVELS = {"portable": "portable", "avx2": "AVX2", "avx512": "AVX-512"}
# Times the rows a second of ONNX Runtime, by the kind of a model and the level; None stands for the best level.
TARGETS = [("trees", "portable", 5.0), ("trees", "avx2", 15.0), ("forest", None, 4.0)]
LOAD_TREES = 1_000
LOAD_MS = 200.0
LOAD_OF_FILE = 3.0


def report(found: dict) -> str:
    lines = [
        f"{found['machine']}; one core, the best of {found['windows']} windows each, {found['rows']:,} rows until the first come again;"
        " million rows a second of processor time, and times ONNX Runtime.",
        "",
        *speeds(found["models"]),
        "",
        *loading(found["models"]),
    ]
    if found["left_out"]:
        lines += ["", "Left out: " + "; ".join(found["left_out"]) + "."]
    return "\n".join([*lines, "", *(f"- {'met' if good else 'MISSED'}: {text}" for good, text in targets(found["models"]))])


def speeds(models: list[dict]) -> list[str]:
    levels = [level for level in LEVELS if any(level in case["rows_per_second"] for case in models)]
    libraries = [name for name in LIBRARIES if any(name in case["rows_per_second"] for case in models)]
    body = []
    for case in models:
        speed = case["rows_per_second"]
        others = [millions(speed[name]) if name in speed else "" for name in libraries]
        ours = [f"{millions(speed[level])} ({times(case, level)})" for level in levels]
        body.append([case["title"], millions(speed[FLOOR]), *others, *ours])
    return table(["model", FLOOR, *libraries, *(LEVELS[level] for level in levels)], body)


def ratio(case: dict, level: str) -> float:
    return case["rows_per_second"][level] / case["rows_per_second"][FLOOR]


def times(case: dict, level: str) -> str:
    found = ratio(case, level)
    return f"{found:.0f}x" if found >= 20 else f"{found:.1f}x"


def best_level(case: dict) -> str:
    return max((level for level in LEVELS if level in case["rows_per_second"]), key=lambda level: ratio(case, level))


def loading(models: list[dict]) -> list[str]:
    """Of models with trees: the others are too small to be worth a line."""
    body = []
    for case in models:
        load = case["load"]
        if load["trees"] == 0:
            continue
        compiled = case["lleaves_compile_seconds"]
        figures = [f"{load['bytes'] / 1e6:.2f} MB", f"{load['ms']:.3g} ms", f"{load['peak_of_file']:.2f}", f"{load['kept_of_file']:.2f}"]
        body.append([case["title"], *figures, "" if compiled is None else f"{compiled:.0f} s"])
    return table(["loading", "file", "time", "memory at most, of the file", "kept", "lleaves compiles for"], body) if body else []


def targets(models: list[dict]):
    for kind, level, goal in TARGETS:
        for case in models:
            asked = level or best_level(case)
            if case["kind"] == kind and asked in case["rows_per_second"]:
                found = ratio(case, asked)
                yield found >= goal, f"{case['title']}, {LEVELS[asked]}: {found:.1f} times ONNX Runtime (at least {goal:.0f})"
    for case in models:
        load = case["load"]
        if load["trees"] >= LOAD_TREES:
            yield load["ms"] < LOAD_MS, f"{case['title']}: loaded in {load['ms']:.0f} ms (under {LOAD_MS:.0f})"
            text = f"{case['title']}: {load['peak_of_file']:.2f} times its file in memory (under {LOAD_OF_FILE:.0f})"
            yield load["peak_of_file"] < LOAD_OF_FILE, text
