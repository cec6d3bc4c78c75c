"""What `run.py` found, as tables and as lines that say which target is met."""

from statistics import median

from outputs import TOLERANCE
from words import rate, table

POOLS = ("embedded pool", "two executors")
# The least ratio to the floor's rows/s, by format and model.
RATIO_TARGETS = {
    "parquet": {"linear": 0.5, "lightgbm": 0.95, "mlp": 0.9},
    "csv": {"linear": 1.0, "lightgbm": 1.0, "mlp": 1.0},
}
# Of the rows/s of polars with ONNX Runtime, for the linear model.
POLARS_TARGET = 1.0
POLARS_ROWS = 10_000_000
START_SECONDS = 2.0
START_MIB = 400.0
SCORING_MIB = 1536.0
# Peaks of one process vary by about this much between equal runs.
GROWTH = 1.25


def report(found: dict) -> str:
    lines = [
        f"{found['machine']}; medians of {found['repeats']};"
        f" predictions differ from the floor's by at most {found['apart']:.1e} (limit {TOLERANCE:.0e}).",
    ]
    beside_polars = [case for case in found["passes"] if "polars" in case["seconds"]]
    parts = [
        ratios(["rows", "format", "model"], found["passes"], "floor"),
        ratios(["rows", "beside polars"], beside_polars, "polars"),
        ratios(["rows", "variant"], found["variants"], "floor"),
        starts(found["starts"]),
        peaks(found["memory"]),
    ]
    for part in parts:
        lines += ["", *part] if part else []
    return "\n".join([*lines, "", *(f"- {'met' if met else 'MISSED'}: {text}" for met, text in targets(found))])


def ratios(heads: list[str], cases: list[dict], beside: str) -> list[str]:
    """A line for each case: rows a second of what the pools are beside, of each pool, and their ratio."""
    body = []
    for case in cases:
        floor, *others = (median(case["seconds"][name]) for name in (beside, *POOLS))
        figures = [rate(case["rows"], floor)]
        for seconds in others:
            figures += [rate(case["rows"], seconds), f"{floor / seconds:.2f}"]
        names = [case["format"], case["model"]] if "format" in heads else [case.get("title") or case["model"]]
        body.append([f"{case['rows']:,}", *names, *figures])
    columns = [f"{beside} rows/s"]
    for name in POOLS:
        columns += [name, "ratio"]
    return table([*heads, *columns], body, words=len(heads)) if body else []


def starts(found: list[dict]) -> list[str]:
    body = []
    for start in found:
        figures = [f"{start['select_1_seconds']:.2f} s", f"{start['seconds']:.2f} s", f"{start['peak_mib']:.0f} MiB"]
        body.append([f"{start['rows']:,} rows, parquet, {start['model']}", *figures])
    return table(["a pool from nothing", "first `SELECT 1`", "to the last row", "peak memory"], body) if body else []


def peaks(memory: list[dict]) -> list[str]:
    sizes = list(dict.fromkeys(entry["rows"] for entry in memory))
    body = [[f"{pool}: {process}", *(f"{peak:.0f} MiB" for peak in seen)] for (pool, process), seen in by_process(memory).items()]
    return table(["peak memory", *(f"{rows:,} rows" for rows in sizes)], body) if body else []


def by_process(memory: list[dict]) -> dict[tuple[str, str], list[float]]:
    grouped: dict[tuple[str, str], list[float]] = {}
    for entry in memory:
        grouped.setdefault((entry["pool"], entry["process"]), []).append(entry["peak_mib"])
    return grouped


def targets(found: dict) -> list[tuple[bool, str]]:
    passes = found["passes"]
    return [*ratio_targets(passes), *polars_targets(passes), *start_targets(found["starts"]), *memory_targets(found["memory"])]


def ratio_targets(passes: list[dict]):
    for case in passes:
        goal = RATIO_TARGETS[case["format"]][case["model"]]
        for pool in POOLS:
            ratio = median(case["seconds"]["floor"]) / median(case["seconds"][pool])
            text = f"{pool}, {case['rows']:,} rows, {case['format']}, {case['model']}: {ratio:.2f} of the floor (at least {goal})"
            yield ratio >= goal, text


def polars_targets(passes: list[dict]):
    for case in passes:
        if "polars" not in case["seconds"] or case["rows"] < POLARS_ROWS:
            continue
        for pool in POOLS:
            ratio = median(case["seconds"]["polars"]) / median(case["seconds"][pool])
            text = f"{pool}, {case['rows']:,} rows, {case['model']}: {ratio:.2f} of polars with ONNX Runtime (at least {POLARS_TARGET})"
            yield ratio >= POLARS_TARGET, text


def start_targets(found: list[dict]):
    for start in found:
        if start["model"] != "linear":
            continue
        if start["rows"] == 1_000_000:
            text = f"from nothing to the first million rows: {start['seconds']:.2f} s (under {START_SECONDS:.0f} s)"
            yield start["seconds"] < START_SECONDS, text
            yield start["peak_mib"] < START_MIB, f"its peak memory: {start['peak_mib']:.0f} MiB (under {START_MIB:.0f})"
        text = f"first SELECT 1 from nothing: {start['select_1_seconds']:.2f} s (under 1 s)"
        yield start["select_1_seconds"] < 1.0, text


def memory_targets(memory: list[dict]):
    for (pool, process), seen in by_process(memory).items():
        yield max(seen) < SCORING_MIB, f"{pool}, {process}: peak {max(seen):.0f} MiB (under {SCORING_MIB:.0f})"
        if len(seen) > 1:
            text = f"{pool}, {process}: {seen[0]:.0f} MiB at the smallest size, {seen[-1]:.0f} at the largest (at most {GROWTH} times)"
            yield seen[-1] <= GROWTH * seen[0], text
