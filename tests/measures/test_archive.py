"""Files of others: what is read, and what is refused."""

import gzip
import io
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from conjugate_moments.measures import _archive
from conjugate_moments.measures._archive import read_idx, read_pngs

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)


def packed(data):
    """Gzip without the time of day, which pytest would put into the names of the tests."""
    return gzip.compress(data, mtime=0)


def idx(array=PIXELS, kind=8, count=None, shape=None):
    shape = array.shape if shape is None else shape
    count = len(shape) if count is None else count
    return struct.pack(">HBB", 0, kind, count) + struct.pack(f">{len(shape)}I", *shape) + array.tobytes()


@pytest.mark.parametrize("pack", [bytes, packed])
def test_idx_is_read_compressed_or_not_whatever_its_name(tmp_path, pack):
    (tmp_path / "images.bin").write_bytes(pack(idx()))
    np.testing.assert_array_equal(read_idx(tmp_path / "images.bin"), PIXELS)


def corrupted(data, place=-8):
    """The same with one byte changed, by default within the checksum of gzip."""
    changed = bytearray(data)
    changed[place] ^= 0xFF
    return bytes(changed)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "found first bytes"),
        (b"\0\0\x08", "found first bytes 00 00 08"),
        (b"\x89PNG1234", "found first bytes 89 50 4e 47, allowed: an IDX array"),
        (idx(kind=0x0D), "found IDX type 0x0d, allowed: 0x08"),
        (idx(count=0), "found 0 dimensions, allowed: 1 to 4"),
        (idx(count=5), "found 5 dimensions"),
        (idx()[:10], "truncated in its header"),
        (idx(shape=(0, 4, 3)), r"found shape \(0, 4, 3\)"),
        (idx(shape=(2**32 - 1,) * 3), "allowed: 1 to 2147483648 bytes"),
        (idx()[:-1], "truncated, its header says"),
        (idx() + b"\0", "bytes after the array"),
        (packed(idx())[:-12], "corrupt gzip"),
        (corrupted(packed(idx())), "corrupt gzip"),
        (packed(idx()) + b"rest", "corrupt gzip"),
        (packed(idx() + b"\0"), "bytes after the array"),
    ],
)
def test_what_is_no_idx_array_is_refused_by_name(tmp_path, data, message):
    (tmp_path / "bad-images").write_bytes(data)
    with pytest.raises(ValueError, match=f"bad-images: .*{message}"):
        read_idx(tmp_path / "bad-images")


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_idx(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_pngs(tmp_path / "nowhere", size=4, channels=1)


def png(array, mode=None, **options):
    buffer = io.BytesIO()
    image = array if isinstance(array, Image.Image) else Image.fromarray(array, mode)
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def shade(value, size=4):
    return png(np.full((size, size), value, np.uint8))


FILES = {"b/2.png": shade(20), "a/10.png": shade(10), "c.png": shade(30), "a/table.csv": b"x", ".hidden.png": b"no"}


def as_folder(path, files):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def as_zip(path, files):
    with zipfile.ZipFile(path / "images", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path / "images"


def as_tar(path, files, mode="w"):
    with tarfile.open(path / "images", mode) as archive:
        for name, data in files.items():
            member = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path / "images"


def as_tgz(path, files):
    return as_tar(path, files, "w:gz")


PACKERS = [as_folder, as_zip, as_tar, as_tgz]


@pytest.mark.parametrize("pack", PACKERS)
def test_images_are_sorted_by_name_and_tables_and_hidden_files_passed_over(tmp_path, pack):
    path = pack(tmp_path, FILES)
    before = sorted(tmp_path.rglob("*"))
    images = read_pngs(path, size=4, channels=1)
    assert images.shape == (3, 4, 4, 1)
    assert images.dtype == np.uint8
    assert images[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert read_pngs(path, size=4, channels=3, limit=2)[:, 1, 2].tolist() == [[10] * 3, [20] * 3]
    assert sorted(tmp_path.rglob("*")) == before, "nothing is extracted"


def test_larger_images_are_averaged_in_blocks(tmp_path):
    tile = np.random.default_rng(1).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    as_folder(tmp_path, {"1.png": png(tile), "2.png": png(np.full((8, 8, 3), 77, np.uint8))})
    first, second = read_pngs(tmp_path, size=4, channels=3)
    blocks = tile.reshape(4, 3, 4, 3, 3).mean(axis=(1, 3))
    # Pillow rounds after each of its two passes.
    np.testing.assert_allclose(first, blocks, rtol=0, atol=1.01)
    assert np.all(second == 77)


RED = np.full((4, 4, 3), (200, 20, 60), np.uint8)
HALF = np.concatenate([RED, np.full((4, 4, 1), 102, np.uint8)], axis=2)
PALETTE = Image.fromarray(RED).convert("P", palette=Image.Palette.ADAPTIVE)


@pytest.mark.parametrize(
    ("data", "colour"),
    [
        (png(RED), (200, 20, 60)),
        (png(PALETTE), (200, 20, 60)),
        (png(PALETTE, transparency=0), (255, 255, 255)),
        (png(RED, transparency=(200, 20, 60)), (255, 255, 255)),
        (png(HALF), (233, 161, 177)),  # 0.4 of the colour, 0.6 of white
        (png(np.full((4, 4), 90, np.uint8)), (90, 90, 90)),
        (png(np.full((4, 4, 2), (90, 0), np.uint8), "LA"), (255, 255, 255)),
        (png(Image.new("1", (4, 4), 1)), (255, 255, 255)),
        (png(Image.new("1", (4, 4), 0)), (0, 0, 0)),
    ],
)
def test_every_kind_of_png_has_its_colour(tmp_path, data, colour):
    as_folder(tmp_path, {"1.png": data})
    np.testing.assert_array_equal(read_pngs(tmp_path, size=4, channels=3)[0], np.broadcast_to(colour, (4, 4, 3)))
    luma = np.dot(colour, (0.299, 0.587, 0.114))
    assert abs(int(read_pngs(tmp_path, size=4, channels=1)[0, 0, 0, 0]) - luma) <= 1


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def claiming(width, height, depth=8):
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return _archive.PNG_MAGIC + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def jpeg():
    buffer = io.BytesIO()
    Image.fromarray(RED).save(buffer, "JPEG")
    return buffer.getvalue()


def animation():
    frames = [Image.new("L", (4, 4), value) for value in (0, 255)]
    return png(frames[0], save_all=True, append_images=frames[1:])


BAD_IMAGES = [
    (b"", "found no PNG file"),
    (jpeg(), "found no PNG file, allowed: PNG, whatever the name says"),
    (b"<svg/>" + bytes(40), "found no PNG file"),
    (shade(1)[:-20], "corrupt PNG file"),
    (shade(1)[:-4], "corrupt PNG file"),
    (shade(1)[:40], "corrupt PNG file"),
    (corrupted(shade(1), 45), "corrupt PNG file"),
    (claiming(4, 4), "corrupt PNG file"),
    (claiming(100_000, 100_000), "found 100000×100000 pixels, allowed: squares of 4 to 4096"),
    (png(np.zeros((5, 4), np.uint8)), "found 4×5 pixels, allowed: squares"),
    (shade(1, size=3), "found 3×3 pixels, allowed: squares of 4"),
    (png(np.full((4, 4), 40_000, np.uint16)), "found 16 bits a channel, allowed: 1 to 8"),
    (claiming(4, 4, depth=16), "found 16 bits"),
    (animation(), "found an animation"),
]


@pytest.mark.parametrize(("data", "message"), BAD_IMAGES)
def test_bad_images_are_refused_by_name(tmp_path, data, message):
    path = as_zip(tmp_path, {"1.png": shade(1), "odd.png": data})
    with pytest.raises(ValueError, match=f"images: odd.png: {message}"):
        read_pngs(path, size=4, channels=1)


@pytest.mark.parametrize("pack", PACKERS)
def test_a_file_that_is_no_png_is_refused_whatever_its_name(tmp_path, pack):
    with pytest.raises(ValueError, match=r"photo\.jpg: found no PNG file"):
        read_pngs(pack(tmp_path, FILES | {"photo.jpg": jpeg()}), size=4, channels=1)
    assert len(read_pngs(as_zip(tmp_path, FILES | {"photo.jpg": shade(4)}), size=4, channels=1)) == 4


@pytest.mark.parametrize("pack", [as_zip, as_tar, as_tgz])
@pytest.mark.parametrize("name", ["/etc/x.png", "../x.png", "a/../../x.png", "..\\x.png", "C:/x.png", "/x.csv"])
def test_paths_out_of_the_archive_are_refused(tmp_path, pack, name):
    with pytest.raises(ValueError, match="found a path out of the archive"):
        read_pngs(pack(tmp_path, {"1.png": shade(1), name: shade(2)}), size=4, channels=1)


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (tarfile.SYMTYPE, "link"),
        (tarfile.LNKTYPE, "link"),
        (tarfile.FIFOTYPE, "device"),
        (tarfile.CHRTYPE, "device"),
        (tarfile.BLKTYPE, "device"),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind, word):
    evil = tarfile.TarInfo("evil.png")
    evil.type, evil.linkname = kind, "/etc/passwd"
    with pytest.raises(ValueError, match=rf"evil\.png: found a {word}, allowed: plain files"):
        read_pngs(as_tar(tmp_path, {"1.png": shade(1), evil: b""}), size=4, channels=1)


def test_links_and_encrypted_files_in_a_zip_are_refused(tmp_path):
    for attribute, value, word in (("external_attr", 0o120777 << 16, "link"), ("compress_type", 12, "file encrypted")):
        evil = zipfile.ZipInfo("evil.png")
        setattr(evil, attribute, value)
        with zipfile.ZipFile(tmp_path / "images", "w") as archive:
            archive.writestr(evil, b"/etc/passwd")
        with pytest.raises(ValueError, match=rf"evil\.png: found a {word}"):
            read_pngs(tmp_path / "images", size=4, channels=1)


def test_links_in_a_folder_are_refused(tmp_path):
    outside = tmp_path / "outside.png"
    outside.write_bytes(shade(1))
    folder = as_folder(tmp_path / "folder", FILES)
    (folder / "evil.png").symlink_to(outside)
    with pytest.raises(ValueError, match=r"evil\.png: found a link"):
        read_pngs(folder, size=4, channels=1)


@pytest.mark.parametrize("pack", PACKERS)
def test_no_images_are_refused(tmp_path, pack):
    with pytest.raises(ValueError, match="found no images"):
        read_pngs(pack(tmp_path, {"table.csv": b"1"}), size=4, channels=1)


def test_a_name_twice_is_refused(tmp_path):
    members = {tarfile.TarInfo("1.png"): shade(1), tarfile.TarInfo("2.png"): shade(2)}
    list(members)[1].name = "1.png"
    with pytest.raises(ValueError, match="found one name twice"):
        read_pngs(as_tar(tmp_path, members), size=4, channels=1)


def test_sizes_are_limited_by_what_the_headers_say(tmp_path, monkeypatch):
    path = as_tgz(tmp_path, {"1.png": shade(1), "2.png": bytes(10_000)})
    monkeypatch.setattr(_archive, "LARGEST_FILE", 5_000)
    with pytest.raises(ValueError, match=r"2\.png: found 10000 bytes"):
        read_pngs(path, size=4, channels=1)
    monkeypatch.setattr(_archive, "LARGEST_FILE", 20_000)
    monkeypatch.setattr(_archive, "LARGEST_ARCHIVE", 10_050)
    with pytest.raises(ValueError, match=r"so far\), allowed: 20000 \(in all 10050\)"):
        read_pngs(path, size=4, channels=1)


def test_a_compressed_text_chunk_cannot_blow_up(tmp_path):
    bomb = chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(2**25)))
    data = shade(1)
    (tmp_path / "1.png").write_bytes(data[:33] + bomb + data[33:])
    with pytest.raises(ValueError, match=r"1\.png"):
        read_pngs(tmp_path, size=4, channels=1)


def outcome(path):
    """The images, or the message of the one error that is allowed."""
    try:
        return read_pngs(path, size=4, channels=1)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("pack", [as_zip, as_tar, as_tgz])
def test_every_truncation_is_refused_or_changes_nothing(tmp_path, pack):
    """Only the padding of a tar may be missing."""
    path = pack(tmp_path, FILES)
    whole, expected = path.read_bytes(), read_pngs(path, size=4, channels=1)
    accepted = 0
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        found = outcome(path)
        if isinstance(found, str):
            assert found.startswith(str(path))
        else:
            accepted += 1
            np.testing.assert_array_equal(found, expected)
    assert pack is as_tar or accepted == 0


@pytest.mark.parametrize("pack", [as_zip, as_tar, as_tgz])
def test_a_changed_byte_gives_images_or_a_named_error(tmp_path, pack):
    path = pack(tmp_path, FILES)
    whole = path.read_bytes()
    refused = 0
    for place in np.random.default_rng(2).integers(0, len(whole), 150):
        path.write_bytes(corrupted(whole, place))
        found = outcome(path)
        refused += isinstance(found, str)
        assert found.startswith(str(path)) if isinstance(found, str) else found.shape[1:] == (4, 4, 1)
    assert refused > 0


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "notes").write_text("nothing here " * 100)
    with pytest.raises(ValueError, match=r"notes: corrupt, or no zip, tar, tar\.gz or folder"):
        read_pngs(tmp_path / "notes", size=4, channels=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size: found 0"),
        ({"size": 5000}, "size: found 5000, allowed: 1 to 4096"),
        ({"channels": 4}, "channels: found 4, allowed: 1"),
        ({"limit": 0}, "limit: found 0"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        read_pngs(tmp_path, **({"size": 4, "channels": 1} | arguments))
