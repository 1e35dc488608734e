"""What is installed is what is locked, what is locked is what pyproject.toml asks for, and each dependency has its reason."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "dependencies.md"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
GROUPS = PROJECT["dependency-groups"]
RUN = PROJECT["project"]["dependencies"]

# As the Makefile compiles them.
ASKED = {
    "run": RUN,
    "demo": [*RUN, *EXTRAS["demo"], *GROUPS["build"]],
    "parquet": [*RUN, *EXTRAS["parquet"]],
    "dev": [*RUN, *EXTRAS["demo"], *EXTRAS["parquet"], *EXTRAS["dev"], *GROUPS["build"]],
    "build": GROUPS["build"],
    "tools": GROUPS["tools"],
}
PIP = "PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input"


def asked(lines: Iterable[str]) -> list[Requirement]:
    """Without the project itself, by which dev includes demo."""
    return [r for r in map(Requirement, lines) if r.name != "rowhook"]


def locked(name: str) -> list[tuple[Requirement, int]]:
    """Each pin of a lock file, and how many hashes it has."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    blocks = re.findall(r"(?m)^([a-z0-9][^\\\n]*)((?: \\\n    --hash=sha256:[0-9a-f]{64})*)$", text)
    return [(Requirement(pin), hashes.count("--hash")) for pin, hashes in blocks]


def here(pins: Iterable[Requirement]) -> dict[str, str]:
    """Versions of those that are for this Python and platform."""
    return {canonicalize_name(r.name): next(iter(r.specifier)).version for r in pins if not r.marker or r.marker.evaluate()}


@pytest.mark.parametrize("name", ASKED)
def test_every_line_is_one_version_with_hashes_and_names_no_host(name: str) -> None:
    pins = locked(name)
    assert all(str(pin.specifier).startswith("==") and pin.url is None and hashes for pin, hashes in pins)
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert len(pins) == len(re.findall(r"(?m)^[^\s#]", text)), "nothing but pins"
    assert "://" not in text and "--index" not in text and "--find-links" not in text


@pytest.mark.parametrize("name", ASKED)
def test_the_lock_satisfies_pyproject(name: str) -> None:
    found = here(pin for pin, _ in locked(name))
    for requirement in asked(ASKED[name]):
        if not requirement.marker or requirement.marker.evaluate():
            assert requirement.specifier.contains(found.get(canonicalize_name(requirement.name), "none"), prereleases=True), (
                f"{requirement} is not what requirements/{name}.txt holds; run: make lock"
            )


@pytest.mark.parametrize("name", ["run", "demo", "parquet", "dev", "build"])
def test_the_lock_is_no_more_than_pyproject_asks_for_and_what_is_installed(name: str) -> None:
    """Whatever this environment has been asked to install, followed from package to package, is the lock exactly."""
    pins = here(pin for pin, _ in locked(name))
    needed = dict(closure(asked(ASKED[name])))
    assert pins.keys() == needed.keys(), "run: make lock"
    assert pins == needed, "the environment is not what is locked; run: make clean, then make test"


def closure(first: Iterable[Requirement]) -> Iterator[tuple[str, str]]:
    """Installed packages that these need, and the versions that they have here."""
    todo = [(requirement, "") for requirement in first]
    seen: set[tuple[str, str]] = set()
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                todo += [(Requirement(line), wanted) for line in _requires(name)]
        yield name, version(name)


def _requires(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:
        raise AssertionError(f"{name} is needed and not installed; run: make test") from None


def test_locks_agree_with_each_other() -> None:
    dev = here(pin for pin, _ in locked("dev"))
    for name in ("run", "demo", "parquet", "build"):
        assert here(pin for pin, _ in locked(name)).items() <= dev.items()


def test_each_direct_dependency_is_justified_and_nothing_else() -> None:
    told: list[str] = []
    for first, reason in re.findall(r"(?m)^\| (`.+?) \| (.+) \|$", DOCS.read_text().partition("## Locked")[0]):
        assert len(reason) > 3
        told += map(canonicalize_name, re.findall(r"`([^`]+)`", first))
    direct = [*RUN, *EXTRAS["demo"], *EXTRAS["parquet"], *EXTRAS["dev"], *GROUPS["build"], *GROUPS["tools"]]
    assert sorted(told) == sorted({canonicalize_name(requirement.name) for requirement in asked(direct)})


def test_the_makefile_and_the_image_install_from_the_locks_alone() -> None:
    for path in (ROOT / "Makefile", ROOT / "Dockerfile"):
        text = re.sub(r"\\\n\s*", "", path.read_text())
        installs = re.findall(r"(?:^\t\$\(PIP\)|pip install|pip wheel)([^\n&]*)", text.replace(PIP, ""), flags=re.MULTILINE)
        assert len(installs) >= 3
        assert [line for line in installs if "--require-hashes" not in line and "--no-deps" not in line] == [], path.name


def test_ruffs_security_rules_are_on_for_what_ships() -> None:
    lint = PROJECT["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    assert [rule for rule in lint["ignore"] if rule.startswith("S")] == ["S101"]
    assert not [files for files in lint["per-file-ignores"] if not files.startswith(("tests/", "benchmarks/"))]
