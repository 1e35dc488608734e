"""Rowhook: rows that commit in Postgres become signed webhooks. This package is the delivering half."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("rowhook")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0.0.0"
