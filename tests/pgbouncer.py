"""A real PgBouncer in front of a test's cluster."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from tests.cluster import STOP_WITHIN, Cluster, as_user, free_port
from tests.tiers import found

CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server} user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
auth_file =
pool_mode = {mode}
ignore_startup_parameters = extra_float_digits,options
logfile = {log}
"""


@contextlib.contextmanager
def pgbouncer(cluster: Cluster, mode: str) -> Iterator[str]:
    """Its DSN, without a database's name, in pool mode ``transaction`` or ``session``."""
    with tempfile.TemporaryDirectory(prefix="rh-bouncer-") as name:
        folder, port = Path(name), free_port()
        configuration = folder / "pgbouncer.ini"
        configuration.write_text(CONFIGURATION.format(server=cluster.port, port=port, mode=mode, log=folder / "log"))
        if cluster.os_user is not None:
            shutil.chown(folder, cluster.os_user)
        process = subprocess.Popen(
            [found("pgbouncer") or "pgbouncer", "-q", str(configuration)],
            cwd="/",
            stderr=subprocess.DEVNULL,
            **as_user(cluster.os_user),
        )
        try:
            dsn = f"postgresql://postgres@127.0.0.1:{port}/"
            _wait(f"{dsn}postgres", process)
            yield dsn
        finally:
            process.kill()
            process.wait(STOP_WITHIN)


def _wait(dsn: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            return psycopg.connect(dsn, connect_timeout=5).close()
        except psycopg.OperationalError:
            assert process.poll() is None and time.monotonic() < deadline, "pgbouncer did not start"
            time.sleep(0.05)
