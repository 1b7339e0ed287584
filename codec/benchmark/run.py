"""Run every clip through every codec at every setting, and write the report.

REPORT/
  results.jsonl                        a line for each measurement, which a restart keeps
  results.csv, results.parquet         a row for each clip, codec and setting
  summary.json                         means with intervals, BD-rates, what was left out
  report.json                          what ran, where, with which versions
  original/CLIP.flac, decoded/CODEC@SETTING/CLIP.flac
  plots/KIND_METRIC.svg, .png
  index.html                           everything to look at and to listen to
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import datetime
import hashlib
import json
import multiprocessing
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from codec.benchmark import machine
from codec.benchmark.clips import Source, find_sources, fingerprint, readable
from codec.benchmark.peers import Options, Peer, choose
from codec.benchmark.plots import write_plots
from codec.benchmark.statistics import Summary, summarise
from codec.benchmark.tables import write_csv, write_parquet, write_summary
from codec.benchmark.work import Result, Unit, keep, start_process, work
from codec.errors import DataError, OutputError, PeerError
from codec.quality import METRICS, available, names_for
from codec.quality.metrics import broken
from codec.support.journal import Journal
from codec.support.packages import require

DEFAULT_PEERS = ("codec", "opus")
RESULTS = "results.jsonl"
REPORT_NEEDS = ("matplotlib", "scipy", "jinja2")  # else hours pass before one is missing


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to run.

    peers: names, ours as "codec". settings: by name, instead of a codec's defaults. metrics: names;
    None for all that are installed. reference: the codec that BD-rates compare with.
    """

    inputs: tuple[Path, ...]
    report: Path
    peers: tuple[str, ...] = DEFAULT_PEERS
    settings: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    metrics: tuple[str, ...] | None = None
    kind: str | None = None
    transcripts: Path | None = None
    reference: str | None = None
    options: Options = dataclasses.field(default_factory=Options)
    jobs: int | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run did.

    skipped: codecs that are not available, and why. rejected: clips that are left out, and why.
    reused: number of measurements from an earlier run.
    """

    results: list[Result]
    summary: Summary
    skipped: Mapping[str, str]
    rejected: Mapping[str, str]
    reused: int
    unmeasured: Mapping[str, str]  # measures that cannot run here, and why


def run(
    plan: Plan,
    started: Callable[[int, int], None] = lambda total, done: None,
    done: Callable[[Result], None] = lambda result: None,
    report: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Measure what is not measured yet, and write the report without its page.

    started is called with the number of measurements and of those from earlier runs, done with
    every new one, report with a line for what is not audio in the inputs. A run that was killed
    continues; with other codecs, settings, clips or measures it adds to the results. A clip that
    cannot be read, or that a codec fails on, is left out for all codecs and named. Raises
    DataError, PeerError, OutputError.
    """
    require(REPORT_NEEDS, "bench")
    for name in plan.metrics or ():
        if name != "visqol" and name not in METRICS:
            raise DataError(f"no measure {name!r}; choose from visqol, {', '.join(METRICS)}")
    if not plan.peers or plan.metrics == ():
        raise DataError(f"no {'measure' if plan.peers else 'codec'} is named")
    for name in plan.settings:
        if name not in plan.peers:
            raise PeerError(f"settings of {name or 'no name'}: it is not among the codecs")
    sources = find_sources(plan.inputs, plan.kind, plan.transcripts, report)
    peers, skipped = choose(plan.peers, plan.options)
    if not peers:
        raise PeerError("; ".join(f"{name}: {why}" for name, why in skipped.items()))
    reference = _reference(plan, [peer.name for peer in peers], skipped)
    try:
        plan.report.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{plan.report}: {error.strerror}") from None

    rejected: dict[str, str] = {}
    names = plan.metrics if plan.metrics is not None else (*available(), "visqol")
    unmeasured = broken(names)
    units = list(_units(plan, sources, peers, rejected, unmeasured))
    for peer in peers:
        if units and peer.name not in {unit.codec for unit in units}:
            kinds = ", ".join(sorted(peer.kinds or ()))
            skipped[peer.name] = f"it is for {kinds}, which no clip is"
    if not units:
        reasons = "; ".join(f"{name}: {why}" for name, why in rejected.items())
        raise DataError(f"nothing to compare: {reasons or 'no codec takes these kinds of audio'}")
    with Journal(plan.report / RESULTS) as journal:
        found = _found(journal)
        known = {u.key: found[u.key] for u in units if u.key in found and u.decoded.exists()}
        reused = len(known)
        started(len(units), reused)
        for result in _measure(plan, [unit for unit in units if unit.key not in known]):
            if result.error is None:  # a later run tries failures again
                journal.add(dataclasses.asdict(result))
            known[result.key] = result
            done(result)
    results = [known[unit.key] for unit in units]
    for name in dict.fromkeys(result.codec for result in results):
        errors = [result.error for result in results if result.codec == name]
        if name not in ("codec", reference) and errors[0] is not None and all(errors):
            skipped[name] = errors[0]  # it does not work here: that is no clip's fault
            results = [result for result in results if result.codec != name]
    for result in results:
        if result.error is not None:
            reason = f"{result.codec} at {result.setting}: {result.error}"
            rejected.setdefault(result.clip, reason)
    results = [result for result in results if result.clip not in rejected]
    if not results:
        causes = {**skipped, **rejected}
        raise DataError("; ".join(f"{name}: {why}" for name, why in causes.items()))
    summary = summarise(results, reference)
    outcome = Outcome(results, summary, skipped, rejected, reused, unmeasured)
    _write(plan, outcome, peers, reference)
    return outcome


def _reference(plan: Plan, peers: Sequence[str], skipped: Mapping[str, str]) -> str | None:
    """Return the codec that BD-rates compare with, out of `peers`. Raises PeerError if another
    one is asked for."""
    name = plan.reference
    if name is None:
        return "opus" if "opus" in peers else None
    if name not in peers:
        raise PeerError(f"the reference {name}: {skipped.get(name, 'it is not among the codecs')}")
    return name


def _units(
    plan: Plan,
    sources: Sequence[Source],
    peers: Sequence[Peer],
    rejected: dict[str, str],
    unmeasured: Mapping[str, str],
) -> Iterator[Unit]:
    """Give all measurements, clip by clip, and write the originals."""
    for source, audio, reason in readable(sources):
        if audio is None:
            rejected[source.name] = reason
            continue
        original = plan.report / "original" / f"{source.name}.flac"
        if not original.exists():
            keep(audio, original)
        content = fingerprint(audio)
        names = names_for(source.kind, source.text)
        if plan.metrics is not None:
            names = [name for name in plan.metrics if _suits(name, source)]
        names = [name for name in names if name not in unmeasured]
        for peer in peers:
            if peer.kinds is not None and source.kind not in peer.kinds:
                continue
            for setting in dict.fromkeys(plan.settings.get(peer.name, peer.settings)):
                said = [content, source.kind, source.text or "", peer.title, setting, *names]
                key = hashlib.sha256("\0".join(said).encode()).hexdigest()[:32]
                folder = plan.report / "decoded" / f"{peer.name}@{setting}"
                decoded = folder / f"{source.name}.flac"
                yield Unit(key, source, peer.name, setting, tuple(names), decoded)


def _suits(name: str, source: Source) -> bool:
    metric = METRICS["visqol_audio" if name == "visqol" else name]
    if metric.needs_text and not source.text:
        return False
    return name == "visqol" or source.kind == "speech" or "any" in metric.kinds


def _measure(plan: Plan, units: Sequence[Unit]) -> Iterator[Result]:
    """Give results as they come, from processes of one thread each."""
    if not units:
        return
    jobs = min(plan.jobs or os.cpu_count() or 1, len(units))
    # Spawn, not fork: libraries such as torch have threads that a fork loses.
    context = multiprocessing.get_context("spawn")
    reading, writing = context.Pipe(duplex=False)
    with reading, writing:
        pool = concurrent.futures.ProcessPoolExecutor(jobs, context, start_process, (reading,))
        try:
            futures = [pool.submit(work, unit, plan.options) for unit in units]
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise PeerError(
                "a measuring process was killed, perhaps because memory ran out; "
                "the same command continues (--jobs sets how many run at a time)"
            ) from None
        except BaseException:
            writing.close()  # nobody waits for what the processes are at
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _found(journal: Journal) -> dict[str, Result]:
    """Return the results of earlier runs by their keys, without those of another version."""
    found = {}
    for count, record in enumerate(journal.records):
        try:
            result = Result(**record)
        except TypeError:
            journal.keep(count)
            break
        found[result.key] = result
    return found


def _write(plan: Plan, outcome: Outcome, peers: Sequence[Peer], reference: str | None) -> None:
    report, results = plan.report, outcome.results
    write_csv(results, report / "results.csv")
    write_parquet(results, report / "results.parquet")
    write_summary(outcome.summary, report / "summary.json")
    write_plots(outcome.summary, report / "plots")
    metrics = list(dict.fromkeys(name for result in results for name in result.values))
    said: dict[str, Any] = {
        "title": "Bitrate and quality",
        "created": datetime.date.today().isoformat(),
        "command": _command(),
        "machine": machine.machine(),
        "versions": machine.versions(),
        "model_id": next((peer.title for peer in peers if peer.name == "codec"), None),
        "reference": reference,
        "metrics": [_metric(name) for name in metrics],
        "kinds": list(dict.fromkeys(result.kind for result in results)),
        "codecs": [
            {
                "name": peer.name,
                "title": peer.title,
                "settings": list(plan.settings.get(peer.name, peer.settings)),
            }
            for peer in peers
        ],
        "skipped_peers": dict(outcome.skipped),
        "rejected": dict(outcome.rejected),
    }
    path = report / "report.json"
    path.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _metric(name: str) -> dict[str, Any]:
    metric = METRICS["visqol_audio" if name == "visqol" else name]
    title = "ViSQOL" if name == "visqol" else metric.title
    shown = {"title": title, "unit": metric.unit, "better": metric.better, "best": metric.best}
    return {"name": name, **shown}


def _command() -> str:
    """Return how this process was started: by `codec`, or by a script."""
    program = Path(sys.argv[0])
    script = ["python", program.as_posix()] if program.suffix == ".py" else ["codec"]
    if program.name == "__main__.py":  # python -m codec
        script = ["codec"]
    return shlex.join([*script, *sys.argv[1:]])
