"""A small number of requests made from the served document, all checks on; `make fuzz-api` makes thousands."""

from __future__ import annotations

import pytest

from relay.api.calls import stream
from tests.api.conftest import TOKEN, Serve, token_of
from tests.api.fuzz import fuzz


@pytest.mark.parametrize("who", ["operator", "tenant"])
def test_every_answer_is_as_the_document_says(serve: Serve, finmind: str, who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "LONGEST", 0.1)
    monkeypatch.setattr(stream, "HEARTBEAT", 0.05)
    api = serve(finmind, max_endpoints_per_tenant="0")
    found = fuzz(api.port, TOKEN if who == "operator" else token_of("7"), 5, 1, "--phases", "examples,fuzzing,stateful")
    assert found.is_clean, found.said
    assert found.requests >= 50
