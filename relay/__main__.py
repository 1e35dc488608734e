"""The command `rowhook`, also as `python -m relay`."""

from __future__ import annotations

import sys

from relay.cli.app import run_command_line


def main() -> None:
    sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
