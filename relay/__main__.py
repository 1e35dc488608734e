"""The command `rowhook`, also as `python -m relay`."""

from __future__ import annotations

import sys

from relay.cli.app import run


def main() -> None:
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
