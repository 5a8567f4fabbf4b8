#!/usr/bin/env python
"""The command line of Tessera. `./manage.py help` lists the commands."""

import os
import sys

from cdp import embedded
from cdp.kernel.errors import TesseraError


def main() -> None:
    command = sys.argv[1] if len(sys.argv) > 1 else None
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cdp.settings")
    if command in COMMANDS_WITHOUT_SCHEMA:
        os.environ.setdefault(embedded.SCHEMA_IN_MAKING, "1")
    try:
        if command not in COMMANDS_WITHOUT_DATABASE:
            embedded.adopt(embedded.command_login(sys.argv[1:]))
    except TesseraError as error:
        sys.exit(f"{error.code}: {error.message}")
    from django.core.management import execute_from_command_line  # noqa: PLC0415  # settings need the stack

    execute_from_command_line(sys.argv)


# `stack` starts or stops by itself what it needs.
COMMANDS_WITHOUT_DATABASE = {None, "help", "compilemessages", "makemessages", "spectacular", "stack", "provision"}
COMMANDS_WITHOUT_SCHEMA = {"makemigrations", "migrate"}  # they make it

if __name__ == "__main__":
    main()
