"""Pure: the language of templates, Jinja's in its sandbox. Whoever may add an endpoint may write one, so none is trusted.

A template makes JSON of an event: its variables are the envelope's fields, ``table`` and ``row_key``. Numbers keep their digits
(99.50), what is missing or null is written as nothing, and ``tojson`` writes any value as JSON does.
Nothing is computed when a template is read: constant expressions, too, wait for worker.py, where time and memory have an end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from importlib import resources
from json.encoder import encode_basestring
from typing import Any, Final

from jinja2 import ChainableUndefined, Template, TemplateError, TemplateSyntaxError, Undefined, meta, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from relay.errors import UserMistake

LONGEST: Final = 20_000  # characters of a template
LARGEST: Final = 256 * 1024  # characters that it makes
LONGEST_NUMBER: Final = 4000  # digits; Python refuses longer integers

RECIPES: Final = ("slack", "discord", "teams")


class Sandbox(ImmutableSandboxedEnvironment):
    """Of operators those on texts and lists are refused that multiply them, and powers."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" or not (isinstance(left, int | float | Decimal) and isinstance(right, int | float | Decimal)):
            raise SecurityError(f"{operator} is for numbers here, and there are no powers")
        return super().call_binop(context, operator, left, right)


@pass_context  # so that constants aren't written while the template is read
def _written(context: Context, value: Any) -> Any:
    return "" if value is None else value


def to_json(value: Any) -> str:
    """As json.dumps, with decimals as they are and characters beyond ASCII too; what is missing is null."""
    if value is None or isinstance(value, Undefined):
        return "null"
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{encode_basestring(str(name))}:{to_json(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(to_json, value)) + "]"
    return json.dumps(value, allow_nan=False)


def _environment() -> Sandbox:
    environment = Sandbox(
        autoescape=False, undefined=ChainableUndefined, finalize=_written, optimized=False, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["tojson"] = to_json
    del environment.filters["random"], environment.globals["lipsum"]  # not the same twice
    return environment


_ENVIRONMENT: Final = _environment()


@lru_cache(256)
def _compiled(text: str) -> Template:
    return _ENVIRONMENT.from_string(text)


def check_template(text: str) -> str:
    """The template, if it can be read; raises UserMistake."""
    if len(text) > LONGEST:
        raise UserMistake(f"the template has {len(text)} characters", f"give {LONGEST} at most")
    try:
        if any(True for _ in meta.find_referenced_templates(_ENVIRONMENT.parse(text))):
            raise UserMistake("the template includes another one", "give one that stands for itself")
        _compiled(text)
    except TemplateSyntaxError as error:
        said = (error.message or "").rstrip(".")
        raise UserMistake(f"the template can't be read: line {error.lineno}: {said}", "see docs/webhooks.md") from None
    except (TemplateError, SyntaxError, RecursionError, MemoryError, ValueError) as error:
        raise UserMistake(f"the template can't be read: {str(error) or type(error).__name__}", "see docs/webhooks.md") from None
    return text


def recipe(name: str) -> str:
    """The text of one that ships."""
    return resources.files("relay.shapes").joinpath(f"{name}.j2").read_text("utf-8")


def render(text: str, envelope: str, more: Mapping[str, Any]) -> str:
    """What a template makes of an event. Raises whatever it raises, and ValueError for what is no JSON or too much of it."""
    event = {**more, **json.loads(envelope, parse_float=Decimal, parse_int=_number)}
    pieces: list[str] = []
    size = 0
    for piece in _compiled(text).generate(event):
        size += len(piece)
        if size > LARGEST:
            raise ValueError(f"the template makes more than {LARGEST} characters")
        pieces.append(piece)
    body = "".join(pieces).strip()
    try:
        json.loads(body, parse_float=str, parse_int=str, parse_constant=_refuse)
        body.encode()
    except ValueError as error:  # half a character, too
        raise ValueError(f"the template makes no JSON: {error}") from None
    return body


def _number(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= LONGEST_NUMBER else Decimal(digits)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number")
