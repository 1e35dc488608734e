"""From exceptions to exit codes and one line on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from relay.cli.output import complain
from relay.errors import DatabaseLost, RowhookError, UserMistake
from relay.refusals import refusals

DONE, FAILED, MISTAKEN, INTERRUPTED = 0, 1, 2, 130

# Typer's newer versions carry a Click of their own, and only this much of it is public in all of them.
_UsageError: type[Exception]
_ClickException: type[Exception]
_UsageError, _ClickException = typer.BadParameter.__mro__[1:3]


def ended(work: Callable[[], Any], arguments: Sequence[str]) -> int:
    """Do the work; the exit code. A bug in Rowhook itself keeps its traceback."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        with refusals():
            _refuse_odd_bytes(arguments)
            result = work()
            sys.stdout.flush()
    except UserMistake as mistake:
        complain(str(mistake))
        return MISTAKEN
    except _UsageError as error:
        complain(usage_line(error))
        return MISTAKEN
    except (RowhookError, _ClickException) as error:
        complain(f"the database was lost: {error}" if isinstance(error, DatabaseLost) else str(error))
        return FAILED
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has gone; what is left in the buffer must not complain at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return result if isinstance(result, int) else DONE


def _refuse_odd_bytes(arguments: Sequence[str]) -> None:
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise UserMistake(f"the argument {argument!a} is not UTF-8 text", "give it in UTF-8") from None


def usage_line(error: Any) -> str:
    """A mistake in options or arguments: what was given, and what the command takes."""
    said = " ".join(error.format_message().split()).rstrip(".?")
    if error.ctx is None:
        return said
    command = error.ctx.command
    options = [max(p.opts, key=len) for p in command.params if p.param_type_name == "option"]
    if subcommands := getattr(command, "commands", None):
        takes = [*options, "or a command:", ", ".join(subcommands)]
    else:
        pieces = command.collect_usage_pieces(error.ctx)
        takes = [piece.strip("{}") for piece in pieces if piece != command.options_metavar] + options
    return f"{said}; {error.ctx.command_path} takes {' '.join(takes) or 'neither arguments nor options'}"
