"""The targets, as ratios within each round; the median over the rounds is what counts."""

from statistics import median

from benchmarks.systems import SYSTEMS

OURS, FLOOR, CELERY = SYSTEMS[0].name, "floor", "celery threads"


def judge(results: dict) -> list[tuple[str, str, str, str]]:
    """Return (what, wanted, measured, verdict) for each target whose figures are there."""
    latency, throughput = results["latency"], results.get("throughput", {})
    rows = [
        _at_most("submit → POST p50 / floor", latency, "to_post_p50_ms", FLOOR, 2.2, 1.6),
        _at_most("submit → POST p50 / Celery threads", latency, "to_post_p50_ms", CELERY, 0.85, 0.7),
        _at_most("submit → POST p99 / Celery threads", latency, "to_post_p99_ms", CELERY, 0.85, 0.7),
        _at_most("submit call p50 / apply_async", latency, "submit_p50_ms", CELERY, 0.4, 0.25),
        _untargeted("the same with building the intent", latency, "build_and_submit_p50_ms", CELERY),
        _at_most("CPU per transfer in the worker / Celery", latency, "worker_cpu_ms", CELERY, 1.4, 1.0),
    ]
    for peer in ("celery threads", "celery prefork", "dramatiq", "arq", "rq", "saq", "taskiq", "huey"):
        for key, name in (("to_post_p50_ms", "p50"), ("to_post_p99_ms", "p99")):
            rows.append(_at_most(f"submit → POST {name} / {peer}", latency, key, peer, 1.0, None))
    for setting in ("8x50", "32x50"):
        ratio = ratio_of(throughput.get(setting, {}), "per_second", OURS, FLOOR)
        rows.append(_at_least(f"throughput {setting.replace('x', ' at ')} ms / floor", ratio, 0.95))
    if "workers" in results:
        one, two = (median(each["per_second"] for each in results["workers"][n]) for n in ("1", "2"))
        rows.append(_at_least("two workers / one, throughput", two / one, 1.8))
    if "ended" in results:
        ended = results["ended"]
        empty, full = (median(each["to_post_p50_ms"] for each in ended[of]) for of in ("empty", "full"))
        met = "met" if full / empty <= 1.1 else "missed"
        rows.append((f"p50 with {ended['count']:,} ended / empty", "≤ 1.1", f"{full / empty:.2f}", met))
    return [row for row in rows if row]


def _untargeted(
    what: str, of: dict[str, list[dict]], key: str, peer: str
) -> tuple[str, str, str, str] | tuple[()]:
    ratio = ratio_of(of, key, OURS, peer)
    return (what, "-", f"{ratio:.2f}", "") if ratio is not None else ()


def ratio_of(of: dict[str, list[dict]], key: str, name: str, peer: str) -> float | None:
    """Return the median over the rounds of one system's figure in another's; None where either is missing."""
    pairs = list(zip(of.get(name, []), of.get(peer, []), strict=False))
    return median(one[key] / other[key] for one, other in pairs) if pairs else None


def _at_least(what: str, ratio: float | None, target: float) -> tuple[str, str, str, str] | tuple[()]:
    if ratio is None:
        return ()
    return what, f"≥ {target}", f"{ratio:.2f}", "met" if ratio >= target else "missed"


def _at_most(
    what: str, of: dict[str, list[dict]], key: str, peer: str, target: float, stretch: float | None
) -> tuple[str, str, str, str] | tuple[()]:
    ratio = ratio_of(of, key, OURS, peer)
    if ratio is None:
        return ()
    wanted = f"≤ {target}" + (f", stretch ≤ {stretch}" if stretch else "")
    verdict = "stretch met" if stretch and ratio <= stretch else "met" if ratio <= target else "missed"
    return what, wanted, f"{ratio:.2f}", verdict
