"""Downloads from a server of the tests' own, on the loopback interface."""

import errno
import fcntl
import hashlib
import http.server
import re
import threading
from pathlib import Path

import pytest

from conjugate_moments.measures import _fetch
from conjugate_moments.measures._fetch import CARTOON, MNIST_TEST, MNIST_TRAIN, Remote, cache_folder, fetch

CONTENT = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends the server's `content`, at most `budget` bytes a request, and answers ranges if `ranges`."""

    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.requests.append((self.path, wanted))
        if self.path != "/file.gz":
            self.send_error(404)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and server.ranges else 0
        if start >= len(server.content):
            self.send_error(416)
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.budget])

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(_fetch, "PAUSE", 0.01)
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.content, running.budget, running.ranges, running.requests = CONTENT, len(CONTENT), True, []
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def remote(server, *paths, sha256=SHA256):
    base = f"http://127.0.0.1:{server.server_address[1]}"
    return Remote("file.gz", sha256, tuple(f"{base}{path}" for path in paths or ("/file.gz",)))


def contents(folder):
    """Names of the files that are left, but for the lock."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_file_is_fetched_once(server, tmp_path):
    cache = tmp_path / "new" / "cache"
    path = fetch(remote(server), cache)
    assert path == cache / "file.gz"
    assert path.read_bytes() == CONTENT
    assert contents(cache) == ["file.gz"]
    fetch(remote(server), cache)
    assert server.requests == [("/file.gz", None)]


def test_a_file_put_there_by_hand_needs_no_network_and_nothing_is_written(tmp_path):
    (tmp_path / "file.gz").write_bytes(CONTENT)
    assert fetch(Remote("file.gz", SHA256, ("http://127.0.0.1:9/file.gz",)), tmp_path).read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["file.gz"]


def test_an_interrupted_download_is_continued(server, tmp_path):
    server.budget = 30_000
    path = fetch(remote(server), tmp_path)
    assert path.read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [None, "bytes=30000-", "bytes=60000-", "bytes=90000-"]


def test_it_is_continued_in_another_run(server, tmp_path):
    server.budget = 20_000
    with pytest.raises(ConnectionError, match=r"file\.gz failed 4 times .*get it by hand"):
        fetch(remote(server), tmp_path)
    assert contents(tmp_path) == [".file.gz.part"]
    assert (tmp_path / ".file.gz.part").read_bytes() == CONTENT[:80_000]
    server.requests.clear()
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == ["bytes=80000-", "bytes=100000-"]


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.ranges = False
    (tmp_path / ".file.gz.part").write_bytes(CONTENT[:1000])
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.requests == [("/file.gz", "bytes=1000-")]
    assert contents(tmp_path) == ["file.gz"]


@pytest.mark.parametrize("left", [b"of another file", CONTENT + b"more", CONTENT])
def test_what_an_earlier_run_left_and_does_not_fit_is_dropped(server, tmp_path, left):
    (tmp_path / ".file.gz.part").write_bytes(left)
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
    assert contents(tmp_path) == ["file.gz"]


def test_a_wrong_checksum_is_refused_and_not_kept(server, tmp_path):
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(ValueError, match=rf"^file\.gz: .*another SHA-256, not kept; get it by hand .*{SHA256}$"):
        fetch(remote(server), tmp_path)
    assert contents(tmp_path) == []


def test_a_wrong_file_that_was_there_is_kept_aside(server, tmp_path):
    (tmp_path / "file.gz").write_bytes(b"wrong")
    with pytest.warns(UserWarning, match=r"file\.gz: had another SHA-256, is now file\.gz\.wrong"):
        fetch(remote(server), tmp_path)
    assert contents(tmp_path) == ["file.gz", "file.gz.wrong"]
    assert (tmp_path / "file.gz.wrong").read_bytes() == b"wrong"


def test_the_next_address_is_tried(server, tmp_path):
    assert fetch(remote(server, "/elsewhere.gz", "/file.gz"), tmp_path).read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == ["/elsewhere.gz", "/file.gz"]


def test_no_network_is_told_in_one_line_that_says_what_to_do(server, tmp_path):
    away = Remote("file.gz", SHA256, ("http://127.0.0.1:9/file.gz",))
    with pytest.raises(ConnectionError) as error:
        fetch(away, tmp_path)
    message = str(error.value)
    assert "\n" not in message
    for part in ("http://127.0.0.1:9/file.gz failed 4 times", f"as {tmp_path / 'file.gz'}", f"SHA-256 {SHA256}"):
        assert part in message
    with pytest.raises(ConnectionError, match="answers 404"):
        fetch(remote(server, "/elsewhere.gz"), tmp_path)
    assert len(server.requests) == 1, "what is not there is asked for once"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_nothing(server, tmp_path, monkeypatch, code):
    def full(response, file):
        file.write(response.read(1000))
        raise OSError(code, "No space left on device")

    monkeypatch.setattr(_fetch, "_copy", full)
    with pytest.raises(OSError, match=r"disk full, nothing was kept of file\.gz; CONJUGATE_MOMENTS_CACHE") as error:
        fetch(remote(server), tmp_path)
    assert error.value.errno == code
    assert contents(tmp_path) == []


def test_two_jobs_at_once_fetch_it_once(server, tmp_path):
    with (tmp_path / ".file.gz.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        jobs = [threading.Thread(target=fetch, args=(remote(server), tmp_path)) for _ in range(2)]
        for job in jobs:
            job.start()
    for job in jobs:
        job.join()
    assert (tmp_path / "file.gz").read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_the_cache_is_chosen_by_argument_then_environment_then_platform(tmp_path, monkeypatch):
    monkeypatch.setenv(_fetch.CACHE_VARIABLE, str(tmp_path / "there"))
    assert cache_folder(tmp_path / "here") == tmp_path / "here"
    assert cache_folder() == tmp_path / "there"
    monkeypatch.delenv(_fetch.CACHE_VARIABLE)
    assert cache_folder().name == "conjugate-moments"
    assert isinstance(cache_folder(), Path)


@pytest.mark.parametrize("known", [MNIST_TRAIN, MNIST_TEST, CARTOON])
def test_known_files_have_a_checksum_and_secure_addresses(known):
    assert re.fullmatch("[0-9a-f]{64}", known.sha256)
    assert all(address.startswith("https://") and address.endswith(known.name) for address in known.addresses)


def test_the_sets_are_asked_for_in_the_chosen_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(_fetch, "fetch", lambda known, folder: folder / known.name)
    names = [path.name for path in _fetch.mnist_files(tmp_path)]
    assert names == ["train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"]
    assert _fetch.cartoon_file(tmp_path) == tmp_path / "cartoonset10k.tgz"
