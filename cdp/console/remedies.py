"""The forms by which people choose quarantined items and say how to mend them."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from cdp.ingestion import quarantine
from cdp.ingestion.mending import Mend, read_mend
from cdp.ingestion.quarantine import Chosen
from cdp.ingestion.rereading import Correction, read_mapping_text
from cdp.kernel.errors import TesseraError
from cdp.models import QuarantinedItem, Source

Meant = TypeVar("Meant")

MOST_IDS: Final = 1_000
WAITING: Final = "waiting"
STATES: Final = {
    WAITING: Q(replayed_at=None, discarded_at=None),
    "replayed": Q(replayed_at__isnull=False),
    "discarded": Q(discarded_at__isnull=False),
    "all": Q(),
}


def _moment() -> forms.DateTimeInput:
    """The browser's own picker."""
    classes = UnfoldAdminTextInputWidget().attrs["class"]
    return forms.DateTimeInput(attrs={"type": "datetime-local", "class": classes}, format="%Y-%m-%dT%H:%M")


class ChosenForm(forms.Form):
    """Which items: the filters above the list, carried along to the page that mends."""

    source = forms.ChoiceField(label=_("Source"), required=False, widget=UnfoldAdminSelectWidget)
    code = forms.CharField(label=_("Code"), required=False, max_length=64, widget=UnfoldAdminTextInputWidget)
    place = forms.CharField(
        label=_("Place"), required=False, max_length=500,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "customers.csv:*"}),
    )  # fmt: skip
    since = forms.DateTimeField(label=_("Came since"), required=False, widget=_moment())
    until = forms.DateTimeField(label=_("Came before"), required=False, widget=_moment())
    text = forms.CharField(label=_("Holds the text"), required=False, max_length=500, widget=UnfoldAdminTextInputWidget)
    state = forms.ChoiceField(
        label=_("State"), required=False, widget=UnfoldAdminSelectWidget,
        choices=[(WAITING, _("waiting")), ("replayed", _("replayed")), ("discarded", _("discarded")), ("all", _("all"))],
    )  # fmt: skip
    ids = forms.CharField(required=False, max_length=20 * MOST_IDS, widget=forms.HiddenInput)

    def __init__(self, given: QueryDict, *, workspace_id: int) -> None:
        super().__init__(given)
        self.workspace_id = workspace_id
        names = list(Source.objects.filter(workspace=workspace_id).order_by("name").values_list("name", flat=True))
        self.fields["source"].choices = [("", _("all")), *((name, name) for name in names)]  # type: ignore[attr-defined]  # a ChoiceField

    def clean_ids(self) -> list[int]:
        written = [each for each in self.cleaned_data["ids"].split(",") if each]
        if len(written) > MOST_IDS or not all(each.isdecimal() and len(each) < 19 for each in written):
            raise ValidationError(_("At most %(number)s ids."), params={"number": MOST_IDS})
        return [int(each) for each in written]

    def chosen(self) -> Chosen:
        """What is said wrongly chooses nothing."""
        if not self.is_valid():
            return Chosen(ids=[0])
        return Chosen(**{name: value for name, value in self.cleaned_data.items() if name != "state" and value})

    def listed(self, rows: QuerySet[QuarantinedItem]) -> QuerySet[QuarantinedItem]:
        """Those among `rows` that the list shows: what waits, where nothing else is said."""
        chosen = quarantine.items_in(self.chosen(), workspace_id=self.workspace_id)
        state = self.cleaned_data.get("state") or WAITING
        return rows.filter(STATES[state], pk__in=chosen.values("pk"))


class RemedyForm(forms.Form):
    """How to mend what was chosen."""

    mend = forms.CharField(
        label=_("Operations"), required=False, strip=False,
        widget=UnfoldAdminTextareaWidget(
            attrs={"rows": 8, "spellcheck": "false", "placeholder": "- rename: user_id\n  to: userId"}
        ),
        help_text=_(
            "A list in YAML. Each operation names a path: set, default, rename, copy, remove, to_text, to_number,"
            " truncate, parse_date, replace; text replaces in what is no JSON. Empty: as it came."
        ),
    )  # fmt: skip
    mapping = forms.CharField(
        label=_("Another mapping"), required=False, strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4, "spellcheck": "false", "placeholder": "key: customer_no"}),
        help_text=_("For rows of files, in place of the one that they were loaded with."),
    )  # fmt: skip
    reason = forms.CharField(
        label=_("Why it is discarded"), required=False, max_length=1_000, widget=UnfoldAdminTextInputWidget
    )

    def clean_mend(self) -> Mend:
        return _understood(read_mend, self.cleaned_data["mend"])

    def clean_mapping(self) -> Mapping[str, Any] | None:
        text = self.cleaned_data["mapping"]
        return _understood(read_mapping_text, text) if text.strip() else None

    def correction(self) -> Correction:
        return Correction(self.cleaned_data["mend"], self.cleaned_data["mapping"])


def _understood(read: Callable[[str], Meant], text: str) -> Meant:
    try:
        return read(text)
    except TesseraError as error:
        raise ValidationError(error.message, code=error.code) from error
