"""Where a result came from: versions, commit, configuration, seed, device."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Sequence
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


def provenance(config_fingerprint: str, *, seeds: Sequence[int] = (), device: str = "cpu") -> dict[str, str]:
    """The record that goes beside every result, as text values only.

    Args:
      config_fingerprint: digest of the part of the configuration that the result depends on.
      seeds: of the result's random draws; none for an exact result.
      device: what computed it.
    """
    from conjugate_moments import __version__

    return {
        "package": __version__,
        "commit": commit(),
        "config": config_fingerprint,
        "seeds": " ".join(map(str, seeds)) or "none: exact",
        "device": device,
        "python": platform.python_version(),
        **{name: _version(name) for name in LIBRARIES},
    }


def line(record: dict[str, str]) -> str:
    """The record on one line, as JSON: a comment at the head of a text file, an entry of a figure's metadata."""
    return f"provenance: {json.dumps(record)}"
