"""What every test module shares."""

import gc
from collections.abc import Iterator

import pytest


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes and arrays by their argument: contents are unreadable, and workers must collect the same names."""
    return argname if isinstance(val, bytes) or (hasattr(val, "dtype") and hasattr(val, "shape")) else None


@pytest.fixture(scope="module", autouse=True)
def compiled_programs_are_dropped() -> Iterator[None]:
    """Drop what a module compiled.

    Every program that XLA compiles on the CPU holds several memory maps, of which a process has 65,530 on Linux unless
    told otherwise. A worker that went through the whole suite ran out of them, and crashed inside the compiler.
    """
    yield
    import jax

    jax.clear_caches()
    gc.collect()
