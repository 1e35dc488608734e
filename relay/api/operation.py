"""Calls, each as one function that is registered: what can be asked, of what kind its parts are."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel

Function = Callable[..., Any]
REGISTRY: list[Operation] = []


@dataclass(frozen=True, slots=True)
class Operation:
    """One call. ``refuses``: statuses beyond those that any call may have; ``media``: what a stream answers with."""

    method: str
    path: str
    function: Function
    tag: str
    status: int
    refuses: tuple[int, ...]
    operator: bool
    idempotent: bool
    in_transaction: bool
    media: str | None
    query: type[BaseModel] | None
    body: type[BaseModel] | None
    answer: type[BaseModel] | None
    path_parameters: tuple[str, ...]

    @property
    def id(self) -> str:
        return self.function.__name__

    @property
    def is_stream(self) -> bool:
        return inspect.iscoroutinefunction(self.function)

    @property
    def summary(self) -> str:
        return (inspect.getdoc(self.function) or self.id).partition("\n\n")[0].replace("\n", " ")

    @property
    def description(self) -> str:
        return (inspect.getdoc(self.function) or "").partition("\n\n")[2]


def operation(
    method: str,
    path: str,
    *,
    tag: str,
    status: int = 200,
    refuses: tuple[int, ...] = (),
    operator: bool = False,
    idempotent: bool = True,
    in_transaction: bool | None = None,
    media: str | None = None,
) -> Callable[[Function], Function]:
    """Register a function as a call; the package's docstring says how it is written. ``idempotent``: a POST takes a key."""

    def register(function: Function) -> Function:
        hints = get_type_hints(function)
        answer = hints.pop("return")
        names = [name for name in inspect.signature(function).parameters if name not in ("call", "query", "body")]
        assert sorted(names) == sorted(re.findall(r"\{(\w+)\}", path)), f"{function.__name__}: {names} are not in {path}"
        REGISTRY.append(
            Operation(
                method,
                path,
                function,
                tag,
                status,
                refuses,
                operator,
                idempotent and method == "POST",
                method != "GET" if in_transaction is None else in_transaction,
                media,
                hints.get("query"),
                hints.get("body"),
                answer if inspect.isclass(answer) and issubclass(answer, BaseModel) else None,
                tuple(names),
            )
        )
        return function

    return register
