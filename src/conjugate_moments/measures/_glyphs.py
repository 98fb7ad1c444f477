"""Grey digits of 28×28 pixels rendered from fonts: our own stand-in for MNIST, which they are not."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIDE = 28
SCALE = 4  # drawn this many times as large, then averaged
CANVAS = SIDE * SCALE
HEIGHT = 19 * SCALE  # of every digit before it is distorted
TRAITS = 9  # uniforms that decide one image

# The text fonts among those that matplotlib ships; its symbol fonts have no digits, or old-style ones.
FONTS = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")),
    *(f"cm{style}10" for style in ("b", "r", "ss", "ti", "tt")),
)

ANGLE = np.radians(12.0)
SHEAR = 0.25
WIDTHS = (0.85, 1.15)
HEIGHTS = (0.85, 1.05)
SHIFT = 1.2  # pixels
BLUR = (0.25, 0.7)  # standard deviation in pixels


def font_file(name: str) -> Path:
    """Where matplotlib keeps that font.

    Raises:
      FileNotFoundError: if this matplotlib does not ship it.
    """
    import matplotlib as mpl

    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
    if not path.is_file():
        raise FileNotFoundError(f"glyphs: matplotlib {mpl.__version__} ships no font {name}.ttf")
    return path


@cache
def _masters() -> tuple[Image.Image, ...]:
    """Every font's ten digits, upright and centred, all of one height; row-major over (font, digit)."""
    fonts = [ImageFont.truetype(font_file(name), 2 * HEIGHT) for name in FONTS]
    return tuple(_master(font, str(digit)) for font in fonts for digit in range(10))


def _master(font: ImageFont.FreeTypeFont, digit: str) -> Image.Image:
    left, top, right, bottom = (round(edge) for edge in font.getbbox(digit))
    ink = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(ink).text((-left, -top), digit, font=font, fill=255)
    width = round(ink.width * HEIGHT / ink.height)
    canvas = Image.new("L", (CANVAS, CANVAS))
    corner = ((CANVAS - width) // 2, (CANVAS - HEIGHT) // 2)
    canvas.paste(ink.resize((width, HEIGHT), Image.Resampling.BOX), corner)
    return canvas


def _between(u: NDArray[np.float64], bounds: tuple[float, float]) -> NDArray[np.float64]:
    return bounds[0] + (bounds[1] - bounds[0]) * u


def _inverse_maps(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """For Pillow, which asks of each pixel of the result where it comes from: `[n, 6]` from uniforms `[n, 6]`."""
    angle, shear = ANGLE * (2 * u[:, 0] - 1), SHEAR * (2 * u[:, 1] - 1)
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.stack([cos, -sin, sin, cos], axis=-1).reshape(-1, 2, 2)
    stretch = np.zeros_like(rotation)
    stretch[:, 0, 0], stretch[:, 1, 1] = _between(u[:, 2], WIDTHS), _between(u[:, 3], HEIGHTS)
    stretch[:, 0, 1] = shear
    inverse = np.linalg.inv(rotation @ stretch)
    centre = CANVAS / 2
    shift = centre + SHIFT * SCALE * (2 * u[:, 4:6] - 1)
    offset = centre - np.einsum("nij,nj->ni", inverse, shift)
    return np.concatenate([inverse, offset[:, :, None]], axis=2).reshape(-1, 6)


def draw(uniforms: NDArray[np.float64]) -> NDArray[np.uint8]:
    """One digit per row of `uniforms` `[n, TRAITS]` in [0, 1): `[n, 28, 28, 1]`, white ink on black.

    Font and digit are uniform; rotation, shear, width, height and shift are uniform in the ranges above, as is the
    standard deviation of a Gaussian blur. An image is a function of its own row alone.

    Raises:
      FileNotFoundError: if this matplotlib ships other fonts.
    """
    masters, maps = _masters(), _inverse_maps(uniforms[:, 2:8]).tolist()
    choices = 10 * (len(FONTS) * uniforms[:, 0]).astype(int) + (10 * uniforms[:, 1]).astype(int)
    radii = (SCALE * _between(uniforms[:, 8], BLUR)).tolist()
    images = np.empty((len(uniforms), SIDE, SIDE, 1), dtype=np.uint8)
    for image, choice, coefficients, radius in zip(images, choices, maps, radii, strict=True):
        warped = masters[choice].transform(
            (CANVAS, CANVAS), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
        )
        image[..., 0] = np.asarray(warped.filter(ImageFilter.GaussianBlur(radius)).reduce(SCALE))
    return images
