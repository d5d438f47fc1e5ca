"""Run a command in which the word ARGS stands for the words of the environment variable ARGS.

They are split as a shell splits them, quotes and all, but nothing in them is run or expanded.
"""

from __future__ import annotations

import os
import shlex
import sys


def words(command: list[str], given: str) -> list[str]:
    """The command, with the words of ``given`` in the place of ARGS.

    ValueError: a quote is left open.
    """
    at = command.index("ARGS")
    return [*command[:at], *shlex.split(given), *command[at + 1 :]]


if __name__ == "__main__":
    try:
        command = words(sys.argv[1:], os.environ.get("ARGS", ""))
    except ValueError as error:
        sys.exit(f"ARGS: {error}")
    os.execv(command[0], command)  # noqa: S606 - without a shell is the point
