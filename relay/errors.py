"""Every error that Rowhook raises on purpose.

    RowhookError
      UserMistake          exit 2: says what was given and what would be right
        ConfigError        a setting, the connection or the schema at start
        DestinationDenied  where requests may not go: refused when saved, final when dialled
      DatabaseLost         the connection went away: reconnect, look again
        DatabaseBusy       a lock was not to be had: nothing was done, try the same again
      RoleLost             another relay may dispatch now: ask for the role again
      FiltersTooSlow       the filters of all endpoints took too long on so many events: dispatch fewer at once
      LeaseLost            this instance's lock or row is gone: register anew

Foreign exceptions are translated at one edge each: psycopg's in database.py, the network's in send_aiohttp.py and send_lean.py.
"""

from __future__ import annotations


class RowhookError(Exception):
    """Base of all."""


class UserMistake(RowhookError):
    """Something given by a person can't be right.

    ``message`` says what was given, ``remedy`` what would be right; together they are one line.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = " ".join(message.split())
        self.remedy = " ".join(remedy.split())
        super().__init__(f"{self.message}: {self.remedy}" if self.remedy else self.message)


class ConfigError(UserMistake):
    """A setting, the database it names, or its schema: fatal at start."""


class DestinationDenied(UserMistake):
    """A URL, or an address that its host has, to which requests may not go."""


class DatabaseLost(RowhookError):
    """Postgres went away, or this session's connection did."""


class DatabaseBusy(DatabaseLost):
    """A lock was not to be had in time, or a deadlock was settled against this statement; the session is as it was."""


class RoleLost(RowhookError):
    """The dispatcher's session was ended while it had nothing to do: nothing is in doubt but who dispatches."""


class FiltersTooSlow(RowhookError):
    """A dispatch was given up because filters took too long; nothing was done."""


class LeaseLost(RowhookError):
    """This instance is no longer alive in Postgres' eyes."""
