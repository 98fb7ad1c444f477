"""Jobs that are killed: what they leave is whole or absent, and the next run ends as one without a break does."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conjugate_moments.fits._training import CHUNKS, train
from conjugate_moments.fits.result import FORMAT

ROOT = Path(__file__).parents[2]
STEPS, SIDE = 400, 4
KILLS = 3

# The script of the rule fit_images, with what Snakemake would give it.
JOB = """
import runpy, sys
from types import SimpleNamespace as Given
from conjugate_moments import ImageSettings

settings = ImageSettings(steps=int(sys.argv[1]), batch=16, widths=(2,), pieces=2, smoothing=0.2, slope=2.0,
                         quadratic=0.9, patch=None, stride=1, noise=0.3, moves=1, learning_rate=1e-2)
given = Given(
    wildcards=Given(images="digits", trained="monge_whole", repeat="0"),
    params=Given(training=settings, checkpoint="checkpoint.npz", fingerprint="of the test"),
    input=Given(images="images.npz"),
    output=Given(fit="fit.npz", trace="trace.csv"),
    log=["job.log"],
)
runpy.run_path("fit_images.py", init_globals={"snakemake": given})
"""

# Arrays of one number each, the count of the writes.
WRITER = """
import itertools
import numpy as np
from conjugate_moments._files import write_arrays

for count in itertools.count(1):
    write_arrays("checkpoint.npz", {"leaf0": np.full(1_000_000, count), "done": np.asarray(count)})
"""


class Run:
    """A Python program in a folder of its own, and the files there."""

    def __init__(self, folder, source, program, *arguments):
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(source),
            "JAX_PLATFORMS": "cpu",
            "NPROC": "1",
            "OMP_NUM_THREADS": "1",
            # As in the chain; a job after the first one then has less to compile.
            "JAX_COMPILATION_CACHE_DIR": str(source / "cache"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        command = [sys.executable, "-c", program, *map(str, arguments)]
        self.folder = folder
        self.process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)

    def wait_for_checkpoint(self, seen=None):
        """Wait until there is another checkpoint than the one `seen`; which one it is, and when it came."""
        while self.process.poll() is None:
            if (found := self.checkpoint()) not in (None, seen):
                return found, time.monotonic()
            time.sleep(1e-3)
        raise AssertionError(f"the program ended before it was killed: {self.process.communicate()[1]}")

    def checkpoint(self):
        try:
            status = (self.folder / "checkpoint.npz").stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        assert self.process.returncode == -signal.SIGKILL

    def end(self):
        _, said = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, said


def kill_at_random(run, rng):
    """Kill a run some checkpoints after its first one, at any moment between two of them."""
    seen, first = run.wait_for_checkpoint(run.checkpoint())
    last, writes = first, 1 + rng.integers(3)
    for _ in range(writes):
        seen, last = run.wait_for_checkpoint(seen)
    time.sleep(rng.uniform() * (last - first) / writes)
    run.kill()


@pytest.fixture
def source(tmp_path):
    """A copy of the package, so that nobody's edits or commits change a run between two others."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "src"


def fit_job(folder, source, steps=STEPS):
    """Start the job that fits images, for the first time or again."""
    if not folder.exists():
        folder.mkdir()
        shutil.copy(ROOT / "workflow" / "scripts" / "fit_images.py", folder)
        train = np.random.default_rng(0).integers(17, size=(100, SIDE, SIDE, 1)).astype(np.uint8)
        np.savez(folder / "images.npz", train=train, levels=16)
    return Run(folder, source, JOB, steps)


def steps_done(folder):
    with np.load(folder / "checkpoint.npz", allow_pickle=False) as stored:
        return int(stored["done"])


def first_step(folder):
    """Where the last run of a job began, by the progress bar in its log."""
    return int(re.search(rf"\| (\d+)/{STEPS} ", (folder / "job.log").read_text("utf-8"))[1])


def test_job_that_is_killed_resumes_bit_for_bit(tmp_path, source):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    fit_job(whole, source).end()
    assert first_step(whole) == 0
    rng, done = np.random.default_rng(0), 0
    for _ in range(KILLS):
        kill_at_random(fit_job(killed, source), rng)
        assert first_step(killed) == done
        assert done < steps_done(killed) < STEPS
        assert not {"fit.npz", "trace.csv"} & {path.name for path in killed.iterdir()}
        done = steps_done(killed)
    fit_job(killed, source).end()
    assert first_step(killed) == done
    assert not (killed / "checkpoint.npz").exists()
    # Their provenance holds no date: the same bytes.
    for name in ("fit.npz", "trace.csv"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


def test_file_that_is_being_written_is_whole_when_the_writer_is_killed(tmp_path, source):
    rng, interrupted = np.random.default_rng(0), 0
    for i in range(5):
        folder = tmp_path / str(i)
        folder.mkdir()
        kill_at_random(Run(folder, source, WRITER), rng)
        with np.load(folder / "checkpoint.npz", allow_pickle=False) as stored:
            np.testing.assert_array_equal(stored["leaf0"], int(stored["done"]))
        interrupted += len(list(folder.glob(".checkpoint-*.npz")))
    assert interrupted  # or else no kill came in the middle of a write, and nothing was shown


# Checkpoints that cannot be resumed


def walk(carry, data, key):
    """A step whose result depends on all the steps before it."""
    carry = carry + data * jax.random.normal(key, carry.shape)
    return carry, {"loss": jnp.sum(carry)}


def walked(checkpoint):
    given = {"key": jax.random.key(0), "name": "walk", "checkpoint": checkpoint, "fingerprint": "1"}
    return train(walk, jnp.zeros(3), jnp.ones(3), 2 * CHUNKS, **given)


def valid(tmp_path, **changed):
    """The bytes of a checkpoint after two steps, as `train` leaves it when it is interrupted, with changes."""
    path = tmp_path / "valid.npz"
    arrays = {"leaf0": np.full(3, 7, np.float32), "leaf1": np.zeros(2 * CHUNKS, np.float32), "done": 2}
    np.savez(path, **{**arrays, "fingerprint": f"{FORMAT} 1", **changed})
    return path.read_bytes()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def without(data, name):
    """An archive without one of its files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.namelist():
            if entry != name:
                new.writestr(entry, old.read(entry))
    return buffer.getvalue()


def flipped(data):
    """With other bits in the middle of an array: its check sum no longer holds."""
    return data.replace(np.full(3, 7, np.float32).tobytes(), np.full(3, 8, np.float32).tobytes(), 1)


BROKEN = {
    "empty": lambda folder: b"",
    "text": lambda folder: json.dumps({"done": 2}).encode(),
    "first half": lambda folder: (data := valid(folder))[: len(data) // 2],
    "all but the last byte": lambda folder: valid(folder)[:-1],
    "second half": lambda folder: (data := valid(folder))[len(data) // 2 :],
    "bits flipped": lambda folder: flipped(valid(folder)),
    "an array": lambda folder: npy(np.zeros(3)),
    "another archive": lambda folder: without(valid(folder), "done.npy"),
    "objects": lambda folder: valid(folder, done=np.asarray({}, object)),
    "another shape": lambda folder: valid(folder, leaf0=np.zeros(4, np.float32)),
    "another type": lambda folder: valid(folder, leaf0=np.zeros(3, np.float64)),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_checkpoint_that_cannot_be_read_is_started_over_in_one_line(tmp_path, capsys, kind):
    expected, trace = walked(None)
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(BROKEN[kind](tmp_path))
    found, retraced = walked(path)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(retraced["loss"], trace["loss"])
    assert not path.exists()
    said = capsys.readouterr()
    place = re.escape(str(path))
    assert re.fullmatch(rf"checkpoint: found .* at {place}, allowed: .*; it starts from step 0\n", said.out)
    assert said.err == ""


def test_checkpoint_of_these_tests_is_resumed_when_nothing_is_wrong_with_it(tmp_path, capsys):
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(valid(tmp_path))
    found, trace = walked(path)
    np.testing.assert_array_equal(trace["loss"][:2], 0)
    assert np.abs(found - walked(None)[0]).min() > 1  # 7 instead of a sum of two draws
    assert capsys.readouterr().out == ""
