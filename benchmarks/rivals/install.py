"""Puts the peers' packages into .bench/ at the project's root, by plain pip and npm, once for each set of versions.

What is missing on this machine is said in one line, by an error; the bench goes on with the other peers.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / ".bench"
VENV, NODE = FOLDER / "venv", FOLDER / "node"
INSTALL_WITHIN = 600.0


class MissingError(Exception):
    """Why a peer can't run here."""


def python(install: bool) -> list[str]:
    """The interpreter that has the Python peers. Raises MissingError."""
    pins = HERE / "requirements.txt"

    def make() -> None:
        shutil.rmtree(VENV, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(VENV)])
        _run([str(VENV / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "--no-input", "-r", str(pins)])

    _once(VENV, f"{sys.version}\n{pins.read_text()}", make, install)
    return [str(VENV / "bin" / "python"), "-m"]


def node(install: bool) -> list[str]:
    """Node.js, with a copy of the programs beside what they import. Raises MissingError."""
    paths = {name: shutil.which(name) for name in ("node", "npm")}
    if missing := [name for name, path in paths.items() if path is None]:
        raise MissingError(f"there is no {' and no '.join(missing)} on this machine")
    pins = HERE / "package.json"

    def make() -> None:
        shutil.rmtree(NODE, ignore_errors=True)
        NODE.mkdir(parents=True)
        shutil.copy(pins, NODE)
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
        _run([str(paths["npm"]), "install", *quiet], NODE)

    _once(NODE, pins.read_text(), make, install)
    for program in HERE.glob("*.mjs"):
        shutil.copy(program, NODE)
    return [str(paths["node"])]


def _once(folder: Path, stamp: str, make: Callable[[], None], install: bool) -> None:
    """Unless the folder holds what the stamp says."""
    stamped = folder / ".installed"
    if stamped.exists() and stamped.read_text() == stamp:
        return
    if not install:
        raise MissingError(f"not installed in .bench/{folder.name}, and this size of the bench installs nothing")
    make()
    stamped.write_text(stamp)


def _run(command: Sequence[str], folder: Path | None = None) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=INSTALL_WITHIN)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"{Path(command[0]).name} failed: {error}") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise MissingError(f"{Path(command[0]).name} failed: {said[-1] if said else done.returncode}")
