"""The reference at /docs in a real browser: every operation, made of what is served here and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.api.chromium import open_page
from tests.api.conftest import Served

pytestmark = pytest.mark.chromium

IS_SHOWN = "document.readyState === 'complete' && document.querySelectorAll('main section').length > 0"
SECTIONS = (
    "[...document.querySelectorAll('main section')].map((s) => [s.id, s.querySelector('h3').innerText, s.innerText.length])"
)
LINKS = "[...document.querySelectorAll('nav a')].map((a) => [a.getAttribute('href').slice(1), a.innerText])"
FONT = "getComputedStyle(document.querySelector('h3 code')).fontFamily + getComputedStyle(document.querySelector('nav')).position"
ELSEWHERE = "fetch('https://example.com/').then(() => 'answered', (error) => 'refused')"


async def test_every_operation_is_shown_from_what_is_served_here(api: Served, tmp_path: Path) -> None:
    document = api.operator.get("/openapi.json").ok()
    operations = {
        call["operationId"]: (method.upper(), path)
        for path, calls in document["paths"].items()
        for method, call in calls.items()
        if isinstance(call, dict) and "operationId" in call
    }
    assert len(operations) >= 20
    async with asyncio.timeout(90), open_page(tmp_path) as page:
        await page.call("Page.navigate", url=f"http://127.0.0.1:{api.port}/docs#{min(operations)}")
        await page.until(IS_SHOWN)
        sections = await page.value(SECTIONS)
        links = await page.value(LINKS)
        told = (await page.value("document.querySelector('h1').innerText")).split()
        is_styled = await page.value(FONT)
    assert sorted(id for id, *_ in sections) == sorted(operations)
    for id, heading, length in sections:
        method, path = operations[id]
        assert heading.split() == [method, path] or heading.replace(" ", "") == method + path, heading
        assert length > len(heading) + 20, f"{id} says nothing"
    assert {id: tuple(text.split(" ", 1)) for id, text in links} == operations
    assert told[-1] == document["info"]["version"]
    assert "mono" in is_styled.lower(), is_styled
    assert {urlsplit(url).netloc for url in page.requests} == {f"127.0.0.1:{api.port}"}
    assert {urlsplit(url).path for url in page.requests} >= {
        "/docs",
        "/docs/",
        "/docs/page.js",
        "/docs/page.css",
        "/openapi.json",
    }
    assert page.complaints == []


async def test_the_page_may_ask_nobody_else(api: Served, tmp_path: Path) -> None:
    """Were something of the document a script, it would get no further; and a browser's complaint is heard here."""
    async with asyncio.timeout(90), open_page(tmp_path) as page:
        await page.call("Page.navigate", url=f"http://127.0.0.1:{api.port}/docs/")
        await page.until(IS_SHOWN)
        assert page.complaints == []
        assert await page.value(ELSEWHERE) == "refused"
    assert any("Content Security Policy" in complaint for complaint in page.complaints), page.complaints
