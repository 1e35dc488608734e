"""The peers of the bench: what can't run here is named with its reason, and every peer's version is one that is pinned."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from benchmarks import peers
from benchmarks.rivals import install
from benchmarks.rivals.catalogue import RIVALS


def test_without_npm_the_reason_is_named(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "npm" else f"/usr/bin/{name}")
    with pytest.raises(install.MissingError, match="there is no npm on this machine"):
        install.node(install=True)


def test_what_is_not_installed_stays_so_unless_it_may_be(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(install, "VENV", tmp_path / "venv")
    with pytest.raises(install.MissingError, match="installs nothing"):
        install.python(install=False)
    assert not (tmp_path / "venv").exists()


def test_a_failed_installation_is_a_reason_too(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(install, "VENV", tmp_path / "venv")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(install.MissingError, match="false failed"):
        install.python(install=True)


def test_every_queue_says_its_pinned_version():
    for rival in RIVALS:
        assert rival.note.startswith(f"{rival.name}: " if not rival.unfinished else f"{rival.name} ")
        assert any(character.isdigit() for character in rival.note.partition(":")[0]) == bool(rival.unfinished)


def test_peers_post_json_of_the_size_of_an_events():
    text = peers.body(7)
    assert json.loads(text)["data"]["id"] == 7
    assert 340 <= len(text) <= 370
