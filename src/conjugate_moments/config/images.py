"""Experiments 5 and 6: images, generated and completed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from conjugate_moments.config._messages import refuse
from conjugate_moments.settings import ImageSettings, QuadraticsSettings

# Sizes of the sets, and how many images there are where that is limited; tests hold them against the sets themselves.
SIDES = {
    "digits": (8, 8, 1),
    "glyphs": (28, 28, 1),
    "mnist": (28, 28, 1),
    "avatars": (32, 32, 3),
    "cartoon": (32, 32, 3),
}
AVAILABLE = {"digits": 1797}
LARGEST_DENSE = 1024  # dimension up to which inpainting forms matrices [d, d]
BASELINES = ("mean", "nearest", "gaussian")  # of inpainting, without a fit


@dataclass(frozen=True)
class ImageEntry:
    """One set of images: how many to fit and to hold out (twice: to compare with, and for the noise floor), per seed.

    `models` are "affine", the Gaussian, or a method and a network: "cmfgen_patches". Networks are those of `training`
    and, with settings of their own, "quadratics".
    """

    samples: int
    held_out: int
    seeds: tuple[int, ...]
    models: tuple[str, ...]
    training: Mapping[str, ImageSettings]
    quadratics: QuadraticsSettings | None

    @property
    def networks(self) -> dict[str, ImageSettings | QuadraticsSettings]:
        """Settings of every network, by its name."""
        return {**self.training, **({} if self.quadratics is None else {"quadratics": self.quadratics})}


@dataclass(frozen=True)
class Inpainting:
    """Experiment 6: `images` held-out ones of `sets` are completed under each mask, `chains` of `draws` for each.

    `models` are fits of these sets; those of quadratics have populations of `particles` in the place of chains of
    `draws`. `noise` is in levels of a pixel, `leaps` are gradients of one move.
    """

    sets: tuple[str, ...]
    models: tuple[str, ...]
    masks: tuple[str, ...]
    images: int
    chains: int
    draws: int
    leaps: int
    particles: int
    noise: float


@dataclass(frozen=True)
class Images:
    """Experiments 5 and 6; `epsilon_share` is a share of the images' total variance."""

    epsilon_share: float
    sets: Mapping[str, ImageEntry]
    inpainting: Inpainting


def check_images(images: Images) -> None:
    """Refuse more images than there are, patches that do not cover them, and models without a network or a fit."""
    for name, entry in images.sets.items():
        wanted = entry.samples + 2 * entry.held_out
        if wanted > AVAILABLE.get(name, wanted):
            found = f"{entry.samples} + 2 x {entry.held_out} images"
            refuse(("images", "sets", name, "samples"), found, f"at most {AVAILABLE[name]}, all there are of {name}")
        for network, settings in entry.training.items():
            _check_network(name, network, settings)
        for place, model in enumerate(entry.models):
            network = model.partition("_")[2]
            if model != "affine" and network not in entry.networks:
                allowed = f"affine, or a method and a network that has settings: {', '.join(entry.networks)}"
                refuse(("images", "sets", name, "models", place), model, allowed)
    _check_inpainting(images)


def _check_inpainting(images: Images) -> None:
    wanted = images.inpainting
    for place, name in enumerate(wanted.sets):
        if name not in images.sets:
            refuse(("images", "inpainting", "sets", place), name, f"sets of images.sets: {', '.join(images.sets)}")
        entry = images.sets[name]
        dense = math.prod(SIDES[name]) <= LARGEST_DENSE
        fits = [model for model in entry.models if model != "affine" and (dense or not model.endswith("_quadratics"))]
        for position, model in enumerate(wanted.models):
            if model not in fits:
                refuse(
                    ("images", "inpainting", "models", position), f"{model} for {name}", ", ".join(fits) or "no model"
                )
        if wanted.images > entry.held_out:
            refuse(("images", "inpainting", "images"), str(wanted.images), f"at most held_out, {entry.held_out}")


def _check_network(name: str, network: str, settings: ImageSettings) -> None:
    path = ("images", "sets", name, "training", network)
    # The name is what tables and figures say of a model.
    if (settings.patch is None) != (network == "whole"):
        found = "null" if settings.patch is None else str(settings.patch)
        refuse((*path, "patch"), found, "null" if network == "whole" else "a number of pixels")
    layers = 1 if settings.patch is None else 2
    if len(settings.widths) != layers:
        what = "patches: groups of filters, and units above" if layers == 2 else "the whole image: its maxima"
        refuse((*path, "widths"), str(list(settings.widths)), f"{layers} for {what}")
    if settings.patch is None:
        return
    patch, stride = settings.patch, settings.stride
    height, width, _ = SIDES[name]
    if stride > patch or any(side < patch or (side - patch) % stride for side in (height, width)):
        found = f"patches of {patch} every {stride} pixels"
        refuse((*path, "patch"), found, f"patches that cover {height} x {width} pixels")
