"""Kind and region of a phone number, from the numbering plans that come with `phonenumbers`: no network, no cost.

The carrier is left out on purpose: numbers are ported, so what the plan says of it is often wrong.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import phonenumbers
from phonenumbers import PhoneNumberType

from cdp.kernel.identifiers import Identifier
from enrichment.provider import Answer, QuestionFailedError

KINDS: Mapping[int, str] = MappingProxyType(
    {
        PhoneNumberType.FIXED_LINE: "fixed_line",
        PhoneNumberType.MOBILE: "mobile",
        PhoneNumberType.FIXED_LINE_OR_MOBILE: "fixed_line_or_mobile",
        PhoneNumberType.TOLL_FREE: "toll_free",
        PhoneNumberType.PREMIUM_RATE: "premium_rate",
        PhoneNumberType.SHARED_COST: "shared_cost",
        PhoneNumberType.VOIP: "voip",
        PhoneNumberType.PERSONAL_NUMBER: "personal_number",
        PhoneNumberType.PAGER: "pager",
        PhoneNumberType.UAN: "company_number",
        PhoneNumberType.VOICEMAIL: "voicemail",
    }
)
WORLDWIDE = "001"  # numbers such as +800 belong to no region


class PhonenumbersOffline:
    """The version is that of the numbering plans: when they change, numbers are looked up again."""

    slug = "phonenumbers-offline"
    version: str = phonenumbers.__version__
    identifier_types = frozenset({"phone"})

    def look_up(self, questions: Sequence[Identifier]) -> Iterable[Answer]:
        return map(_answer, questions)


def _answer(question: Identifier) -> Answer:
    try:
        number = phonenumbers.parse(question.value)
    except phonenumbers.NumberParseException:
        # The exception's text quotes the number, hence a sentence of our own.
        return Answer(question, failure=QuestionFailedError("This is no E.164 phone number.", is_permanent=True))
    if not phonenumbers.is_valid_number(number):
        return Answer(question)
    return Answer(question, _traits(number))


def _traits(number: phonenumbers.PhoneNumber) -> dict[str, str]:
    kind = KINDS.get(phonenumbers.number_type(number))
    region = phonenumbers.region_code_for_number(number)
    traits = {"phone_type": kind, "phone_region": None if region == WORLDWIDE else region}
    return {name: value for name, value in traits.items() if value}
