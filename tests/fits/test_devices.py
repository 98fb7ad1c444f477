"""Trainings over two devices, which XLA emulates on the CPU of a process of its own, are those of one."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conjugate_moments import (
    ImageSettings,
    Pixels,
    QuadraticsSettings,
    TrainingSettings,
    fit_images,
    fit_quadratics,
    fit_samples,
)
from conjugate_moments.fits import _devices, _training
from conjugate_moments.potentials.base import gradients

KEY = jax.random.key(0)
QUICK = {"steps": 12, "batch": 32, "learning_rate": 1e-2, "pieces": 2, "smoothing": 0.2, "moves": 1}
OF_IMAGES = ImageSettings(widths=(2, 4), slope=2.0, quadratic=0.9, patch=2, stride=2, noise=0.3, **QUICK)
IMAGES = np.random.default_rng(0).integers(0, 17, (200, 4, 4, 1)).astype(np.uint8)
POINTS = np.random.default_rng(0).gamma(3, size=(300, 2)) - 3

OF_PARTS = QuadraticsSettings(steps=12, batch=32, components=5, rank=1, moves=1, leaps=2, smoothing=0.05, noise=0.3)

# Conjugates in d = 16 are solved by L-BFGS, or where they are of quadratics by low-rank Newton, in d = 2 by Newton.
FITS = {
    "quadratics": lambda: fit_quadratics(IMAGES, Pixels((4, 4, 1), 16, 0.3), key=KEY, settings=OF_PARTS),
    "images": lambda: fit_images(IMAGES, Pixels((4, 4, 1), 16, 0.3), key=KEY, settings=OF_IMAGES),
    "samples": lambda: fit_samples(POINTS, key=KEY, settings=TrainingSettings(widths=(8,), **QUICK)),
}


def numbers(name):
    """∇w of a fit at points about its data, with its acceptance, the devices of its carry, and programs compiled."""
    advance, devices = _training._advance, []

    def seen(step, carry, *rest):
        chains = carry.chains.position
        devices.append([len(rows.devices()) for rows in (chains, jax.tree.leaves(carry.network)[-1])])
        devices[-1].append(len(chains.addressable_shards[0].data))
        return advance(step, carry, *rest)

    before = advance._cache_size()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_training, "_advance", seen)
        fit = FITS[name]()
    variance = np.diag(fit.cov) if fit.cov.ndim == 2 else fit.cov
    points = fit.mean + np.sqrt(variance) * np.random.default_rng(1).normal(size=(200, fit.dim))
    found = {"map": gradients(fit.network, jnp.asarray(points, jnp.float32)), "acceptance": fit.trace["acceptance"]}
    found |= {"devices": devices, "compiled": advance._cache_size() - before}
    return {f"{name}.{kind}": np.asarray(value) for kind, value in found.items()}


def of_all_fits():
    return {name: value for fit in FITS for name, value in numbers(fit).items()}


def changed(batch):
    """Whether anything is changed for batches of this size."""
    given = object(), None, None
    return any(new is not old for new, old in zip(_devices.over_devices(*given, batch), given, strict=True))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    path = tmp_path_factory.mktemp("devices") / "two.npz"
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, __file__, path], check=True, env=environment)
    with np.load(path) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def one():
    return of_all_fits()


# Over these steps half a unit of rounding in the parameters at the start grew to 6e-7 and 4e-5 of the largest ∇w on one
# device, and the rounding of two devices as much; of quadratics two devices made 2e-6. Parameters of units that hardly
# any point sees differ by a hundredth: Adam takes full steps along gradients that are all rounding, and there w does
# not depend on them.
@pytest.mark.parametrize(("name", "tolerance"), [("quadratics", 4e-5), ("images", 1e-5), ("samples", 4e-4)])
def test_two_devices_give_the_fit_of_one(name, tolerance, one, two):
    expected = one[f"{name}.map"]
    np.testing.assert_allclose(two[f"{name}.map"], expected, rtol=0, atol=tolerance * np.abs(expected).max())
    np.testing.assert_allclose(two[f"{name}.acceptance"], one[f"{name}.acceptance"], rtol=1e-4)


@pytest.mark.parametrize("name", FITS)
def test_each_device_has_half_of_the_rows_at_every_stretch_of_one_program(name, one, two):
    for found, count in ((one, 1), (two, 2)):
        assert np.all(found[f"{name}.devices"] == [count, count, 32 // count])
        assert len(found[f"{name}.devices"]) > 1
        assert found[f"{name}.compiled"] == 1


def test_a_batch_that_cannot_be_halved_stays_on_one_device_and_one_device_changes_nothing(two):
    assert not two["odd"]
    assert not changed(32)


if __name__ == "__main__":
    np.savez(sys.argv[1], odd=changed(63), **of_all_fits())
