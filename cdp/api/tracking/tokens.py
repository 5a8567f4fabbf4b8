"""`POST /oauth2/token`: an assertion for an access token (RFC 6749, RFC 7523). The SDKs' `authServer` is `…/oauth2`."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from cdp.api.tracking import answers
from cdp.api.tracking.requests import body_of
from cdp.ingestion import tokens
from cdp.ingestion.bodies import BodyTooLargeError, InvalidJsonError

GRANT: Final = "client_credentials"
ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LARGEST_FORM: Final = 16_384
UNCACHED: Final = {"Cache-Control": "no-store"}


@csrf_exempt
def token(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return answers.wrong_method("POST")
    try:
        form = _form_of(request)
    except (BodyTooLargeError, InvalidJsonError):
        return _refused("invalid_request", "The form could not be read.")
    return _refusal_of(form) or _issued(form["client_assertion"], request.get_host())


def _form_of(request: HttpRequest) -> Mapping[str, str]:
    body = body_of(request.META)
    if len(body) > LARGEST_FORM:
        raise BodyTooLargeError
    return dict(parse_qsl(body.decode(errors="replace"), errors="replace"))


def _refusal_of(form: Mapping[str, str]) -> HttpResponse | None:
    if form.get("grant_type") != GRANT:
        return _refused("unsupported_grant_type", f"`grant_type` must be {GRANT}.")
    if form.get("client_assertion_type") != ASSERTION or not form.get("client_assertion"):
        return _refused("invalid_request", f"Send `client_assertion`, and {ASSERTION} as its type.")
    if tokens.SCOPE not in form.get("scope", tokens.SCOPE).split():
        return _refused("invalid_scope", f"The one scope is {tokens.SCOPE}.")
    return None


def _issued(assertion: str, host: str) -> HttpResponse:
    try:
        access_token = tokens.issue_token(assertion=assertion, host=host, now=timezone.now())
    except tokens.InvalidClientError as error:
        return _refused(error.code, error.message, HTTPStatus.UNAUTHORIZED)
    except tokens.AssertionTimeError as error:
        return _refused(error.code, error.message)
    except DatabaseError:
        return answers.not_stored()
    body = {"access_token": access_token, "token_type": "Bearer", "scope": tokens.SCOPE}
    return answers.as_json({**body, "expires_in": tokens.LIFETIME_SECONDS}, headers=UNCACHED)


def _refused(code: str, message: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> HttpResponse:
    """In the words of OAuth beside our own."""
    body = {"code": code, "message": message, "error": code, "error_description": message}
    return answers.as_json(body, status, UNCACHED)
