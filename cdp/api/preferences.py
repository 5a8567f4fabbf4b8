"""`/preferences/{link}`: a person's own page. Without JavaScript and without cookies: the link is the key.

To refuse everything takes what it takes to accept everything: one button, of the same size, beside the other.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone, translation
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api.identifiers import PROFILE_TYPE, read_identifier
from cdp.api.keys import KeyedView, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.api.wakeups import wake_on_commit
from cdp.ingestion.naming import InvalidIdentifierError
from cdp.kernel.purposes import Purpose
from cdp.models import Scope, Stage
from consent import preferences
from consent.preferences import InvalidLinkError, Link, Question

LANGUAGES: Final = ("en", "fr")
WORDS: Final[Mapping[Purpose, tuple[Promise, Promise]]] = {
    Purpose.IDENTITY: (
        _("Recognise me"),
        _("Records of you from the shop, the till and the support are put together, so that you are one customer."),
    ),
    Purpose.ENRICHMENT: (
        _("Complete what is known of me"),
        _("Other companies are asked for what is missing, such as your town. They hear whom we ask about."),
    ),
    Purpose.SEGMENTATION: (
        _("Choose what I am offered"),
        _("What you bought and looked at decides which group of customers you are counted to."),
    ),
    Purpose.LEARNING: (_("Learn from my data"), _("Your data are among those that predictions are learned from.")),
    Purpose.ADVERTISING: (
        _("Show me advertising on other sites"),
        _("Advertising platforms learn that you are our customer, so that they show you our advertisements."),
    ),
    Purpose.ANALYTICS: (_("Count me in statistics"), _("Your visits and purchases are counted in our figures.")),
}


class PreferenceLinkRequest(serializers.Serializer[Any]):
    identifier = serializers.CharField(max_length=600, help_text="`TYPE:VALUE`: send the link there and nowhere else")


class PreferenceLinkBody(serializers.Serializer[Any]):
    url = serializers.URLField()
    until = serializers.DateTimeField()


class LinksView(KeyedView):
    scopes = {"POST": Scope.CONSENTS_WRITE}

    @extend_schema(
        operation_id="make_preference_link",
        summary="The address of a person's own page, to be sent to the identifier that it is for",
        request=PreferenceLinkRequest,
        responses={200: PreferenceLinkBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        asked = PreferenceLinkRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        named = read_identifier(request, asked.validated_data["identifier"])
        if named.type == PROFILE_TYPE:  # a link is sent to somebody, and a number is no address
            raise InvalidIdentifierError
        token, until = preferences.link_for(named, workspace_id=workspace_of(request), now=timezone.now())
        url = request.build_absolute_uri(reverse("preferences", args=[token]))
        return Response(PreferenceLinkBody({"url": url, "until": until}).data)


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def page(request: HttpRequest, token: str) -> HttpResponse:
    """A form of another site could not know the link, and there is no cookie that it could use."""
    with translation.override(_language(request)):
        try:
            link = preferences.read_link(token, now=timezone.now())
        except InvalidLinkError:
            return _page(request, HTTPStatus.NOT_FOUND, is_valid=False)
        if request.method == "POST":
            _answer(request, link)
        asked = preferences.questions(link, now=timezone.now())
        return _page(
            request, HTTPStatus.OK, is_valid=True, is_saved=request.method == "POST", whose=_hint(link.identifier.value),
            consents=_told(asked, is_consent=True), interests=_told(asked, is_consent=False),
        )  # fmt: skip


def _answer(request: HttpRequest, link: Link) -> None:
    now = timezone.now()
    asked = [question.purpose for question in preferences.questions(link, now=now)]
    wanted = request.POST.get("choose", "")
    if wanted in {"all", "none"}:
        answers = dict.fromkeys(asked, wanted == "all")
    else:
        answers = {each: request.POST[each] == "yes" for each in asked if request.POST.get(each) in {"yes", "no"}}
    preferences.answer(link, answers, now=now)
    wake_on_commit(Stage.ACTIVATION, workspace_id=link.workspace_id)
    wake_on_commit(Stage.SEGMENTS, workspace_id=link.workspace_id)


def _told(asked: Sequence[Question], *, is_consent: bool) -> list[dict[str, object]]:
    return [
        {
            "name": each.purpose.value,
            "title": WORDS[each.purpose][0],
            "text": each.description or WORDS[each.purpose][1],
            "answer": each.answer,
        }
        for each in asked
        if each.is_consent is is_consent
    ]


def _hint(value: str) -> str:
    """Enough for the person to see that it is their own page, and no more for somebody who looks over the shoulder."""
    name, at, domain = value.partition("@")
    return f"{name[:1]}…{at}{domain}" if at else f"…{value[-2:]}"


def _language(request: HttpRequest) -> str:
    asked = request.GET.get("lang", "")
    return asked if asked in LANGUAGES else translation.get_language_from_request(request)


def _page(request: HttpRequest, status: HTTPStatus, **context: object) -> HttpResponse:
    answer = render(request, "preferences/page.html", {**context, "languages": LANGUAGES}, status=status)
    answer["Cache-Control"] = "no-store"
    answer["Referrer-Policy"] = "no-referrer"  # the address is a secret
    answer["X-Robots-Tag"] = "noindex"
    answer["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"
    return answer


urlpatterns = [path("preferences/<str:token>", page, name="preferences")]
