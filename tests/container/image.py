"""The image without a container engine: what the Dockerfile says, installed by its own pip commands and run by its own CMD."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import as_user

ROOT = Path(__file__).parents[2]
OS_USER = "nobody" if os.geteuid() == 0 else None
HEALTHY_WITHIN = 60.0
STOPPED_WITHIN = 30.0


@dataclass(frozen=True)
class Image:
    """What the Dockerfile's last stage says about running."""

    start: list[str]
    healthcheck: list[str]
    environment: Mapping[str, str]
    user: str


def read_dockerfile(path: Path = ROOT / "Dockerfile") -> Image:
    """The instructions of the last stage; of each kind the last one counts, as for Docker."""
    lines = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE)
    instructions = re.sub(r"\\\n\s*", " ", lines).splitlines()
    start: list[str] = []
    healthcheck: list[str] = []
    environment: dict[str, str] = {}
    user = "root"
    for instruction in instructions:
        name, _, rest = instruction.partition(" ")
        match name:
            case "FROM":
                start, healthcheck, environment, user = [], [], {}, "root"
            case "CMD":
                start = json.loads(rest)
            case "HEALTHCHECK":
                healthcheck = json.loads(rest[rest.index("CMD ") + 4 :])
            case "ENV":
                environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
            case "USER":
                user = rest.strip()
    return Image(start, healthcheck, environment, user)


def python_for(os_user: str | None) -> str:
    """An interpreter that the user may run; one in root's home is not."""
    fit = "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
    candidates = [str(Path(sys.executable).resolve()), "/usr/bin/python3"]
    for python in candidates:
        with contextlib.suppress(OSError):
            if subprocess.run([python, "-c", fit], cwd="/", check=False, **as_user(os_user)).returncode == 0:
                return python
    raise AssertionError(f"{os_user} can run none of {candidates} (Python 3.11 or newer, with venv)")


def run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"


def pip_commands(stage: int, path: Path = ROOT / "Dockerfile") -> list[str]:
    """What a stage installs and builds, in order; the rest of its RUN lines needs root."""
    text = re.sub(r"\\\n\s*", "", path.read_text()).split("\nFROM ")[stage]
    runs = [line.removeprefix("RUN ") for line in text.splitlines() if line.startswith("RUN ")]
    return [command.strip() for run in runs for command in run.split("&&") if command.strip().startswith("pip ")]


def context(source: Path) -> None:
    """The files that .dockerignore lets through."""
    source.mkdir()
    for name in re.findall(r"(?m)^!(.+)$", (ROOT / ".dockerignore").read_text()):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)


def shell(command: str, cwd: Path, bin: Path) -> None:
    env = {**os.environ, "PATH": f"{bin}:/usr/bin:/bin", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(["/bin/sh", "-c", command], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"


@contextlib.contextmanager
def started(
    command: Sequence[str], cwd: Path, env: Mapping[str, str], os_user: str | None = OS_USER
) -> Iterator[subprocess.Popen[bytes]]:
    with (cwd.parent / f"{cwd.name}.log").open("w+b") as log:
        Path(log.name).unlink()
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **as_user(os_user),
        )
        try:
            yield process
        except BaseException as failure:
            log.seek(0)
            failure.add_note(f"what it printed:\n{log.read().decode(errors='replace')}")
            raise
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until_healthy(
    process: subprocess.Popen[bytes],
    cwd: Path,
    env: Mapping[str, str],
    command: Sequence[str] = (),
    os_user: str | None = OS_USER,
) -> None:
    """As Docker does it: run the check again and again until it exits 0."""
    deadline = time.monotonic() + HEALTHY_WITHIN
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the start command ended with {process.returncode}"
        check = subprocess.run(
            command or read_dockerfile().healthcheck,
            cwd=cwd,
            env=env,
            capture_output=True,
            check=False,
            **as_user(os_user),
        )
        if check.returncode == 0:
            return
        time.sleep(0.2)
    raise AssertionError(f"not healthy within {HEALTHY_WITHIN:.0f} s: {check.stderr.decode()}")
