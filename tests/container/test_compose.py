"""The compose files: valid, locked down, and FinMind's own services untouched by the overlay."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
OWN = ROOT / "docker-compose.yml"
OVERLAY = ROOT / "docker-compose.finmind.yml"
FINMIND = Path(__file__).parent / "finmind-compose.yml"


def _load(path: Path) -> dict[str, Any]:
    loaded = yaml.safe_load(path.read_text())
    assert isinstance(loaded, dict)
    return loaded


def _laid_over(base: Any, overlay: Any) -> Any:
    """As compose merges files: mappings key by key, sequences appended, other values replaced."""
    if isinstance(base, dict) and isinstance(overlay, dict):
        merged = {**base}
        for key, value in overlay.items():
            merged[key] = _laid_over(base[key], value) if key in base else value
        return merged
    if isinstance(base, list) and isinstance(overlay, list):
        return base + overlay
    return overlay


def _config(*files: Path) -> dict[str, Any]:
    """The files as docker-compose understands them together; it refuses what its schema doesn't know."""
    options = [argument for file in files for argument in ("-f", str(file))]
    done = subprocess.run(["docker-compose", *options, "config"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = yaml.safe_load(done.stdout)
    assert isinstance(loaded, dict)
    return loaded


@pytest.mark.parametrize(("path", "service"), [(OWN, "relay"), (OVERLAY, "rowhook")])
def test_relay_is_locked_down(path: Path, service: str):
    relay = _load(path)["services"][service]
    assert relay["read_only"] is True
    assert relay["tmpfs"] == ["/tmp"]
    assert relay["security_opt"] == ["no-new-privileges:true"]
    assert relay["cap_drop"] == ["ALL"]
    assert "privileged" not in relay
    assert "user" not in relay  # the image's own, which is not root


def test_relay_waits_for_a_healthy_postgres():
    services = _load(OWN)["services"]
    assert services["relay"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert services["postgres"]["healthcheck"]["test"][1] == "pg_isready"


def test_overlay_adds_one_service_and_changes_none():
    base, overlay = _load(FINMIND), _load(OVERLAY)
    assert set(overlay) == {"services"}
    merged = _laid_over(base, overlay)
    added = merged["services"].pop("rowhook")
    assert merged == base
    assert set(added["depends_on"]) <= set(base["services"])
    assert "build" not in added  # a path would be taken from FinMind's folder


def test_overlay_connects_as_finmind_does():
    login = _load(FINMIND)["services"]["postgres"]["environment"]
    rowhook = _load(OVERLAY)["services"]["rowhook"]["environment"]
    expected = "postgresql://{POSTGRES_USER}:{POSTGRES_PASSWORD}@postgres:5432/{POSTGRES_DB}".format(**login)
    assert rowhook["DATABASE_URL"] == expected
    assert rowhook["ROWHOOK_CAPTURE"] == "expenses:user_id"


@pytest.mark.compose
def test_docker_compose_accepts_our_file():
    services = _config(OWN)["services"]
    assert set(services) == {"postgres", "relay"}
    assert services["relay"]["image"] == "rowhook:0.1.0"


@pytest.mark.compose
def test_docker_compose_leaves_finmind_as_it_was():
    alone, together = _config(FINMIND), _config(FINMIND, OVERLAY)
    assert together["services"].pop("rowhook")["image"] == "rowhook:0.1.0"
    assert together == alone
