"""Write the page of a report: one HTML file with all numbers, plots, and audio to listen to.

The page loads nothing from elsewhere. Clip names may contain anything: they reach the HTML through
Jinja's escapes, and the script as JSON without `<`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codec.audio import read_audio
from codec.benchmark.images import data_uri, mel_levels, spectrogram
from codec.errors import AudioError, DataError
from codec.quality.pair import Audio
from codec.support.atomic import replacing
from codec.support.packages import require

PAGE = "index.html"
ACTIVE_DB = -40.0  # a frame of the original within this of its loudest frame counts as active
FRAME = 480


def write_page(report: Path, *, clips: int = 8) -> Path:
    """Write index.html into the folder `report` of a run and return its path.

    clips: number of clips to listen to, spread over the kinds. Raises DataError if the folder is
    not a report, MissingPackageError without Jinja.
    """
    said, summary = _json(report / "report.json"), _json(report / "summary.json")
    with _open(report / "results.csv") as file:
        results = list(csv.DictReader(file))
    chosen = choose_clips(results, clips)
    heard = [_clip(report, name, results) for name in chosen]
    names = {row["clip"] for row in results}
    html = render(
        "page.html",
        said=said,
        kinds=said["kinds"],
        metrics=said["metrics"],
        tables={kind: _table(kind, summary["rows"], said["metrics"]) for kind in said["kinds"]},
        bd_rate=_rate_tables(summary["bd_rate"]),
        omissions=summary["omissions"],
        titles={metric["name"]: metric["title"] for metric in said["metrics"]},
        plots=_plots(report, said),
        clips=heard,
        n_clips=len(names),
        csv_uri=data_uri((report / "results.csv").read_bytes(), "text/csv"),
        data=as_json({"report": said["created"] + " " + said["title"], "clips": heard}),
    )
    with replacing(report / PAGE, overwrite=True) as aside:
        aside.write_text(html, encoding="utf-8")
    return report / PAGE


def render(template: str, **values: Any) -> str:
    """Render a template with its style and script inline. Raises MissingPackageError."""
    require(["jinja2"], "bench")
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("codec.benchmark"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["source"] = lambda name: environment.loader.get_source(  # type: ignore[union-attr]
        environment, name
    )[0]
    environment.globals["number"] = number
    return environment.get_template(template).render(**values)


def number(value: float) -> str:
    """Format with three digits, or one after the point."""
    return f"{value:.{3 if abs(value) < 1 else 2 if abs(value) < 10 else 1}f}"


def as_json(value: Any) -> str:
    """Return JSON that is safe in a script element: without `<`, `>`, `&`."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def choose_clips(results: Sequence[Mapping[str, str]], count: int) -> list[str]:
    """Choose `count` clip names, one of each kind in turn, in the order of `results`."""
    by_kind: dict[str, dict[str, None]] = {}
    for row in results:
        by_kind.setdefault(row["kind"], {})[row["clip"]] = None
    queues = [list(names) for names in by_kind.values()]
    chosen: list[str] = []
    while len(chosen) < count and any(queues):
        for queue in queues:
            if queue and len(chosen) < count:
                chosen.append(queue.pop(0))
    order = {row["clip"]: number for number, row in enumerate(results)}
    return sorted(chosen, key=order.__getitem__)


def loudness_gain(original: Audio, decoded: Audio) -> float:
    """Return the factor that gives `decoded` the RMS of `original` over the active frames.

    Frames of 20 ms are active if they are within 40 dB of the loudest. At most 12 dB either way.
    """
    size = min(FRAME, len(original))
    whole = len(original) // size * size
    energies = [
        np.square(audio[:whole].astype(np.float64)).reshape(-1, size).sum(axis=1)
        for audio in (original, decoded)
    ]
    active = energies[0] >= energies[0].max() * 10 ** (ACTIVE_DB / 10)
    wanted, found = (float(energy[active].sum()) for energy in energies)
    if wanted == 0 or found == 0:
        return 1.0
    return float(np.clip(np.sqrt(wanted / found), 10 ** (-12 / 20), 10 ** (12 / 20)))


def _clip(report: Path, name: str, results: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    original_path = report / "original" / f"{name}.flac"
    original = _read(original_path)
    top = float(mel_levels(original).max())
    conditions: list[dict[str, Any]] = [
        {
            "name": "original",
            "kbps": None,
            "audio": data_uri(original_path.read_bytes(), "audio/flac"),
            "picture": spectrogram(original, top),
            "gain": 1.0,
            "values": {},
        }
    ]
    peaks = [float(np.abs(original).max(initial=0.0))]
    rows = [row for row in results if row["clip"] == name and row["codec"] != "pcm"]
    for row in rows:
        label = f"{row['codec']}@{row['setting']}"
        path = report / "decoded" / label / f"{name}.flac"
        decoded = _read(path)
        conditions.append(
            {
                "name": label,
                "kbps": round(float(row["kbps"]), 2),
                "audio": data_uri(path.read_bytes(), "audio/flac"),
                "picture": spectrogram(decoded, top),
                "gain": loudness_gain(original, decoded),
                "values": {
                    key: round(float(row[key]), 3)
                    for key in ("pesq_wb", "stoi", "visqol", "mel")
                    if row.get(key)
                },
            }
        )
        peaks.append(float(np.abs(decoded).max(initial=0.0)))
    # One factor for all keeps them equally loud, and none clips.
    loudest = max(peak * item["gain"] for peak, item in zip(peaks, conditions, strict=True))
    for item in conditions:
        item["gain"] /= max(1.0, loudest)
    # The results are sorted by codec; a listener goes from few bits to many.
    conditions[1:] = sorted(conditions[1:], key=lambda item: item["kbps"])
    seconds = round(len(original) / 24_000, 2)
    kind = next(row["kind"] for row in results if row["clip"] == name)
    return {"name": name, "kind": kind, "seconds": seconds, "conditions": conditions}


def _table(
    kind: str, rows: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the rows of one kind by rate, with a column for each measure that was taken."""
    found = [row for row in rows if row["kind"] == kind]
    taken = [m for m in metrics if any(m["name"] in row["metrics"] for row in found)]
    best = {}
    for metric in taken:
        values = [
            row["metrics"][metric["name"]]["mean"]
            for row in found
            if metric["name"] in row["metrics"] and row["codec"] != "pcm"
        ]
        if values:
            best[metric["name"]] = max(values) if metric["better"] == "higher" else min(values)
    return {
        "kind": kind,
        "metrics": taken,
        "best": best,
        "clips": max(row["clips"] for row in found),
        "rows": sorted(found, key=lambda row: row["kbps"]["mean"]),
    }


def _rate_tables(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return, for each kind, the codecs and their percentage (or None) for each measure."""
    tables: dict[str, dict[str, Any]] = {}
    for kind in dict.fromkeys(row["kind"] for row in rows):
        found = [row for row in rows if row["kind"] == kind]
        some = {row["codec"] for row in found if row["percent"] is not None}
        codecs = [name for name in dict.fromkeys(row["codec"] for row in found) if name in some]
        by_metric: dict[str, dict[str, Any]] = {}
        for row in found:
            empty = dict.fromkeys(codecs)
            by_metric.setdefault(row["metric"], empty)[row["codec"]] = row["percent"]
        if codecs:
            tables[kind] = {"codecs": codecs, "rows": by_metric}
    return tables


def _plots(report: Path, said: Mapping[str, Any]) -> list[dict[str, str]]:
    plots = []
    for kind in said["kinds"]:
        for metric in said["metrics"]:
            path = report / "plots" / f"{kind}_{metric['name']}.svg"
            if path.exists():
                uri = data_uri(path.read_bytes(), "image/svg+xml")
                plots.append({"kind": kind, "title": metric["title"], "uri": uri})
    return plots


def _read(path: Path) -> Audio:
    try:
        audio: Audio = read_audio(path)[0][0]
    except (AudioError, OSError) as error:
        raise DataError(f"{path}: {error}") from None
    return audio


def _json(path: Path) -> Any:
    try:
        with _open(path) as file:
            return json.load(file)
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}") from None


def _open(path: Path) -> Any:
    try:
        return path.open(encoding="utf-8", newline="")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
