"""What every test module shares."""

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest

# The tests' programs are small: most of their time went into compiling them, and most of that into making them fast.
# JAX and XLA read these as they start, in the workers and in the programs that tests start too. What is set already
# stays: JAX_DISABLE_MOST_OPTIMIZATIONS=0 XLA_FLAGS= pytest compiles everything as users do.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# The older emitter of fused loops gives LLVM less to do. One piece: a worker has one core and, without optimisation,
# where a program is cut may change its last bits, which tests compare between programs.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1")
# Threads would only compete with the other worker.
for pool in ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(pool, "1")
# What one worker compiled, the other finds, and so does a fit that a test repeats. The first process makes the folder.
COMPILED = None if "JAX_COMPILATION_CACHE_DIR" in os.environ else tempfile.mkdtemp(prefix="compiled-")
if COMPILED:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = COMPILED
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


def pytest_unconfigure() -> None:
    """Remove the programs that were compiled."""
    if COMPILED:
        shutil.rmtree(COMPILED)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes and arrays by their argument: contents are unreadable, and workers must collect the same names."""
    return argname if isinstance(val, bytes) or (hasattr(val, "dtype") and hasattr(val, "shape")) else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Have XLA optimise where a test or its module is marked `optimised`, also what its fixtures compile."""
    import jax

    quick = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1" and not item.get_closest_marker("optimised")
    jax.config.update("jax_disable_most_optimizations", quick)


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
