"""Run a relay without its API until a signal ends it: what `rowhook run --no-api` does. The argument is its name."""

from __future__ import annotations

import logging
import sys

from relay.config import Settings
from relay.service import serve

if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    serve(Settings(), name=sys.argv[1], api=False)
