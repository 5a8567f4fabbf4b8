"""`provision`: make the roles and the database of a production set-up. Safe to run again, after every upgrade."""

import json
import os
from argparse import FileType
from collections.abc import Mapping
from typing import Any

import psycopg
from django.core.management.base import CommandParser

from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.management.command import TesseraCommand
from cdp.provision import LOGINS, provision


class ProvisionError(TesseraError):
    """The roles could not be made."""

    code = "provision"


class Command(TesseraCommand):
    help = (
        "Make the database, a role for each purpose and a login for each process. DATABASE_URL is that of a superuser, "
        "or of a role with CREATEROLE and CREATEDB; passwords come from LOGIN_PASSWORDS or a file, as a JSON object."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--database", default=os.environ.get("DATABASE_NAME", "tessera"), help="default: DATABASE_NAME, or tessera"
        )
        parser.add_argument("--passwords", type=FileType(), metavar="FILE", help="default: the text of LOGIN_PASSWORDS")

    def handle(self, *args: Any, **options: Any) -> None:
        given = options["passwords"].read() if options["passwords"] else os.environ.get("LOGIN_PASSWORDS", "")
        with _connect() as admin:
            provision(admin, database=options["database"], passwords=_read_passwords(given))
        self.emit({"database": options["database"], "logins": sorted(LOGINS), "purposes": sorted(Purpose)})


def _connect() -> psycopg.Connection[tuple[object, ...]]:
    address = os.environ.get("DATABASE_URL")
    if not address:
        message = "Set DATABASE_URL to the address of a superuser: the embedded Postgres provisions itself."
        raise ProvisionError(message)
    try:
        return psycopg.connect(address, autocommit=True)
    except psycopg.OperationalError as error:
        raise ProvisionError(f"Postgres does not let us in: {error}") from error


def _read_passwords(text: str) -> Mapping[str, str]:
    try:
        passwords = json.loads(text)
    except ValueError:
        passwords = None
    if not isinstance(passwords, dict) or not all(isinstance(word, str) and word for word in passwords.values()):
        message = 'LOGIN_PASSWORDS, or the file of --passwords, must be a JSON object: {"owner": "…", "web": "…", …}'
        raise ProvisionError(message)
    if missing := sorted(set(LOGINS) - set(passwords)):
        raise ProvisionError(f"No password is given for {', '.join(missing)}.", missing=missing)
    return passwords
