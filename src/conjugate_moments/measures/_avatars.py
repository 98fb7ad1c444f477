"""Colour faces of 32×32 pixels, drawn by a procedure: our own stand-in for Google's Cartoon Set, which they are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]

SIDE = 32
SCALE = 4  # drawn this many times as large, then averaged, which makes the edges soft
CANVAS = SIDE * SCALE
TRAITS = 28  # uniforms that decide one image

BACKGROUNDS: tuple[Colour, ...] = (
    (244, 244, 240), (196, 224, 242), (252, 226, 190), (206, 234, 206), (232, 212, 242), (250, 208, 208),
)  # fmt: skip
SKINS: tuple[Colour, ...] = (
    (255, 222, 196), (246, 204, 168), (232, 184, 142), (212, 158, 112), (176, 118, 76), (132, 84, 54), (96, 60, 42),
)  # fmt: skip
HAIRS: tuple[Colour, ...] = (
    (32, 26, 28), (70, 44, 30), (118, 72, 38), (170, 112, 54), (226, 184, 98), (176, 62, 32), (168, 168, 172),
    (92, 76, 168), (44, 132, 138),
)  # fmt: skip
IRISES: tuple[Colour, ...] = ((74, 48, 32), (52, 96, 162), (66, 122, 74), (60, 66, 74))
SHIRTS: tuple[Colour, ...] = (
    (210, 66, 62), (48, 104, 176), (52, 142, 98), (240, 176, 52), (66, 66, 78), (240, 240, 244), (140, 82, 160),
)  # fmt: skip
FRAMES: tuple[Colour, ...] = ((36, 34, 40), (132, 78, 44), (196, 54, 62), (60, 96, 170))

WHITE: Colour = (252, 252, 252)
MOUTH: Colour = (150, 48, 52)


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _darker(colour: Colour, share: float) -> Colour:
    return _mix(colour, (0, 0, 0), share)


@dataclass(frozen=True)
class Face:
    """What is to be drawn; lengths in pixels of the canvas, 128 across.

    Args:
      background: colour, as all up to `frame`.
      x: centre of the face.
      y: the same, downwards.
      width: half that of the face.
      height: half that of the face.
      squareness: of the jaw, from 0 (an ellipse) to 1.
      gap: from the centre line to an eye.
      opening: half the height of an eye.
      gaze: shift of the irises to the right.
      brow: distance from eye to brow.
      tilt: by how much the inner ends of the brows lie lower.
      smile: depth of the mouth's arc; negative for a frown.
      grin: half the width of the mouth.
      hair: index into `HAIR_BEHIND` and `HAIR_BEFORE`.
      fringe: how far the hair comes down the forehead.
      mouth: index into `MOUTHS`.
      beard: index into `BEARDS`.
      glasses: index into `GLASSES`.
    """

    background: Colour
    skin: Colour
    hair_colour: Colour
    iris: Colour
    shirt: Colour
    frame: Colour
    x: float
    y: float
    width: float
    height: float
    squareness: float
    gap: float
    opening: float
    gaze: float
    brow: float
    tilt: float
    smile: float
    grin: float
    hair: int
    fringe: float
    mouth: int
    beard: int
    glasses: int

    @property
    def eyes(self) -> float:
        """Height of the eyes."""
        return self.y - 2

    @property
    def top(self) -> float:
        """Where the head ends above."""
        return self.y - self.height

    @property
    def chin(self) -> float:
        """Where the head ends below."""
        return self.y + self.height

    @property
    def lips(self) -> float:
        """Height of the mouth."""
        return self.y + 0.56 * self.height


def _face(row: NDArray[np.float64]) -> Face:
    """The face of one row of uniforms `[TRAITS]`."""
    u = iter(row.tolist())

    def between(low: float, high: float) -> float:
        return low + (high - low) * next(u)

    def one_of(count: int) -> int:
        return int(count * next(u))

    def colour(palette: tuple[Colour, ...], spread: float) -> Colour:
        chosen = palette[one_of(len(palette))]
        shade = between(-spread, spread)
        return _mix(chosen, (255, 255, 255) if shade > 0 else (0, 0, 0), abs(shade))

    return Face(
        background=colour(BACKGROUNDS, 0.06),
        skin=colour(SKINS, 0.06),
        hair_colour=colour(HAIRS, 0.1),
        iris=colour(IRISES, 0.1),
        shirt=colour(SHIRTS, 0.1),
        frame=FRAMES[one_of(len(FRAMES))],
        x=between(61, 67),
        y=between(61, 66),
        width=between(27, 33),
        height=between(32, 38),
        squareness=between(0, 1),
        gap=between(11, 14.5),
        opening=between(4, 6.5),
        gaze=between(-1.5, 1.5),
        brow=between(9, 12.5),
        tilt=between(-2.5, 2.5),
        smile=between(-2, 8),
        grin=between(8, 13),
        hair=one_of(len(HAIR_BEFORE)),
        fringe=between(0, 1),
        mouth=one_of(len(MOUTHS)),
        beard=max(0, one_of(2 * len(BEARDS)) - len(BEARDS)),  # more than half go without
        glasses=max(0, one_of(2 * len(GLASSES)) - len(GLASSES)),
    )


def _ellipse(pen: ImageDraw.ImageDraw, x: float, y: float, across: float, down: float, colour: Colour) -> None:
    pen.ellipse((x - across, y - down, x + across, y + down), fill=colour)


def _box(pen: ImageDraw.ImageDraw, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
    pen.rounded_rectangle((left, top, right, bottom), min(right - left, bottom - top) / 3, fill=colour)


def _outline(face: Face, points: int = 48) -> list[tuple[float, float]]:
    """The head: a superellipse below, whose exponent is the jaw's squareness, and an ellipse above."""
    angles = 2 * np.pi * np.arange(points) / points
    cos, sin = np.cos(angles), np.sin(angles)
    power = np.where(sin > 0, 2 / (2 + 1.2 * face.squareness), 1.0)  # the vertical axis points down
    x = face.x + face.width * np.sign(cos) * np.abs(cos) ** power
    y = face.y + face.height * np.sign(sin) * np.abs(sin) ** power
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _no(pen: ImageDraw.ImageDraw, face: Face) -> None:
    """What a style leaves out."""


def _long_behind(pen: ImageDraw.ImageDraw, face: Face, length: float) -> None:
    _ellipse(pen, face.x, face.y - 8, face.width + 9, face.height + 2, face.hair_colour)
    _box(pen, face.x - face.width - 9, face.y - 10, face.x + face.width + 9, face.y + length, face.hair_colour)


def _curls_behind(pen: ImageDraw.ImageDraw, face: Face) -> None:
    for angle in np.linspace(-0.15 * np.pi, 1.15 * np.pi, 11):
        x, y = face.x + (face.width + 5) * np.cos(angle), face.y - 6 - (face.height + 1) * np.sin(angle)
        _ellipse(pen, x, y, 12, 12, face.hair_colour)


def _buns_behind(pen: ImageDraw.ImageDraw, face: Face) -> None:
    for side in (-1, 1):
        _ellipse(pen, face.x + side * (face.width - 2), face.top + 2, 13, 13, face.hair_colour)


def _knot_behind(pen: ImageDraw.ImageDraw, face: Face) -> None:
    _ellipse(pen, face.x, face.top - 5, 14, 13, face.hair_colour)


def _cap(pen: ImageDraw.ImageDraw, face: Face, depth: float) -> None:
    """Hair on the skull down to `depth` above the eyes at the temples, with the hairline as an arc."""
    line = face.eyes - depth
    width, height = face.width + 3, line - face.top + 6
    arc = np.linspace(np.pi, 2 * np.pi, 24)
    skull = [(face.x + width * np.cos(a), line + height * np.sin(a)) for a in arc]
    rise = 0.55 * height * (1 - face.fringe)
    hairline = [(face.x - width * np.cos(a), line + 2 + rise * np.sin(a)) for a in arc]
    pen.polygon(skull + hairline, fill=face.hair_colour)


def _parted(pen: ImageDraw.ImageDraw, face: Face, side: int) -> None:
    """A sweep over the forehead from a parting on one side."""
    _cap(pen, face, 13)
    ends = face.x - side * (face.width + 2), face.x + side * (face.width + 2)
    parting = (face.x + side * 0.35 * face.width, face.top + 5)
    sweep = [(ends[0], face.eyes - 3), (ends[0], face.top + 12), parting, (face.x, face.eyes - 15 + 5 * face.fringe)]
    pen.polygon(sweep, fill=face.hair_colour)
    pen.polygon([parting, (ends[1], face.top + 13), (ends[1], face.eyes - 5)], fill=face.hair_colour)


def _straight(pen: ImageDraw.ImageDraw, face: Face) -> None:
    """A fringe cut straight across."""
    _cap(pen, face, 9)
    bottom = face.eyes - 13 + 3 * face.fringe
    _box(pen, face.x - face.width - 1, face.top + 6, face.x + face.width + 1, bottom, face.hair_colour)


def _spikes(pen: ImageDraw.ImageDraw, face: Face) -> None:
    """Tufts that point away from the middle of the head."""
    _cap(pen, face, 13)
    for angle in np.linspace(0.1 * np.pi, 0.9 * np.pi, 7):
        directions = np.array([[np.cos(angle + turn), -np.sin(angle + turn)] for turn in (-0.24, 0, 0.24)])
        reach = np.array([[0.8], [1.14 + 0.12 * face.fringe], [0.8]]) * [face.width + 2, face.height + 2]
        tuft = [face.x, face.y - 3] + reach * directions
        pen.polygon([(x, y) for x, y in tuft.tolist()], fill=face.hair_colour)


def _curls(pen: ImageDraw.ImageDraw, face: Face) -> None:
    _cap(pen, face, 16)
    for angle in np.linspace(0.08 * np.pi, 0.92 * np.pi, 7):
        x, y = face.x + face.width * np.cos(angle), face.y - 8 - (face.height - 9) * np.sin(angle)
        _ellipse(pen, x, y, 9, 8 + 2 * face.fringe, face.hair_colour)


def _hat(pen: ImageDraw.ImageDraw, face: Face) -> None:
    """A woollen hat in the colour of the shirt, darker at the brim."""
    brim = face.eyes - 16 + 3 * face.fringe
    top, width = face.top - 7, face.width + 4
    pen.pieslice((face.x - width, top, face.x + width, 2 * brim - top), 180, 360, fill=face.shirt)
    _ellipse(pen, face.x, top - 1, 6, 6, _darker(face.shirt, 0.2))
    _box(pen, face.x - width - 1, brim - 5, face.x + width + 1, brim + 4, _darker(face.shirt, 0.2))


Stroke = Callable[[ImageDraw.ImageDraw, Face], None]

# One style per position: what lies behind the head, and what before it.
HAIR_BEHIND: tuple[Stroke, ...] = (
    _no, _no, _no, partial(_long_behind, length=44), partial(_long_behind, length=26),
    partial(_long_behind, length=50), _curls_behind, _no, _buns_behind, _knot_behind, _no,
    partial(_long_behind, length=34),
)  # fmt: skip
HAIR_BEFORE: tuple[Stroke, ...] = (
    _no, partial(_cap, depth=12), partial(_parted, side=1), partial(_parted, side=-1), _straight,
    partial(_cap, depth=12), _curls, _spikes, partial(_parted, side=1), partial(_cap, depth=13), _hat, _hat,
)  # fmt: skip


def _smile(pen: ImageDraw.ImageDraw, face: Face) -> None:
    reach = max(abs(face.smile), 1.0)
    start, end = (10, 170) if face.smile > 0 else (190, 350)
    box = (face.x - face.grin, face.lips - reach, face.x + face.grin, face.lips + reach)
    pen.arc(box, start, end, fill=_mix(face.skin, MOUTH, 0.9), width=4)


def _open(pen: ImageDraw.ImageDraw, face: Face) -> None:
    """A laugh, with teeth above and a tongue below."""
    depth = 6 + abs(face.smile)
    box = (face.x - face.grin, face.lips - depth, face.x + face.grin, face.lips + depth)
    pen.chord(box, 0, 180, fill=MOUTH)
    pen.chord((box[0] + 2, box[1] + 2, box[2] - 2, face.lips + 5), 5, 175, fill=WHITE)


def _lipstick(pen: ImageDraw.ImageDraw, face: Face) -> None:
    colour = _mix(face.skin, (196, 40, 70), 0.8)
    _ellipse(pen, face.x, face.lips + 2, 0.75 * face.grin, 3.5, colour)
    pen.line((face.x - 0.75 * face.grin, face.lips + 2, face.x + 0.75 * face.grin, face.lips + 2),
             fill=_darker(colour, 0.35), width=2)  # fmt: skip


MOUTHS: tuple[Stroke, ...] = (_smile, _open, _lipstick)


def _moustache(pen: ImageDraw.ImageDraw, face: Face) -> None:
    y = face.lips - 5
    for side in (-1, 1):
        _ellipse(pen, face.x + side * 6, y, 8, 4, face.hair_colour)


def _beard(pen: ImageDraw.ImageDraw, face: Face) -> None:
    """The lower part of the head, but for the mouth."""
    edge = face.y + 0.18 * face.height
    outline = [(x, y + 3 * max(0.0, y - face.y) / face.height) for x, y in _outline(face) if y >= edge]
    left, right = min(outline), max(outline)
    inner = [(right[0] - 7, edge + 4), (face.x, face.lips - 8), (left[0] + 7, edge + 4)]
    pen.polygon([*sorted(outline, key=lambda p: np.arctan2(p[1] - face.y, p[0] - face.x)), left, *inner[::-1], right],
                fill=face.hair_colour)  # fmt: skip


def _goatee(pen: ImageDraw.ImageDraw, face: Face) -> None:
    _ellipse(pen, face.x, face.chin - 3, 9, 7, face.hair_colour)


BEARDS: tuple[Stroke, ...] = (_no, _moustache, _beard, _goatee)


def _glasses(pen: ImageDraw.ImageDraw, face: Face, radius: float, corner: float, lens: Colour | None) -> None:
    for side in (-1, 1):
        x = face.x + side * face.gap
        box = (x - radius - 1, face.eyes - radius, x + radius + 1, face.eyes + radius)
        pen.rounded_rectangle(box, corner * radius, fill=lens, outline=face.frame, width=3)
        pen.line(
            (x + side * radius, face.eyes - 1, face.x + side * face.width, face.eyes - 2), fill=face.frame, width=3
        )
    bridge = face.gap - radius
    pen.line((face.x - bridge, face.eyes - 1, face.x + bridge, face.eyes - 1), fill=face.frame, width=3)


GLASSES: tuple[Stroke, ...] = (
    _no,
    partial(_glasses, radius=9.5, corner=1.0, lens=None),
    partial(_glasses, radius=8.5, corner=0.3, lens=None),
    partial(_glasses, radius=9.0, corner=0.7, lens=(48, 50, 60)),
)


def _body(pen: ImageDraw.ImageDraw, face: Face) -> None:
    shade = _darker(face.skin, 0.14)
    _ellipse(pen, face.x, CANVAS + 12, 47, 33, face.shirt)
    _box(pen, face.x - 11, face.y + 10, face.x + 11, face.chin + 13, shade)
    _ellipse(pen, face.x, face.chin + 11, 11, 6, shade)


def _head(pen: ImageDraw.ImageDraw, face: Face) -> None:
    for side in (-1, 1):
        _ellipse(pen, face.x + side * face.width, face.y + 2, 6, 8, _darker(face.skin, 0.1))
    pen.polygon(_outline(face), fill=face.skin)
    blush = _mix(face.skin, (236, 110, 96), 0.22)
    for side in (-1, 1):
        _ellipse(pen, face.x + side * 0.6 * face.width, face.y + 12, 6, 4, blush)


def _features(pen: ImageDraw.ImageDraw, face: Face) -> None:
    for side in (-1, 1):
        x = face.x + side * face.gap
        _ellipse(pen, x, face.eyes, 6.5, face.opening, WHITE)
        _ellipse(pen, x + face.gaze, face.eyes, 3.8, min(3.8, face.opening), face.iris)
        _ellipse(pen, x + face.gaze, face.eyes, 1.8, 1.8, (20, 18, 20))
        inner, outer = x - side * 6, x + side * 7
        y = face.eyes - face.brow
        brow = _darker(face.hair_colour, 0.25)
        pen.line((inner, y + face.tilt, outer, y - face.tilt), fill=brow, width=3)
    nose = _darker(face.skin, 0.22)
    pen.arc((face.x - 5, face.y + 2, face.x + 5, face.y + 10), 20, 160, fill=nose, width=3)


def _draw(face: Face) -> Image.Image:
    canvas = Image.new("RGB", (CANVAS, CANVAS), face.background)
    pen = ImageDraw.Draw(canvas)
    layers = (
        HAIR_BEHIND[face.hair], _body, _head, BEARDS[face.beard], _features, MOUTHS[face.mouth],
        HAIR_BEFORE[face.hair], GLASSES[face.glasses],
    )  # fmt: skip
    for layer in layers:
        layer(pen, face)
    return canvas.reduce(SCALE)


def draw(uniforms: NDArray[np.float64]) -> NDArray[np.uint8]:
    """One face per row of `uniforms` `[n, TRAITS]` in [0, 1): `[n, 32, 32, 3]`.

    Colours, styles of hair, mouth, beard and glasses, and the face's shape and place are independent. An image is a
    function of its own row alone.
    """
    images = np.empty((len(uniforms), SIDE, SIDE, 3), dtype=np.uint8)
    for image, row in zip(images, uniforms, strict=True):
        image[...] = np.asarray(_draw(_face(row)))
    return images
