"""What `jobs.py` found, as tables and as lines that say which target is met."""

from outputs import TOLERANCE
from words import machine, rate, table

RATIO_TARGETS = {"linear": 0.9, "mlp": 0.95, "lightgbm": 6.0}
# Of what else jobs are measured beside, at this many rows.
BESIDE_TARGETS = {"polars": 1.0}
BESIDE_ROWS = 10_000_000
SPLIT_MS = 5.0
# Peaks of one process vary by about this much between equal runs.
GROWTH = 1.25


def report(found: dict, rows: int, repeats: int) -> str:
    lines = [
        f"{machine()}; {rows:,} rows, the best of {repeats}; one executor and two wrote the same rows to the last bit; predictions differ"
        f" from the floor's by at most {max(found['agreement'], default=0):.1e} (limit {TOLERANCE:.0e}).",
        "",
        *ratios(found["models"], rows),
        "",
        *besides(found["models"], rows),
        *memory(found["models"], rows),
    ]
    if "splits" in found:
        lines += ["", *splits(found["splits"])]
    if "poison" in found:
        lines += ["", *poison(found["poison"])]
    met = [*ratio_targets(found["models"]), *beside_targets(found["models"], rows), *memory_targets(found["models"]), *split_target(found)]
    return "\n".join([*lines, "", *(f"- {'met' if good else 'MISSED'}: {text}" for good, text in met)])


def ratios(models: list[dict], rows: int) -> list[str]:
    heads = ["model", "floor rows/s", "batch", "pool", "job rows/s", "ratio", "target", "with its watch", "ratio", "MB, floor", "MB, job"]
    body = []
    for case in models:
        floor = min(case["floor_seconds"])
        for pool, seconds in case["seconds"].items():
            best, wall = min(seconds), min(case["wall_seconds"][pool])
            sizes = [f"{case[name] / 1e6:.0f}" for name in ("floor_bytes", "job_bytes")]
            job = [pool, rate(rows, best), f"{floor / best:.2f}", target(case["model"])]
            body.append([case["model"], rate(rows, floor), f"{case['batch_rows']:,}", *job, rate(rows, wall), f"{floor / wall:.2f}", *sizes])
    return table(heads, body)


def besides(models: list[dict], rows: int) -> list[str]:
    body = []
    for case, name, beside in all_besides(models):
        best = min(beside["seconds"])
        for pool, seconds in case["seconds"].items():
            ratio = f"{best / min(seconds):.2f}"
            body.append([case["model"], name, rate(rows, best), f"{beside['batch_rows']:,}", pool, rate(rows, min(seconds)), ratio])
    return [*table(["model", "beside", "rows/s", "batch", "pool", "job rows/s", "ratio"], body, words=2), ""] if body else []


def all_besides(models: list[dict]):
    for case in models:
        for name, beside in case["beside"].items():
            yield case, name, beside


def target(model: str) -> str:
    return f"{RATIO_TARGETS[model]:.2f}" if model in RATIO_TARGETS else ""


def memory(models: list[dict], rows: int) -> list[str]:
    heads = ["memory, MiB", "model", *(f"{what}, {count:,} rows" for what in ("peak", "steady") for count in (rows // 10, rows))]
    body = []
    for model, pool, executor, tenth, whole in executors(models):
        figures = [f"{seen[what]:.0f}" for what in ("peak_mib", "steady_mib") for seen in (tenth, whole)]
        body.append([f"{pool}: {executor}", model, *figures])
    return table(heads, body, words=2)


def executors(models: list[dict]):
    for case in models:
        for pool, seen in case["memory"].items():
            for executor, whole in seen["all"].items():
                yield case["model"], pool, executor, seen["tenth"][executor], whole


def splits(seen: dict) -> list[str]:
    names = {"many": "tiny files, a split each", "packed": "tiny files, packed", "few": "the same rows in a few files"}
    heads = [f"{seen['rows']:,} rows in {seen['files']:,} files", "splits", "job", "commit", "with its watch"]
    body = []
    for kind, name in names.items():
        figures = [f"{seen[what][kind]:.2f} s" for what in ("seconds", "wall_seconds")]
        body.append([name, f"{seen['splits'][kind]:,}", figures[0], f"{seen['commit_ms'][kind]:,} ms", figures[1]])
    return table(heads, body)


def poison(seen: dict) -> list[str]:
    names = {"fail": "none, `--on-error fail`", "clean": "none, `deadletter`", "poison": "one, `deadletter`"}
    heads = [f"rows of {seen['rows']:,} that cannot be scored", "job", "extra"]
    without = seen["seconds"]["clean"]
    extra = {kind: f"{(seconds - without) * 1000:+.0f} ms" for kind, seconds in seen["seconds"].items()}
    return table(heads, [[name, f"{seen['seconds'][kind]:.2f} s", extra[kind]] for kind, name in names.items()])


def ratio_targets(models: list[dict]):
    for case in models:
        goal = RATIO_TARGETS.get(case["model"])
        for pool, seconds in case["seconds"].items():
            ratio = min(case["floor_seconds"]) / min(seconds)
            if goal is not None:
                yield ratio >= goal, f"{case['model']}, {pool}: {ratio:.2f} of the floor that writes Parquet too (at least {goal})"


def beside_targets(models: list[dict], rows: int):
    for case, name, beside in all_besides(models):
        for pool, seconds in case["seconds"].items():
            ratio, goal = min(beside["seconds"]) / min(seconds), BESIDE_TARGETS[name]
            if rows >= BESIDE_ROWS:
                yield ratio >= goal, f"{case['model']}, {pool}: {ratio:.2f} of {name} with ONNX Runtime (at least {goal})"


def memory_targets(models: list[dict]):
    for model, pool, executor, tenth, whole in executors(models):
        ratio = whole["steady_mib"] / tenth["steady_mib"]
        text = f"{model}, {pool}, {executor}: {ratio:.2f} times the memory for ten times the rows (at most {GROWTH})"
        yield ratio <= GROWTH, text


def split_target(found: dict):
    seen = found.get("splits")
    if not seen:
        return
    for kind, beside in (("packed", "the same files packed"), ("few", "the same rows in a few files")):
        extra = seen["splits"]["many"] - seen["splits"][kind]
        ms = (seen["seconds"]["many"] - seen["seconds"][kind]) * 1000 / extra
        yield ms < SPLIT_MS, f"{ms:.2f} ms for each of {seen['splits']['many']:,} splits, beside {beside} (under {SPLIT_MS:.0f})"
