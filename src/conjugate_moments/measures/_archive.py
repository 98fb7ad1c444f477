"""Images from files of others: IDX arrays, and PNG files in a folder, a zip or a tar.

Such files are not trusted. Nothing is written to disk, members are read in memory, and every size is held against a
limit before anything of that size is read.
"""

from __future__ import annotations

import errno
import gzip
import math
import struct
import tarfile
import warnings
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGIC = b"PK\3\4"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
PNG_END = b"IEND\xaeB`\x82"
LARGEST_ARRAY = 2**31  # bytes of an IDX array
LARGEST_FILE = 2**26  # bytes of one PNG file
LARGEST_ARCHIVE = 2**35  # bytes of all members
LARGEST_SIDE = 4096  # pixels
PADDING = 2**20  # bytes behind a tar that are looked at; writers fill up to 10 kB with zeros
BYTE_ARRAY = 8  # the IDX code of unsigned bytes

# What the standard library raises on broken archives.
BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    UnicodeError,
)


def read_idx(path: str | Path) -> NDArray[np.uint8]:
    """An IDX array of unsigned bytes, the format of MNIST; gzipped or not, which its first bytes tell.

    Raises:
      ValueError: if the file is no such array: wrong magic or type, no dimensions, truncated, too long, corrupt.
      OSError: if it cannot be read.
    """
    path = Path(path)
    try:
        with path.open("rb") as raw:
            compressed = cast("BufferedReader", raw).peek(2)[:2] == GZIP_MAGIC
            return _idx(cast("IO[bytes]", gzip.open(raw) if compressed else raw), path)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: corrupt gzip file ({error})") from None


def _idx(stream: IO[bytes], path: Path) -> NDArray[np.uint8]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise ValueError(f"{path}: found first bytes {magic.hex(' ')}, allowed: an IDX array, 00 00 08 and dimensions")
    kind, count = magic[2], magic[3]
    if kind != BYTE_ARRAY:
        raise ValueError(f"{path}: found IDX type 0x{kind:02x}, allowed: 0x08, unsigned bytes")
    if not 1 <= count <= 4:
        raise ValueError(f"{path}: found {count} dimensions, allowed: 1 to 4")
    header = stream.read(4 * count)
    if len(header) < 4 * count:
        raise ValueError(f"{path}: truncated in its header")
    shape = tuple(np.frombuffer(header, dtype=">u4").tolist())
    size = math.prod(shape)
    if not 1 <= size <= LARGEST_ARRAY:
        raise ValueError(f"{path}: found shape {shape}, allowed: 1 to {LARGEST_ARRAY} bytes")
    data = stream.read(size + 1)
    if len(data) != size:
        fault = "truncated" if len(data) < size else "bytes after the array"
        raise ValueError(f"{path}: {fault}, its header says shape {shape}, {size} bytes")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape).copy()


def read_pngs(path: str | Path, *, size: int, channels: int, limit: int | None = None) -> NDArray[np.uint8]:
    """Square PNG images from a zip, a tar (gzipped or not) or a folder, `[n, size, size, channels]`, sorted by name.

    Tables (.csv) and hidden files are passed over; all else has to be a PNG file, whatever its name. Alpha is
    composited on white, palettes are resolved, colour becomes grey by luma and grey becomes colour by repetition;
    colour profiles are ignored. Larger images are averaged down (Pillow's box filter), each from its own size.

    Args:
      path: archive or folder.
      size: side of the result, pixels.
      channels: 1 (grey) or 3 (RGB).
      limit: read only the first so many names; None for all.

    Raises:
      ValueError: if `size`, `channels` or `limit` make no sense; if the archive is corrupt or too large, has no images,
        has members that are no plain files within it (absolute or climbing paths, links, devices), or has a name
        twice; if an image is no PNG, corrupt, of 16 bits, animated, not square, smaller than `size` or larger than
        4,096 pixels.
      OSError: if the path cannot be read.
    """
    path = Path(path)
    if not 1 <= size <= LARGEST_SIDE:
        raise ValueError(f"size: found {size}, allowed: 1 to {LARGEST_SIDE}")
    if channels not in (1, 3):
        raise ValueError(f"channels: found {channels}, allowed: 1 (grey) or 3 (RGB)")
    if limit is not None and limit < 1:
        raise ValueError(f"limit: found {limit}, allowed: at least 1, or None")
    try:
        with _opened(path) as source:
            names = _image_names(source.members(), path)[:limit]
            images = np.empty((len(names), size, size, channels), dtype=np.uint8)
            places = {name: place for place, name in enumerate(names)}
            for name, data in source.contents(places):
                images[places[name]] = _pixels(data, f"{path}: {name}", size, channels)
    except (*BROKEN, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, BROKEN) and error.errno != errno.EINVAL:
            raise  # of the disk, not of the archive: EINVAL is a seek to a place before the first byte
        raise ValueError(f"{path}: corrupt, or no zip, tar, tar.gz or folder ({error})") from None
    return images


@dataclass(frozen=True)
class _Member:
    """A file inside an archive, as its header has it: `kind` is empty for a plain file, else says what it is."""

    name: str
    size: int
    kind: str = ""


class _Source(ABC):
    """Something that holds files."""

    def __enter__(self) -> _Source:
        return self

    @abstractmethod
    def __exit__(self, *details: object) -> None: ...

    @abstractmethod
    def members(self) -> Iterable[_Member]:
        """All of them but folders."""

    @abstractmethod
    def contents(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Names with their files, in the order of the archive."""


class _Folder(_Source):
    def __init__(self, path: Path) -> None:
        self.path = path

    def __exit__(self, *details: object) -> None: ...

    def members(self) -> Iterable[_Member]:
        for file in self.path.rglob("*"):
            if file.is_symlink() or not (file.is_dir() or file.is_file()):
                yield _Member(file.relative_to(self.path).as_posix(), 0, "link" if file.is_symlink() else "device")
            elif file.is_file():
                yield _Member(file.relative_to(self.path).as_posix(), file.stat().st_size)

    def contents(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        for name in names:
            yield name, (self.path / name).read_bytes()


class _Zip(_Source):
    def __init__(self, path: Path) -> None:
        self.archive = zipfile.ZipFile(path)

    def __exit__(self, *details: object) -> None:
        self.archive.close()

    def members(self) -> Iterable[_Member]:
        for member in self.archive.infolist():
            mode = member.external_attr >> 28  # the Unix file type, where the archive has one
            kind = {0xA: "link", 0x2: "device", 0x6: "device", 0x1: "device"}.get(mode, "")
            if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                kind = "file encrypted or of a rare compression"
            if not member.filename.endswith("/"):
                yield _Member(member.filename, member.file_size, kind)

    def contents(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        for name in names:
            yield name, self.archive.read(name)


class _Tar(_Source):
    """A plain or gzipped one."""

    def __init__(self, path: Path) -> None:
        self.file = gzip.open(path) if _magic(path)[:2] == GZIP_MAGIC else path.open("rb")  # noqa: SIM115
        try:
            self.archive = tarfile.open(fileobj=self.file, mode="r:")  # noqa: SIM115 (closed by __exit__)
        except BaseException:
            self.file.close()
            raise

    def __exit__(self, *details: object) -> None:
        self.file.close()

    def members(self) -> Iterable[_Member]:
        for member in self.archive:
            if not member.isdir():
                linked = member.issym() or member.islnk()
                yield _Member(member.name, member.size, "" if member.isreg() else "link" if linked else "device")
        # tarfile takes a broken header for the end, and does not ask whether a gzip stream is whole.
        self.file.seek(self.archive.offset)
        if self.file.read(PADDING).strip(b"\0"):
            raise tarfile.ReadError(f"broken header at byte {self.archive.offset}")

    def contents(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        for member in self.archive.getmembers():  # in order of the file: a gzipped one is rewound only once
            if member.name in names:
                stream = self.archive.extractfile(member)
                assert stream is not None, "links and devices were refused before"
                yield member.name, stream.read()


def _magic(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _opened(path: Path) -> _Source:
    if path.is_dir():
        return _Folder(path)
    return _Zip(path) if _magic(path) == ZIP_MAGIC else _Tar(path)


def _image_names(members: Iterable[_Member], path: Path) -> list[str]:
    """Names of the images, sorted; every member is held against the rules, those that are passed over too."""
    names: list[str] = []
    total = 0
    for member in members:
        place = f"{path}: {member.name}"
        parts = PurePosixPath(member.name).parts
        windows = PureWindowsPath(member.name)  # knows all separators, and drives
        if windows.anchor or ".." in windows.parts:
            raise ValueError(f"{place}: found a path out of the archive, allowed: relative paths without ..")
        if member.kind:
            raise ValueError(f"{place}: found a {member.kind}, allowed: plain files")
        total += member.size
        if member.size > LARGEST_FILE or total > LARGEST_ARCHIVE:
            raise ValueError(f"{place}: found {member.size} bytes ({total} so far), "
                             f"allowed: {LARGEST_FILE} (in all {LARGEST_ARCHIVE})")  # fmt: skip
        if not (any(part.startswith(".") or part == "__MACOSX" for part in parts) or member.name.endswith(".csv")):
            names.append(member.name)
    if not names:
        raise ValueError(f"{path}: found no images, allowed: at least one PNG file")
    if len(set(names)) < len(names):
        raise ValueError(f"{path}: found one name twice, allowed: names that differ")
    return sorted(names)


def _pixels(data: bytes, place: str, size: int, channels: int) -> NDArray[np.uint8]:
    """One image, `[size, size, channels]`."""
    _check_header(data, place, size)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Pillow warns of animations that it cannot read
            with Image.open(BytesIO(data), formats=["PNG"]) as check:
                check.verify()  # all checksums; the image itself cannot be read after it
            with Image.open(BytesIO(data), formats=["PNG"]) as image:
                image.load()
                moving = getattr(image, "is_animated", False)
                whole = _flattened(image).convert("L" if channels == 1 else "RGB")
    except (OSError, SyntaxError, ValueError, EOFError, UserWarning, zlib.error, struct.error) as error:
        raise ValueError(f"{place}: corrupt PNG file ({error})") from None
    if moving:
        raise ValueError(f"{place}: found an animation, allowed: still images")
    resized = whole if whole.width == size else whole.resize((size, size), Image.Resampling.BOX)
    return np.asarray(resized).reshape(size, size, channels)


def _check_header(data: bytes, place: str, size: int) -> None:
    if data[:8] != PNG_MAGIC or data[12:16] != b"IHDR" or len(data) < 33:
        raise ValueError(f"{place}: found no PNG file, allowed: PNG, whatever the name says")
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    if width != height or not size <= width <= LARGEST_SIDE:
        raise ValueError(f"{place}: found {width}×{height} pixels, allowed: squares of {size} to {LARGEST_SIDE}")
    if data[24] == 16:
        raise ValueError(f"{place}: found 16 bits a channel, allowed: 1 to 8")
    if PNG_END not in data:
        raise ValueError(f"{place}: corrupt PNG file (truncated)")


def _flattened(image: Image.Image) -> Image.Image:
    """The image on white, if any of it is transparent."""
    if not image.has_transparency_data:
        return image
    coloured = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), coloured)
