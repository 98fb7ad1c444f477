"""Experiments 5 and 6: images, generated and completed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from conjugate_moments.config._messages import refuse
from conjugate_moments.settings import ImageSettings

# Sizes of the sets, and how many images there are where that is limited; tests hold them against the sets themselves.
SIDES = {
    "digits": (8, 8, 1),
    "glyphs": (28, 28, 1),
    "mnist": (28, 28, 1),
    "avatars": (32, 32, 3),
    "cartoon": (32, 32, 3),
}
AVAILABLE = {"digits": 1797}
BASELINES = ("mean", "nearest", "gaussian")  # of inpainting, without a fit


@dataclass(frozen=True)
class ImageEntry:
    """One set of images: how many to fit and to hold out (twice: to compare with, and for the noise floor), per seed.

    `models` are "affine", the Gaussian, or a method and a network of `training`: "cmfgen_patches".
    """

    samples: int
    held_out: int
    seeds: tuple[int, ...]
    models: tuple[str, ...]
    training: Mapping[str, ImageSettings]


@dataclass(frozen=True)
class Inpainting:
    """Experiment 6: `images` of each held-out set are completed under each mask, `chains` of `draws` for each.

    `models` are fits of `images.sets`. `noise` is in levels of a pixel.
    """

    models: tuple[str, ...]
    masks: tuple[str, ...]
    images: int
    chains: int
    draws: int
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
            if model != "affine" and network not in entry.training:
                allowed = f"affine, or a method and a network of training: {', '.join(entry.training)}"
                refuse(("images", "sets", name, "models", place), model, allowed)
        for place, model in enumerate(images.inpainting.models):
            if model not in entry.models or model == "affine":
                fits = [model for model in entry.models if model != "affine"]
                refuse(("images", "inpainting", "models", place), f"{model} for {name}", ", ".join(fits) or "none")
        if images.inpainting.images > entry.held_out:
            refuse(
                ("images", "inpainting", "images"), str(images.inpainting.images), f"at most held_out, {entry.held_out}"
            )


def _check_network(name: str, network: str, settings: ImageSettings) -> None:
    path = ("images", "sets", name, "training", network)
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
