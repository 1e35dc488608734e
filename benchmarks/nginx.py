"""nginx as a receiver that is never the limit: one process in the foreground on the loopback, 204 for every POST, no log.

It counts by itself (stub_status), and its connections stay open for as long as the sender likes.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.server import free_port

START_WITHIN, STOP_WITHIN = 10.0, 10.0
STATUS = "/status"

# The paths of the temporary files are all named, as those built in belong to the system's own nginx.
CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = {status} {{ stub_status; }}
        location / {{ return 204; }}
    }}
}}
"""

_COUNTERS = re.compile(rb"requests\s+(\d+) \d+ (\d+)")


class Nginx:
    """A running nginx: ``url`` takes the requests, ``count`` says how many it has had."""

    name = "nginx"

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self._status = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self._asked = 0  # nginx counts these questions too

    def count(self) -> int:
        self._status.request("GET", STATUS)
        text = self._status.getresponse().read()
        self._asked += 1
        counters = _COUNTERS.search(text)
        assert counters is not None, text
        return int(counters[2]) - self._asked

    def close(self) -> None:
        self._status.close()


def find() -> str | None:
    """Where nginx is, if it is there and can count."""
    path = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    if path is None:
        return None
    built = subprocess.run([path, "-V"], capture_output=True, text=True, check=False)
    return path if "http_stub_status_module" in built.stderr else None


@contextlib.contextmanager
def nginx(path: str) -> Iterator[Nginx]:
    """Started on entry, stopped and its folder removed on exit."""
    with tempfile.TemporaryDirectory(prefix="rh-bench-nginx-") as name:
        folder, port = Path(name), free_port()
        (folder / "nginx.conf").write_text(CONFIGURATION.format(folder=folder, port=port, status=STATUS))
        log = folder / "error.log"
        process = subprocess.Popen(
            [path, "-p", name, "-e", str(log), "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL
        )
        try:
            with contextlib.closing(_answering(process, port, log)) as running:
                yield running
        finally:
            _stop(process)


def _answering(process: subprocess.Popen[bytes], port: int, log: Path) -> Nginx:
    deadline = time.monotonic() + START_WITHIN
    while process.poll() is None and time.monotonic() < deadline:
        running = Nginx(port)
        with contextlib.suppress(OSError):
            running.count()
            return running
        running.close()
        time.sleep(0.02)
    raise RuntimeError(f"nginx did not start: {log.read_text()[-2000:] if log.exists() else 'no log'}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
