"""Print deploy/env.example with a fresh secret wherever it leaves one open. Needs nothing but Python."""

import base64
import secrets
from pathlib import Path

OPEN_ON_PURPOSE = {"CSRF_TRUSTED_ORIGINS", "TRUSTED_PROXIES"}


def filled(line: str) -> str:
    name, separator, value = line.partition("=")
    if line.startswith("#") or not separator or value or name in OPEN_ON_PURPOSE:
        return line
    if name == "FIELD_ENCRYPTION_KEYS":
        return f"{name}={base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()}"
    return f"{name}={secrets.token_urlsafe(36)}"


if __name__ == "__main__":
    example = Path(__file__).with_name("env.example")
    print("\n".join(filled(line) for line in example.read_text().splitlines()))  # noqa: T201  # what it is for
