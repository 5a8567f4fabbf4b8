"""What a data steward works with: the ledger of judgements. Pairs, rules and models are the console's."""

import json
from typing import Any

from django.contrib import admin
from django.utils.html import format_html_join
from django.utils.translation import gettext_lazy as _

from cdp.admin import LedgerAdmin, column, preformatted, profile_link
from identity.models import Judgement, Verdict

VERDICT_COLOURS = {Verdict.SAME.value: "success", Verdict.NOT_SAME.value: "danger"}


@admin.register(Judgement)
class JudgementAdmin(LedgerAdmin):
    list_display = (
        "created_at",
        "coloured_verdict",
        "one_side",
        "other_side",
        "kind",
        "shown_weight",
        "author",
        "retracts",
    )
    list_filter = ("verdict", "kind")
    list_select_related = ("left", "right", "author", "retracts")
    ordering = ("-pk",)
    fields = ("verdict", "kind", "one_side", "other_side", "people", "weight", "shown_evidence", "model", "author", "retracts",
        "created_at",
    )  # fmt: skip
    readonly_fields = ("one_side", "other_side", "people", "shown_evidence")

    @column(description=_("one side"))
    def one_side(self, judgement: Judgement) -> str:
        return str(judgement.left)

    @column(description=_("other side"))
    def other_side(self, judgement: Judgement) -> str:
        return str(judgement.right)

    @column(description=_("verdict"), label=VERDICT_COLOURS, ordering="verdict")
    def coloured_verdict(self, judgement: Judgement) -> tuple[str, str]:
        return judgement.verdict, str(judgement.get_verdict_display())

    @column(description=_("match weight"))
    def shown_weight(self, judgement: Judgement) -> str:
        return f"{judgement.weight:+.1f}"

    @column(description=_("profiles"))
    def people(self, judgement: Judgement) -> Any:
        profiles = sorted({judgement.left.profile_id, judgement.right.profile_id})
        return format_html_join(", ", "{}", ((profile_link(profile),) for profile in profiles))

    @column(description=_("evidence"))
    def shown_evidence(self, judgement: Judgement) -> Any:
        return preformatted(json.dumps(judgement.evidence, indent=1, ensure_ascii=False))
