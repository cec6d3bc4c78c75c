"""What `flight.py` found, as tables and as lines that say which target is met."""

from statistics import median

from words import machine, rate, table

# Of the rows a second of a bare server.
SERVE_TARGET = 0.7
# How much slower a crowd may be beside those of it that stall.
CROWD_TARGET = 1.1
# Of the time that all rows take, when the first must be there.
FIRST_TARGET = 0.5


def report(found: dict) -> str:
    lines = [
        f"{machine()}; {found['rows']:,} rows, two executors, the best of {found['repeats']}.",
        "",
        *predictions(found["predict"]),
        "",
        *selects(found),
        "",
        *serving(found["serve"]),
        "",
        *crowds(found["crowd"]),
    ]
    return "\n".join([*lines, "", *(f"- {'met' if good else 'MISSED'}: {text}" for good, text in targets(found))])


def best(passes: list[dict], figure: str) -> float:
    return min(pulled[figure] for pulled in passes)


def predictions(cases: list[dict]) -> list[str]:
    heads = ["PREDICT", "asked", "first batch, s", "all rows, s", "rows/s", "parts"]
    body = []
    for case in cases:
        for way in ("plain", "polled"):
            passes = case[way]
            first, seconds = best(passes, "first_seconds"), best(passes, "seconds")
            speed = rate(passes[0]["rows"], seconds)
            body.append([case["model"], way, f"{first:.2f}", f"{seconds:.2f}", speed, str(passes[0]["parts"])])
    return table(heads, body, words=2)


def selects(found: dict) -> list[str]:
    heads = ["SELECT", "first batch, s", "all rows, s", "rows/s"]
    body = []
    for name, passes in found["select"].items():
        seconds = best(passes, "seconds")
        body.append([name, f"{best(passes, 'first_seconds'):.2f}", f"{seconds:.2f}", rate(passes[0]["rows"], seconds)])
    lines = table(heads, body)
    return lines if "sail" in found["select"] else [*lines, "", "Sail is left out: it cannot be installed here."]


def serving(found: dict) -> list[str]:
    heads = ["do_get of a finished result", "seconds", "rows/s", "MB/s"]
    body = []
    for name, passes in found.items():
        seconds = best(passes, "seconds")
        body.append([name, f"{seconds:.3f}", rate(passes[0]["rows"], seconds), f"{passes[0]['bytes'] / seconds / 1e6:.0f}"])
    return table(heads, body)


def crowds(found: dict) -> list[str]:
    living = found["clients"] - found["stalled"]
    heads = [f"{living} clients", "seconds", *(f"MiB, {name}" for name in found["alone_mib"])]
    body = []
    for name, text in (("alone", "alone"), ("beside", f"beside {found['stalled']} stalled ({found['streams']} streams)")):
        body.append([text, f"{median(found[name + '_seconds']):.2f}", *(f"{mib:.0f}" for mib in found[name + "_mib"].values())])
    return table(heads, body)


def targets(found: dict) -> list[tuple[bool, str]]:
    met = []
    for case in found["predict"]:
        share = best(case["polled"], "first_seconds") / best(case["polled"], "seconds")
        met.append((share <= FIRST_TARGET, f"{case['model']}, polled: first batch at {share:.2f} of the time (limit {FIRST_TARGET})"))
    ratio = best(found["serve"]["bare"], "seconds") / best(found["serve"]["executors"], "seconds")
    met.append((ratio >= SERVE_TARGET, f"do_get at {ratio:.2f} of a bare server's rows/s (target {SERVE_TARGET})"))
    slower = median(found["crowd"]["beside_seconds"]) / median(found["crowd"]["alone_seconds"])
    met.append((slower <= CROWD_TARGET, f"clients beside stalled ones take {slower:.2f} of the time alone (limit {CROWD_TARGET})"))
    return met
