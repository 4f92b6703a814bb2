"""Object storage in memory: a file system for fsspec (hence etils.epath) and Google's HTTP interface to it.

orbax writes its small files through epath and its arrays through TensorStore, which speaks HTTP; both find
the same objects here. As in object storage there are no folders: one exists while it holds something.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Lock, Thread
from urllib.parse import parse_qs, unquote, urlsplit

from fsspec.implementations.memory import MemoryFileSystem


class FakeBuckets(MemoryFileSystem):
    """What gcsfs is to Google's storage and s3fs to Amazon's, as far as epath needs it."""

    protocol = ("gcs", "gs", "s3")
    store: dict = {}
    pseudo_dirs: list = [""]

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + re.sub(r"^(gs|s3)://", "", str(path)).strip("/")

    def mkdir(self, path, create_parents=True, **kwargs):
        pass

    def makedirs(self, path, exist_ok=False):
        pass


class Handler(BaseHTTPRequestHandler):
    """Reading, writing, deleting and listing objects, whose generations make writes conditional."""

    protocol_version = "HTTP/1.1"
    lock, numbers = Lock(), count(1)
    generations: dict[str, int] = {}

    def do_GET(self):
        bucket, name, query = self._request()
        if name is None:
            return self._list(bucket, query)
        with self.lock:
            data, generation = self._read(f"/{bucket}/{name}")
        if data is None:
            return self._answer(404, b"{}")
        if query.get("ifGenerationNotMatch") == str(generation):
            return self._answer(304, b"")
        if not (wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))):
            return self._answer(200, data, generation)
        first, last = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
        return self._answer(206, data[first : last + 1], generation, f"bytes {first}-{last}/{len(data)}")

    def do_POST(self):
        bucket, _, query = self._request()
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = f"/{bucket}/{query['name']}"
        with self.lock:
            _, generation = self._read(path)
            if query.get("ifGenerationMatch", str(generation)) != str(generation):
                return self._answer(412, b"{}")
            FakeBuckets(skip_instance_cache=True).pipe_file(path, data)
            self.generations[path] = next(self.numbers)
            _, generation = self._read(path)
        return self._answer(200, json.dumps({"name": query["name"], "generation": str(generation)}).encode())

    def do_DELETE(self):
        bucket, name, _ = self._request()
        with self.lock:
            found = FakeBuckets.store.pop(f"/{bucket}/{name}", None)
        self._answer(404 if found is None else 204, b"")

    def log_message(self, *args):
        pass

    def _request(self) -> tuple[str, str | None, dict]:
        url = urlsplit(self.path)
        bucket, name = re.fullmatch(r".*/b/([^/]+)/o(?:/(.*))?", url.path).groups()
        return bucket, name and unquote(name), {key: values[0] for key, values in parse_qs(url.query).items()}

    def _read(self, path: str) -> tuple[bytes | None, int]:
        """Content and generation; None and 0 where there is no such object."""
        if path not in FakeBuckets.store:
            return None, 0
        # What epath wrote has no generation yet.
        return FakeBuckets.store[path].getvalue(), self.generations.setdefault(path, next(self.numbers))

    def _list(self, bucket: str, query: dict) -> None:
        start = f"/{bucket}/"
        names = sorted(path.removeprefix(start) for path in FakeBuckets.store if path.startswith(start))
        names = [name for name in names if name.startswith(query.get("prefix", ""))]
        items = [{"name": name, "generation": "1", "size": "0"} for name in names]
        self._answer(200, json.dumps({"items": items}).encode())

    def _answer(self, status: int, body: bytes, generation: int = 0, content_range: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if generation:
            self.send_header("x-goog-generation", str(generation))
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def fake_google_storage() -> Iterator[str]:
    """Serves the buckets; yields the address of the server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        FakeBuckets.store.clear()
        Handler.generations.clear()
