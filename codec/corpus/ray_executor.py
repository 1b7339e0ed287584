"""Rows made on a Ray cluster, by Ray Data: the plan, the shards and their bytes stay the same.

Workers send rows, which are small, and only this process writes shards. If a worker dies, only the
work on its items is lost, and Ray gives them to another worker, three times in all.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import pickle
from collections.abc import Generator, Iterable
from typing import Any

from codec.api import Codec, load
from codec.corpus.executors import Executor, Result, attempt, layout_of
from codec.corpus.items import Item
from codec.corpus.libraries import libraries
from codec.corpus.rows import Settings
from codec.errors import CodecError, DataError, OutputError

ITEMS_A_TASK = 16


def cluster(model: str, address: str | None = None) -> Executor:
    """Make an executor of a Ray cluster: the one at `address`, of RAY_ADDRESS, or of this machine.

    model: what `codec.load` takes; on every node it must be the same weights, and the audio must
    be where the items say (shared disks, or storage that fsspec reaches). Raises OutputError if
    Ray is not installed, or a node has other weights or decoders than this process.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise OutputError("--executor ray needs: pip install 'codec[ray]'") from None

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
                ray.init(
                    address,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    include_dashboard=False,
                )
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
