"""How OTT is imported."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing_ott() -> Iterator[None]:
    """A block in which OTT may be imported: OTT 0.6 imports jaxopt, which announces its own end on import."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="JAXopt is no longer maintained", category=DeprecationWarning)
        yield
