"""`manage.py computed`: values made of what people did, under names that rules can use."""

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from cdp.management.command import TesseraCommand
from segments import computed
from segments.language import measured_to_text

MEASURE = 'what is measured: sum of "amount" of "Order Completed" in last 365 days'


class Command(TesseraCommand):
    help = "Define, change and list computed traits."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        actions = self.add_actions(parser)
        for action, told in (
            ("create", "a new one"),
            ("change", "measured so from now on; publishes who uses it anew"),
        ):
            define = actions.add_parser(action, help=told)
            define.add_argument("slug")
            define.add_argument("definition", metavar="MEASURE", help=MEASURE)
        archive = actions.add_parser("archive", help="rules can use it no longer")
        archive.add_argument("slug")
        rfm = actions.add_parser("rfm", help="make recency, frequency and monetary, of the last year")
        rfm.add_argument("event", help="such as Order Completed")
        rfm.add_argument("amount", help="the property that holds the money")
        actions.add_parser("show", help="all computed traits")

    def handle(self, *args: Any, **options: Any) -> None:
        do = {
            "create": self._create, "change": self._change, "archive": self._archive, "rfm": self._rfm, "show": self._show,
        }  # fmt: skip
        self.emit(do[options["action"]](options, self.workspace_id(options)))

    def _create(self, options: Mapping[str, Any], workspace_id: int) -> Mapping[str, Any]:
        slug, definition = options["slug"], options["definition"]
        computed.create_computed_trait(
            workspace_id=workspace_id, slug=slug, name="", definition=definition, author=None
        )
        return {"computed": slug}

    def _change(self, options: Mapping[str, Any], workspace_id: int) -> Mapping[str, Any]:
        slug, definition, now = options["slug"], options["definition"], timezone.now()
        published = computed.change_computed_trait(
            workspace_id=workspace_id, slug=slug, definition=definition, author=None, now=now
        )
        return {"computed": slug, "published": list(published)}

    def _archive(self, options: Mapping[str, Any], workspace_id: int) -> Mapping[str, Any]:
        computed.archive_computed_trait(workspace_id=workspace_id, slug=options["slug"], now=timezone.now())
        return {"archived": options["slug"]}

    def _rfm(self, options: Mapping[str, Any], workspace_id: int) -> Mapping[str, Any]:
        event, amount = options["event"], options["amount"]
        made = computed.make_rfm(workspace_id=workspace_id, event=event, amount=amount, author=None)
        return {"computed": [each.slug for each in made]}

    def _show(self, _: Mapping[str, Any], workspace_id: int) -> Mapping[str, Any]:
        found = computed.computed_traits_of(workspace_id)
        return {"computed": {slug: measured_to_text(each) for slug, each in found.items()}}
