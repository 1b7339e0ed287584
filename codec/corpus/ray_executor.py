"""Rows made on a Ray cluster, by Ray Data: the plan, the shards and their bytes stay the same.

Workers send rows, which are small, and only this process writes shards. If a worker dies, only the
work on its items is lost, and Ray gives them to another worker, three times in all.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import pickle
import re
import socket
from collections.abc import Callable, Generator, Iterable
from typing import Any

from codec.api import Codec, load
from codec.corpus.executors import Executor, Result, attempt, layout_of
from codec.corpus.items import Item
from codec.corpus.libraries import libraries
from codec.corpus.rows import Settings
from codec.errors import CodecError, DataError, OutputError

ITEMS_A_TASK = 16
ANSWERS = 10.0  # seconds within which the cluster's port must answer
# Each attempt of Ray to connect takes 41 s. It makes 20, where something else answers at the port.
ATTEMPTS = 2


def cluster(
    model: str, address: str | None = None, report: Callable[[str], None] = lambda line: None
) -> Executor:
    """Make an executor of a Ray cluster: the one at `address`, of RAY_ADDRESS, or of this machine.

    model: what `codec.load` takes; on every node it must be the same weights, and the audio must
    be where the items say (shared disks, or storage that fsspec reaches). report: called with a
    line before it waits for another machine. Raises OutputError if Ray is not installed, nothing
    answers at the address, or a node has other weights or decoders than this process.
    """
    address = address or os.environ.get("RAY_ADDRESS") or None
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", str(ATTEMPTS))  # read when it is imported
    try:
        import ray
        import ray.data
    except ImportError:
        raise OutputError("--executor ray needs: pip install 'codec[ray]'") from None
    if address:
        report(f"Ray: connecting to {address}")
        _check_answers(address)

    def execute(
        codec: Codec, settings: Settings, items: Iterable[Item]
    ) -> Generator[Result, None, None]:
        plan = [{"item": pickle.dumps(item)} for item in items]
        if not plan:
            return
        with contextlib.ExitStack() as ending:
            if not ray.is_initialized():
                # Threads of Ray that outlive the interpreter may crash it after Ctrl-C.
                ending.callback(ray.shutdown)
                try:
                    ray.init(
                        address,
                        log_to_driver=False,
                        logging_level=logging.ERROR,
                        include_dashboard=False,
                    )
                except (OSError, RuntimeError, ValueError) as error:
                    reason = " ".join(str(error).split()) or type(error).__name__
                    raise OutputError(f"Ray: {reason}") from error
            yield from results(codec, settings, plan)

    def results(
        codec: Codec, settings: Settings, plan: list[dict[str, bytes]]
    ) -> Generator[Result, None, None]:
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        work = functools.partial(
            _work, model=model, settings=settings, agreed=(codec.model_id, libraries())
        )
        tasks = -(-len(plan) // ITEMS_A_TASK)
        rows = ray.data.from_items(plan, override_num_blocks=tasks).map(work, num_cpus=1)
        try:
            for row in rows.iter_rows():
                result = pickle.loads(row["result"])
                if isinstance(result, CodecError):
                    raise result
                yield result
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise DataError(f"Ray: {type(error).__name__}: {reason}") from error

    return execute


def _check_answers(address: str) -> None:
    """Raise OutputError if `address` is a host and a port where nothing answers."""
    parts = re.fullmatch(r"(?:ray://)?\[?(?P<host>[^/]+?)\]?:(?P<port>[0-9]{1,5})", address)
    if not parts:  # a word such as "auto", or a service, which Ray itself finds
        return
    try:
        socket.create_connection((parts["host"], int(parts["port"])), timeout=ANSWERS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"Ray: no cluster at {address}: {reason.lower()}") from None


def _work(
    row: dict[str, Any], model: str, settings: Settings, agreed: tuple[bytes, dict[str, str]]
) -> dict[str, Any]:
    """Work on one item on a worker; return its result, or the error that ends the run."""
    result: Result | CodecError
    try:
        codec = _loaded(model)
        if (codec.model_id, libraries()) != agreed:
            raise OutputError("a worker has other weights or decoders than this process")
        result = attempt(codec, pickle.loads(row["item"]), settings, layout_of(codec, settings))
    except CodecError as error:
        result = error
    return {"result": pickle.dumps(result)}


@functools.lru_cache(maxsize=1)
def _loaded(model: str) -> Codec:
    return load(model)
