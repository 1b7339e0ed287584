"""The command that lists the models, and how a model is described in a line."""

from __future__ import annotations

import json
from typing import Any

import click

from codec.model.catalogue import Release, releases
from codec.model.config import ModelConfig


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one model a line.")
def models(as_json: bool) -> None:
    """List the models that this package has, the oldest first.

    Every one of them decodes the files of all others: a file names the model that made it.
    """
    for release in releases():
        click.echo(json.dumps(_facts(release)) if as_json else _text(release))


def described(release: Release) -> str:
    """Return a model's name and latency."""
    default = ", the default" if release.default else ""
    return f"{release.name}{default}, {latency_ms(release.config):g} ms latency"


def latency_ms(config: ModelConfig) -> float:
    """Return the algorithmic latency in milliseconds."""
    return config.latency / config.sample_rate * 1000


def _text(release: Release) -> str:
    config = release.config
    channels, each = "each channel by itself", "a channel"
    if config.channels == 2:
        channels, each = "two channels together, as mid and side", "for two channels"
    least, most = config.bitrate_per_codebook, config.bitrate_per_codebook * config.n_codebooks
    return "\n".join(
        (
            f"{release.name}{' (the default)' if release.default else ''}",
            f"  id       {release.model_id.hex()}",
            f"  audio    {config.sample_rate} Hz, {channels}",
            f"  codes    {config.frame_rate:g} frames a second,"
            f" {config.n_codebooks} codebooks of {config.codebook_size} entries",
            f"  bitrate  {least / 1000:g} to {most / 1000:g} kbit/s {each},"
            f" in steps of {least / 1000:g}",
            f"  latency  {latency_ms(config):g} ms",
            f"  size     {release.n_bytes / 1e6:.1f} MB",
            f"  licence  {release.licence}",
            f"  since    {release.since}",
        )
    )


def _facts(release: Release) -> dict[str, Any]:
    config = release.config
    return {
        "name": release.name,
        "default": release.default,
        "id": release.model_id.hex(),
        "sample_rate": config.sample_rate,
        "channels_together": config.channels,
        "frame_rate": config.frame_rate,
        "codebooks": config.n_codebooks,
        "codebook_size": config.codebook_size,
        "bitrate_per_codebook": config.bitrate_per_codebook,
        "latency_ms": latency_ms(config),
        "bytes": release.n_bytes,
        "licence": release.licence,
        "since": release.since,
    }
