"""The files of MNIST and of Google's Cartoon Set: downloaded once, checked, kept in a cache folder.

Nothing here is called unless a configuration names these data sets. Only images are fetched; labels are not used.
Checksums are those that others state; no file could be downloaded where this was written, so none was recomputed.
"""

from __future__ import annotations

import errno
import http.client
import os
import ssl
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

CACHE_VARIABLE = "CONJUGATE_MOMENTS_CACHE"
ATTEMPTS = 4  # for one address
PAUSE = 1.0  # seconds before the second attempt; 3 and 7 times that before the next
TIMEOUT = 30.0  # seconds without a byte
BLOCK = 2**20


@dataclass(frozen=True)
class Remote:
    """A file and where it may be had.

    Args:
      name: in the cache folder.
      sha256: of its content, hexadecimal.
      addresses: tried in order.
    """

    name: str
    sha256: str
    addresses: tuple[str, ...]


def _mnist(name: str, sha256: str) -> Remote:
    hosts = ("https://storage.googleapis.com/cvdf-datasets/mnist", "https://ossci-datasets.s3.amazonaws.com/mnist")
    return Remote(name, sha256, tuple(f"{host}/{name}" for host in hosts))


# Several public readers of MNIST state these sums alike.
MNIST_TRAIN = _mnist("train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609")
MNIST_TEST = _mnist("t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6")

# Google states no checksum for its own copy; this copy's host does, at the revision that the address names.
CARTOON = Remote(
    "cartoonset10k.tgz",
    "902145ad5096af10ca9ee200b648e2a60e8b6b83dd2f4dc5356817988be8ff43",
    (
        "https://huggingface.co/datasets/cgarciae/cartoonset/resolve/"
        "278f0d5018eacc4d7f1f8529ecd209251e7c6678/data/cartoonset10k.tgz",
    ),
)


def mnist_files(cache: str | Path | None = None) -> tuple[Path, Path]:
    """The images of MNIST (LeCun, Cortes & Burges), gzipped IDX: 60,000 for training, 10,000 for tests, 12 MB.

    Args:
      cache: folder; None for the environment's `CONJUGATE_MOMENTS_CACHE`, or the platform's cache folder.

    Raises:
      ConnectionError: if no address gave the file; the message says what to put where by hand.
      ValueError: if what came has another checksum; it is not kept.
      OSError: if the folder cannot be written, or the disk is full.
    """
    folder = cache_folder(cache)
    return fetch(MNIST_TRAIN, folder), fetch(MNIST_TEST, folder)


def cartoon_file(cache: str | Path | None = None) -> Path:
    """Google's Cartoon Set (CC BY 4.0), 10,000 PNG files of 500×500 pixels in one tar.gz of 477 MB.

    It is taken from a copy whose host states its SHA-256. If Google's own archive has another checksum, which we could
    not try, it is refused.

    Args:
      cache: as for `mnist_files`, with the same errors.
    """
    return fetch(CARTOON, cache_folder(cache))


def cache_folder(cache: str | Path | None = None) -> Path:
    """Where downloads are kept: `cache`, else the environment's choice, else the platform's folder for caches."""
    if cache is not None:
        return Path(cache)
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("conjugate-moments"))


def fetch(remote: Remote, folder: Path) -> Path:
    """The file in `folder`, downloaded if it is not there with the right checksum.

    A file of that name with another checksum is kept aside, as `name.wrong`. Jobs that want the same file at the
    same time wait for each other. Errors as for `mnist_files`.
    """
    target = folder / remote.name
    if _fits(target, remote):  # before anything is written: the folder may be shared and read-only
        return target
    part = folder / f".{remote.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f".{remote.name}.lock"):
            if target.exists() and not _fits(target, remote):
                target.replace(folder / f"{remote.name}.wrong")
                warnings.warn(f"{target}: had another SHA-256, is now {remote.name}.wrong", stacklevel=2)
            return _from_any(remote, target, part)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        part.unlink(missing_ok=True)
        message = f"disk full, nothing was kept of {remote.name}; {CACHE_VARIABLE} can name a folder other than"
        raise OSError(error.errno, message, str(folder)) from None


def _fits(target: Path, remote: Remote) -> bool:
    import pooch

    return target.exists() and pooch.file_hash(str(target)) == remote.sha256


def _from_any(remote: Remote, target: Path, part: Path) -> Path:
    import pooch

    downloader = cast("Any", partial(download, part=part))
    # What an earlier run left may be of another file: then the first address is needed once more, from its first byte.
    addresses = remote.addresses + remote.addresses[:1] * part.exists()
    faults: list[str] = []
    error_type: type[Exception] = ConnectionError
    for address in addresses:
        try:
            known = f"sha256:{remote.sha256}"
            return Path(pooch.retrieve(address, known, remote.name, target.parent, downloader=downloader))
        except ConnectionError as error:
            faults.append(str(error))
        except ValueError:  # pooch's word for a wrong checksum, after which it has removed the file
            faults.append(f"{address} sent a file of another SHA-256, not kept")
            error_type = ValueError
    by_hand = f"get it by hand from {' or '.join(remote.addresses)}, as {target}, SHA-256 {remote.sha256}"
    raise error_type(f"{remote.name}: {'; '.join(faults)}; {by_hand}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl  # Unix only

    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # given back when the file is closed, and when the process dies
        yield


def download(url: str, output_file: str, pooch: object = None, *, part: Path) -> None:
    """Download for pooch, which checks the result: an interrupted one is continued where the server can.

    Args:
      url: address.
      output_file: path of the result.
      pooch: not used; downloaders are given it.
      part: where to keep what has arrived until all of it is there, in the same folder.

    Raises:
      ConnectionError: if all attempts fail; `part` is kept.
    """
    fault: Exception | None = None
    for attempt in range(ATTEMPTS):
        time.sleep(PAUSE * (2**attempt - 1))
        try:
            _continue(url, part)
            part.replace(output_file)
            return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink(missing_ok=True)  # as long as the file itself, or longer: of no use
            elif error.code < 500:
                raise ConnectionError(f"{url} answers {error.code} {error.reason}") from None
            fault = error
        except (urllib.error.URLError, http.client.HTTPException, ssl.SSLError, ConnectionError, TimeoutError) as error:
            fault = error
    raise ConnectionError(f"{url} failed {ATTEMPTS} times ({fault})")


def _continue(url: str, part: Path) -> None:
    """Append to `part` what is missing of it.

    Raises:
      http.client.IncompleteRead: if the server stops before the length that it announced.
    """
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        # A server may ignore the range, or answer with another one: then all is taken anew.
        resumes = response.headers.get("Content-Range", "").startswith(f"bytes {have}-") and response.status == 206
        with part.open("ab" if resumes else "wb") as file:
            _copy(response, file)


def _copy(response: http.client.HTTPResponse, file: IO[bytes]) -> None:
    announced, received = response.headers.get("Content-Length"), 0
    while block := response.read(BLOCK):
        file.write(block)
        received += len(block)
    if announced is not None and received < int(announced):
        raise http.client.IncompleteRead(b"", int(announced) - received)
