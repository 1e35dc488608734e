"""A client that openapi-python-client makes of the served document works against it."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.api.conftest import TOKEN, Served

NAME = "generated_rowhook_client"


@pytest.fixture
def client_package(api: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Made offline, from the document as a file."""
    (tmp_path / "openapi.json").write_text(api.nobody.get("/openapi.json").text)
    (tmp_path / "config.yml").write_text(f"package_name_override: {NAME}\nproject_name_override: client\npost_hooks: []\n")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", "openapi.json", "--config", "config.yml"]
    done = subprocess.run(
        [*command, "--meta", "none", "--output-path", NAME], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "WARNING" not in done.stdout + done.stderr, done.stdout + done.stderr
    monkeypatch.syspath_prepend(str(tmp_path))
    return importlib.import_module(NAME)


def call(name: str, tag: str = "webhooks") -> Any:
    return importlib.import_module(f"{NAME}.api.{tag}.{name}")


def test_it_adds_lists_changes_and_removes(api: Served, client_package: ModuleType) -> None:
    client = client_package.AuthenticatedClient(base_url=f"http://127.0.0.1:{api.port}", token=TOKEN)
    models = importlib.import_module(f"{NAME}.models")
    added = call("add_webhook").sync(client=client, body=models.AddWebhook(url="https://example.com/hook", events=["expense.*"]))
    assert isinstance(added, models.NewWebhook) and added.secret.startswith("whsec_")
    listed = call("list_webhooks").sync(client=client, limit=10)
    assert [item.id for item in listed.items] == [added.id]
    change = models.ChangeWebhook(state=models.ChangeWebhookState.PAUSED)
    assert call("change_webhook").sync(added.id, client=client, body=change).state == "paused"
    assert call("get_webhook").sync(added.id, client=client).created_at.tzinfo is not None
    assert call("remove_webhook").sync_detailed(added.id, client=client).status_code == 204
    refused = call("get_webhook").sync(added.id, client=client)
    assert isinstance(refused, models.Problem) and refused.status == 404
    assert json.dumps(refused.to_dict())
