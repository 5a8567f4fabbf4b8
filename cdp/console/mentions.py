"""What others said of a person: an officer's words where they stand, the rows ticked, seen as they would be, blotted out.

The words come in the body of a request and go nowhere else: into no address, no message and no history.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget

from cdp.admin import number_in
from cdp.kernel.errors import TesseraError
from consent import mentions
from consent.excerpts import Mention
from consent.models import DataRequest

PLACE_WORDS: Final = {
    "event": _("Events"),
    "record": _("Records"),
    "identifier_trait": _("Values"),
    "quarantine": _("Quarantine"),
}


class WordsForm(forms.Form):
    """The words, and the tables to look in."""

    text = forms.CharField(
        label=_("Words"), max_length=mentions.LONGEST,
        help_text=_("Whole words in any case, such as a full name: from 4 to 200 characters. They are kept nowhere."),
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "autofocus": True}),
    )  # fmt: skip
    places = forms.MultipleChoiceField(
        label=_("Look in"), choices=list(PLACE_WORDS.items()), initial=list(PLACE_WORDS),
        widget=forms.CheckboxSelectMultiple,
    )  # fmt: skip

    def asked(self) -> dict[str, Any]:
        return {"text": self.cleaned_data["text"], "places": self.cleaned_data["places"]}


@dataclass(frozen=True)
class Table:
    """What was found in one table. `shown` are the ids on the page, as the form carries them along."""

    place: str
    words: Any
    number: int
    mentions: Sequence[Mention]

    @property
    def shown(self) -> str:
        return ",".join(str(mention.id) for mention in self.mentions)

    @property
    def are_left_out(self) -> bool:
        return len(self.mentions) < self.number


def answer_to(request: HttpRequest, found: DataRequest, named: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the page shows; nothing when the words were blotted out, and there is nothing to look at any more."""
    form = WordsForm(request.POST if request.method == "POST" else None)
    page = {"title": gettext("What others said"), "form": form, "may_redact": mentions.may_redact(found)}
    if not form.is_valid():
        return page
    step = STEPS.get(request.POST.get("do", ""), _find)
    try:
        seen = step(request, form, named)
    except TesseraError as error:
        messages.error(request, error.message)
        return page
    return None if seen is None else {**page, **seen}


# -- steps ------------------------------------------------------------------------------------------------------------


def _find(_request: HttpRequest, form: WordsForm, named: Mapping[str, Any]) -> dict[str, Any]:
    return {"tables": tables_of(mentions.show_mentions(**named, **form.asked()))}


def _preview(request: HttpRequest, form: WordsForm, named: Mapping[str, Any]) -> dict[str, Any]:
    """Without any ticked, the list again."""
    chosen = chosen_in(request.POST)
    if not chosen:
        messages.error(request, mentions.NothingChosenError().message)
        return _find(request, form, named)
    shown = mentions.show_mentions(**named, **form.asked(), chosen=chosen)
    return {"tables": tables_of(shown), "is_preview": True, "looked": digest_of(form, ids_of(shown.mentions))}


def _redact(request: HttpRequest, form: WordsForm, named: Mapping[str, Any]) -> dict[str, Any] | None:
    chosen = chosen_in(request.POST)
    if request.POST.get("looked") != digest_of(form, chosen):
        return _preview(request, form, named)
    done = sum(mentions.redact_mentions(**named, **form.asked(), chosen=chosen).counts.values())
    told = ngettext("The words were blotted out in %d row.", "The words were blotted out in %d rows.", done) % done
    messages.success(request, told)
    return None


STEPS: Final = {"find": _find, "preview": _preview, "redact": _redact}


def tables_of(shown: mentions.Shown) -> list[Table]:
    return [
        Table(place, PLACE_WORDS[place], number, [each for each in shown.mentions if each.place == place])
        for place, number in shown.found.counts.items()
    ]


def ids_of(shown: Iterable[Mention]) -> dict[str, list[int]]:
    ids: dict[str, list[int]] = {}
    for mention in shown:
        ids.setdefault(mention.place, []).append(mention.id)
    return ids


def chosen_in(post: QueryDict) -> dict[str, list[int]]:
    """What is ticked, or all of a table that the page showed."""
    chosen = {}
    for place in PLACE_WORDS:
        written = post.getlist(place)
        if place in post.getlist("all"):
            written = [*written, *post.get(f"shown-{place}", "").split(",")]
        if ids := sorted({number for number in map(number_in, written) if number}):
            chosen[place] = ids
    return chosen


def digest_of(form: WordsForm, chosen: Mapping[str, Sequence[int]]) -> str:
    """Nobody blots out what they have not looked at: the preview carries this, and the order repeats it."""
    said = [form.cleaned_data["text"], {place: sorted(ids) for place, ids in chosen.items()}]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
