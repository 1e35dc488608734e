"""Bases of all models, and kinds of fields that several have."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, WithJsonSchema

LONGEST_TEXT = 500
# Postgres stores no NUL in a text.
_TEXT = r"^[^\u0000]*$"


class Answer(BaseModel):
    """What is answered."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Given(BaseModel):
    """What a body may hold, and nothing else; each value of its own kind: "1" is no number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Query(BaseModel):
    """What a query string may hold, and nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _digits(value: Any) -> Any:
    """In a query string all is text; pydantic would take 1_0 and 1.0 for numbers too."""
    if isinstance(value, str):
        if not re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", value, re.ASCII):
            raise ValueError("this is not a whole number")
        return int(value)
    return value


def _flag(value: Any) -> Any:
    if isinstance(value, str):
        if value not in ("true", "false"):
            raise ValueError("give true or false")
        return value == "true"
    return value


WholeNumber = Annotated[int, BeforeValidator(_digits)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Text = Annotated[str, StringConstraints(max_length=LONGEST_TEXT, pattern=_TEXT)]
SomeText = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TEXT, pattern=_TEXT)]
PublicId = Annotated[str, WithJsonSchema({"type": "string", "pattern": "^(end|evt|dlv)_[0-9A-HJKMNP-TV-Z]{26}$"})]
