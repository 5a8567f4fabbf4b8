"""What Salesforce's errors ask for."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from types import ModuleType
from typing import Any, Final, NoReturn

from cdp.http import PermanentHttpError, TransientHttpError, failures_of_library
from cdp.ingestion.connector import RefusedConnectionError, TransientConnectorError, UnreadableStreamError, code_of

UNTIL_TOMORROW: Final = 3600.0  # the day of 24 hours is a rolling one: every hour some requests come free
_OF_THE_STREAM: Final = frozenset(
    {"invalid_type", "invalid_field", "invalid_field_for_insert_update", "malformed_query", "insufficient_access"}
)
_PASSING: Final = frozenset({"query_timeout", "server_unavailable", "invalid_query_locator", "unknown_exception"})
_PASSING_AT_LOGIN: Final = frozenset({"server_busy", "temporarily_unavailable", "login_rate_exceeded"})


class SessionExpiredError(RefusedConnectionError):
    """Salesforce does not accept the session, not even a new one: look at the connected app."""

    code = "invalid_session_id"


@contextmanager
def named_failures(library: ModuleType) -> Iterator[None]:
    """Say in the words of the contract what the library raises. From None: its texts hold addresses and rows."""
    try:
        with failures_of_library():
            yield
    except library.exceptions.SalesforceAuthenticationFailed as error:
        _raise_for_login(str(error.code))
    except library.exceptions.SalesforceError as error:
        _raise_for(error.status, _code_in(error.content))
    except TransientHttpError as error:
        raise TransientConnectorError(reason=error.details["reason"]) from None
    except PermanentHttpError as error:
        raise RefusedConnectionError(error.message, reason=error.code) from None


def _raise_for_login(said: str) -> NoReturn:
    code = code_of(said)
    if code in _PASSING_AT_LOGIN or (code.isdigit() and int(code) >= 500) or code == "429":
        raise TransientConnectorError(reason=code) from None
    message = "Salesforce refuses the login: look at the connected app, its user and the secrets of this connection."
    raise RefusedConnectionError(message, reason=code or "login_refused") from None


def _raise_for(status: int, code: str) -> NoReturn:
    if code == "invalid_session_id":
        raise SessionExpiredError from None
    if code == "request_limit_exceeded":
        raise TransientConnectorError(reason=code, retry_after=UNTIL_TOMORROW) from None
    if code == "invalid_query_locator":
        raise TransientConnectorError(reason=code, retry_after=0) from None
    if code in _OF_THE_STREAM:
        raise UnreadableStreamError(reason=code) from None
    if code in _PASSING or status >= 500 or status == HTTPStatus.TOO_MANY_REQUESTS:
        raise TransientConnectorError(reason=code or f"http_{status}") from None
    raise RefusedConnectionError(reason=code or f"http_{status}") from None


def _code_in(content: Any) -> str:  # noqa: ANN401  # JSON if Salesforce itself has answered, else any text
    first = content[0] if isinstance(content, list) and content else content
    return code_of(str(first.get("errorCode", ""))) if isinstance(first, dict) else ""
