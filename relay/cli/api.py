"""rowhook api"""

from __future__ import annotations

import logging

from relay import config, logging_setup
from relay.cli.run import check
from relay.cli.session import settings

log = logging.getLogger(__name__)


def api_command() -> None:
    """Serve the admin API alone, until SIGTERM; relays run elsewhere, with --no-api."""
    given = config.require_database(settings())
    config.require_keyring(given)
    logging_setup.set_up(given.log_format, given.log_level)
    check(given)
    from relay.api.alone import serve  # brings aiohttp and all

    serve(given)
