"""What a person is told about their request, in their language: what was done, what stays, who was told, and where to
complain. Nothing in it says who they are, so that it can be pasted anywhere.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from django.db import connection
from django.utils import timezone, translation
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from cdp.models.tenancy import workspace_scope
from consent.models import DataRequest, ErasureAnswer, RequestWork
from consent.request_states import RequestState
from consent.requests import UnknownRequestError, vouched_for
from consent.rights import Right

COMPLAINTS: Final = _(
    "You may complain to a supervisory authority (GDPR Art. 77), in France the CNIL: www.cnil.fr. You may also go to court."
)
_DONE: Final[Mapping[str, Any]] = MappingProxyType(
    {
        Right.ACCESS: _("Here is a copy of everything that we hold about you."),
        Right.PORTABILITY: _("Here are the data that you gave us, in a form that machines read."),
        Right.ERASURE: _("We have erased you, and made sure that you do not come back by another way."),
        Right.RESTRICTION: _("We keep your data, and use them for nothing until you or we lift the restriction."),
        Right.OBJECTION: _("We no longer use your data for what you objected to."),
        Right.WITHDRAWAL: _(
            "We no longer use your data for what you had permitted. What was done before remains lawful."
        ),
        Right.RECTIFICATION: _("We have corrected what was wrong."),
        Right.HUMAN_REVIEW: _("A human has looked at the decision."),
    }
)
_KEPT: Final = _(
    "We keep proof of what you permitted, of this request and of its answer, and keyed digests by which you are not stored"
    " again: no value of yours (Art. 17(3))."
)
_ANSWERS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "": _("was sent your data"),
        ErasureAnswer.PENDING: _("was told, and has not answered yet"),
        ErasureAnswer.ACKNOWLEDGED: _("has confirmed the erasure"),
        ErasureAnswer.REFUSED: _("has refused"),
        ErasureAnswer.UNSUPPORTED: _("has removed you from its audiences, and knows no further erasure"),
    }
)


@dataclass(frozen=True, slots=True)
class Recipient:
    """`answer` is empty where nothing was to be erased."""

    destination: str
    answer: str = ""


@dataclass(frozen=True, slots=True)
class PersonalAnswer:
    locale: str
    text: str
    recipients: list[Recipient]


def answer_to(*, workspace_id: int, request_id: int) -> PersonalAnswer:
    """What can be told now. Recipients are named only to whom asks for them: they are no part of the text (Art. 19)."""
    with workspace_scope(workspace_id):
        request = DataRequest.objects.filter(workspace=workspace_id, pk=request_id).first()
        if request is None:
            raise UnknownRequestError(request=request_id)
        work = RequestWork.objects.filter(request=request).select_related("erasure").first()
        recipients = _recipients(request, work)
    with translation.override(request.locale):
        text = "\n\n".join(str(part) for part in _parts(request, work, is_sent=bool(recipients)))
    return PersonalAnswer(request.locale, text, recipients)


def words_for(recipient: Recipient) -> str:
    return str(_ANSWERS[recipient.answer])


def _parts(request: DataRequest, work: RequestWork | None, *, is_sent: bool) -> Iterator[object]:
    yield gettext("You wrote to us on %(day)s: %(right)s.") % {
        "day": _day(request.received_at), "right": request.get_kind_display()
    }  # fmt: skip
    if request.state == RequestState.REFUSED:
        yield gettext("We do not do what you ask, because: %(reason)s") % {"reason": request.refusal_reason}
    elif request.state == RequestState.COMPLETED or (work is not None and work.done_at):
        yield from _done(request, work, is_sent=is_sent)
    else:
        yield from _waiting(request)
    yield COMPLAINTS


def _done(request: DataRequest, work: RequestWork | None, *, is_sent: bool) -> Iterator[object]:
    yield _DONE[request.kind]
    if work is not None and work.outcome:
        yield work.outcome
    if request.kind == Right.ERASURE:
        yield _KEPT
    if is_sent:
        yield gettext("Others were sent your data and were told. On request we tell you who (Art. 19).")


def _waiting(request: DataRequest) -> Iterator[object]:
    if request.extension_reason:
        yield gettext("We need two more months, because: %(reason)s") % {"reason": request.extension_reason}
    yield gettext("You have our answer by %(day)s.") % {"day": _day(request.due_at)}


def _day(at: datetime) -> str:
    return date_format(timezone.localtime(at), "DATE_FORMAT")


# -- recipients -----------------------------------------------------------------------------------------------------

# Whoever was ever part of a request to a destination, and whoever is there still.
_SENT: Final = """
SELECT DISTINCT d.slug FROM identifier i
JOIN audience_member m ON m.profile_id = i.profile_id AND m.run_id IS NOT NULL
JOIN audience a ON a.id = m.audience_id JOIN destination d ON d.id = a.destination_id
WHERE i.workspace_id = %s AND i.digest = ANY(%s) ORDER BY d.slug
"""


def _recipients(request: DataRequest, work: RequestWork | None) -> list[Recipient]:
    """Of those who were erased what their destinations answered; of others who was sent their data. In the scope."""
    if work is not None and work.erasure is not None:
        told = work.erasure.orders.order_by("destination", "pk").values_list("destination", "answer")
        return list(dict.fromkeys(Recipient(slug, answer) for slug, answer in told))
    shown = [bytes(digest) for digest in request.digests[: vouched_for(request)]] if request.verification else []
    with connection.cursor() as cursor:
        cursor.execute(_SENT, [request.workspace_id, shown])
        return [Recipient(slug) for (slug,) in cursor.fetchall()]
