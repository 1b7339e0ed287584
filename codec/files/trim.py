"""Makes a .nac file smaller without encoding it again: only its coarsest codebooks are kept."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codec.coders.base import Coder
from codec.errors import BitrateError, OptionError
from codec.files.endpoints import binary_target, check_nac_target, opened
from codec.files.plan import Job
from codec.files.transcode import Report
from codec.model.catalogue import DEFAULT_MODEL
from codec.model.location import weights_for
from codec.nac.coders import Coders
from codec.nac.layout import Header
from codec.nac.reader import Reader
from codec.nac.writer import Writer
from codec.support.arguments import shown, whole
from codec.support.types import Codes
from codec.support.workers import Workers


def trim_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    n_codebooks: int,
    *,
    model: str | os.PathLike[str] = DEFAULT_MODEL,
    overwrite: bool = False,
) -> None:
    """Write the .nac file `source` to `target` with its `n_codebooks` coarsest codebooks only.

    The result is the file that compressing the audio to that many codebooks gives, byte for byte,
    but no audio is decoded or encoded. Of a file whose bitrate varies, chunks that have fewer
    codebooks keep theirs. Memory does not grow with the file.

    model: for a file of a model that the package does not ship, the path of the weights that made
        it, beside which the data of its entropy coder lie.

    Raises BitrateError if the file has fewer codebooks, FormatError if it is damaged, ModelError
    if the coder's data are missing or of another model, OutputError if `target` exists and
    `overwrite` is false, OSError. No output is left on an error.
    """
    for path in (source, target):
        if not isinstance(path, str | os.PathLike):
            raise OptionError(f"trim_file takes the paths of files, not {shown(path)}")
    job = Job(Path(source), Path(target))
    trim(job, n_codebooks, model, Workers(), _silent, overwrite=overwrite)


def trim(
    job: Job,
    n_codebooks: Any,
    model: str | os.PathLike[str],
    workers: Workers,
    report: Report,
    *,
    overwrite: bool,
) -> None:
    """Do the work of `trim_file` on a file or a pipe.

    On an error no output is left, except what a pipe has taken already.
    """
    check_nac_target(job, overwrite)
    count = whole(n_codebooks, "the number of codebooks", BitrateError)

    @functools.cache
    def coder_of(header: Header) -> Coder:
        return Coders(weights_for(model, header.model_id), header.model_id).of(header)

    with opened(job.source or sys.stdin.buffer) as file:
        reader = Reader(file, coder_of)
        header = reader.header
        if not 1 <= count <= header.n_codebooks:
            raise BitrateError(f"no {count} codebooks to keep of {header.n_codebooks}")
        coder = coder_of(header)  # before any output
        coarse = dataclasses.replace(header, n_codebooks=count)
        with binary_target(job, overwrite) as output:
            writer = Writer(output, coarse, coder, reader.tags, variable=header.variable)
            for frames in writer.write_chunks(_first(reader, header, count), workers):
                if job.target is None:
                    output.flush()
                report(float(frames / header.frame_rate), _seconds(header))
            final = writer.finish(reader.finish().length)
            if job.target:
                output.seek(0)
                output.write(final.pack())


def _first(reader: Reader, header: Header, count: int) -> Iterator[Codes]:
    for codes in reader:
        yield codes[:, :count]


def _seconds(header: Header) -> float:
    """Return the seconds of the whole file, 0 while unknown."""
    return (header.n_samples or 0) / header.sample_rate


def _silent(seconds: float, total: float) -> None:
    """Report nothing."""
