"""What a figure means, in a sentence of the language that is active."""

import json
from collections.abc import Mapping
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from segments.kpis.definitions import (
    Average,
    Contacts,
    Conversion,
    Cycle,
    Entries,
    Exits,
    Figure,
    Kpi,
    Renewal,
    Retention,
    Revenue,
    Size,
    Who,
)

_AT_START: Final = _("Of the members at the beginning of the period, the share that did %(event)s in it.")
_BY_WHO: Final[Mapping[Who, Promise | str]] = {
    Who.DURING: _(
        "Of all who were members at any time of the period, the share that did %(event)s in it, while they were members."
    ),
    Who.START: _AT_START,
    Who.END: _("Of the members at the end of the period, the share that did %(event)s in it."),
}
_PLAIN: Final[Mapping[type[Figure], Promise | str]] = {
    Size: _("Members at the end of the period."),
    Entries: _("Entries in the period; who enters twice is counted twice."),
    Exits: _("Exits in the period; who leaves twice is counted twice."),
    Average: _("The mean of “%(amount)s” over all %(event)s that people did while they were members."),
    Revenue: _("The sum of “%(amount)s” over all %(event)s that people did while they were members."),
    Retention: _("Of the members at the beginning of the period, the share that are members at its end."),
    Renewal: _(
        "Of what came due (%(due)s, one for each “%(key)s”) for people who were members then, the share that was renewed"
        " (%(renewed)s) within %(within_days)s days before or after."
    ),
    Cycle: _(
        "The median of the days from %(opened)s to %(closed)s, over what closed in the period for people who were members"
        " then; both have the same “%(key)s”."
    ),
    Contacts: _(
        "How many contacts (%(contacts)s) there were between %(opened)s and %(closed)s, in the mean over what closed in"
        " the period for people who were members then; all have the same “%(key)s”."
    ),
}
_WITH_CONDITIONS: Final = ("event", "due", "closed")


def sentence_of(kpi: Kpi) -> str:
    """Whole, with the names of events and properties as they are."""
    match kpi:
        case Conversion(who=who):
            told = _BY_WHO[who]
        case Retention(event=str()):
            told = _AT_START
        case _:
            told = _PLAIN[type(kpi)]
    return str(told) % _names_in(kpi)


def _names_in(kpi: Kpi) -> Mapping[str, object]:
    given = {name: getattr(kpi, name) for name in kpi.__struct_fields__}
    where = given.get("where", {})
    events = {
        name: _quoted(given[name], where if name in _WITH_CONDITIONS else {})
        for name in ("event", "due", "closed", "renewed", "opened")
        if given.get(name)
    }
    return {**given, **events, "contacts": ", ".join(_quoted(name, {}) for name in given.get("contacts", ()))}


def _quoted(name: str, where: Mapping[str, object]) -> str:
    conditions = ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in where.items())
    return f"“{name}” ({conditions})" if conditions else f"“{name}”"
