"""Where a result came from: versions, commit, configuration, seed, device."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

LIBRARIES = ("numpy", "scipy", "jax", "snakemake")


def commit() -> str:
    """Commit of the checkout this file lies in, with `-dirty` appended for local changes, or `unknown`."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def provenance(config_fingerprint: str, *, seed: int | None = None, device: str = "cpu") -> dict[str, str]:
    """The record that goes beside every result, as text values only.

    Args:
      config_fingerprint: digest of the part of the configuration that the result depends on.
      seed: the seed of the result's random draws; None for an exact result.
      device: what computed it.
    """
    from conjugate_moments import __version__

    return {
        "package": __version__,
        "commit": commit(),
        "config": config_fingerprint,
        "seed": "exact" if seed is None else str(seed),
        "device": device,
        "python": platform.python_version(),
        **{name: _version(name) for name in LIBRARIES},
    }


def merge(records: list[Mapping[str, str]]) -> dict[str, str]:
    """One record for a result built from several: distinct values joined by a comma, in order of first appearance."""
    keys = dict.fromkeys(key for record in records for key in record)
    return {key: ", ".join(dict.fromkeys(r[key] for r in records if key in r)) for key in keys}
