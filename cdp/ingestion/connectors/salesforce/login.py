"""The three ways to log in by OAuth 2.0: client credentials, a signed assertion (JWT), a refresh token."""

from collections.abc import Mapping
from typing import Any

from cdp.http import LibrarySession
from cdp.ingestion.connector import ConnectorConfigError, load_extra


def log_in(session: LibrarySession, domain: str, username: str, secrets: Mapping[str, str]) -> Any:  # noqa: ANN401  # the library is optional
    """A client with a new session. Which way is told by what secrets there are."""
    library = load_extra("simple_salesforce", extra="salesforce")
    token, instance = _session_of(library.login, session, domain, username, secrets)
    return library.Salesforce(session_id=token, instance=instance, session=session)


def _session_of(
    login: Any,  # noqa: ANN401  # the library is optional
    session: LibrarySession,
    domain: str,
    username: str,
    secrets: Mapping[str, str],
) -> tuple[str, str]:
    client_id = secrets.get("client_id", "")
    given: dict[str, Any] = {"session": session, "domain": domain, "consumer_key": client_id}
    if client_id and secrets.get("refresh_token"):
        token, instance = _refreshed(login, session, domain, secrets)
    elif client_id and username and secrets.get("private_key"):
        token, instance = _asserted(login, username, secrets["private_key"], given)
    elif client_id and secrets.get("client_secret"):
        if domain in {"login", "test"}:
            raise ConnectorConfigError("Client credentials need your own `domain`, for example acme.my.")
        token, instance = login.SalesforceLogin(consumer_secret=secrets["client_secret"], **given)
    else:
        raise ConnectorConfigError(
            "Salesforce needs `client_id` among the secrets, with `client_secret`, or with `refresh_token`, or with"
            " `private_key` and `username` among the settings."
        )
    return token, instance


def _asserted(login: Any, username: str, private_key: str, given: Mapping[str, Any]) -> tuple[str, str]:  # noqa: ANN401  # likewise
    if given["domain"] not in {"login", "test"}:
        raise ConnectorConfigError("A signed assertion goes to Salesforce itself: `domain` must be login or test.")
    try:
        token, instance = login.SalesforceLogin(username=username, privatekey=private_key, **given)
    except (ValueError, login.jwt.PyJWTError):  # from None: its text may show the key
        raise ConnectorConfigError("`private_key` must be an RSA key in PEM form.") from None
    return token, instance


def _refreshed(
    login: Any,  # noqa: ANN401  # the library is optional
    session: LibrarySession,
    domain: str,
    secrets: Mapping[str, str],
) -> tuple[str, str]:
    form = {"grant_type": "refresh_token", "client_id": secrets["client_id"], "refresh_token": secrets["refresh_token"]}
    if secrets.get("client_secret"):
        form["client_secret"] = secrets["client_secret"]
    url = f"https://{domain}.salesforce.com/services/oauth2/token"
    token, instance = login.token_login(url, form, domain, secrets["client_id"], None, None, session)
    return token, instance
