"""What others wrote into signals is read as their own libraries read it; whatever cannot be read is said with its place."""

import json
import re
import string
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.embedded import CHECKOUT
from cdp.kernel.purposes import Purpose
from consent.signals import consent_mode, gpc, gpp, gpp_layouts, preferences, reading, tc_string
from consent.signals.bits import ALPHABET, LONGEST, Bits, Ids, MalformedSignalError
from consent.signals.tc_string import Basis, Fault, Ground, VendorPurpose
from tests.factories.signals import Writer, gpp_header, tc_core, tc_vendors

FIXTURES = CHECKOUT / "tests" / "conformance" / "signals"
TC_STRINGS = json.loads((FIXTURES / "tc_strings.json").read_text())
GPP_STRINGS = json.loads((FIXTURES / "gpp_strings.json").read_text())
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
EXAMPLE = "CQSbk4AQSbk4ANwAAAENAwCgAAAAAAAAAAYgACPAAAAA.IDKQA4AAgAKAGQAygAAA.YAAAAAAAAAAA"

EXAMPLE_CORE = EXAMPLE.partition(".")[0]


def numbers(ids):
    return [number for first, last in ids.ranges for number in range(first, last + 1)]


def places(flags):
    return tuple(place for place, flag in enumerate(flags, start=1) if flag)


def snake(name):
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


# -- TC strings -----------------------------------------------------------------------------------------------------


def test_decode__of_the_example_of_the_specification__says_what_it_says_there():
    said = tc_string.decode(EXAMPLE)

    assert (said.cmp_id, said.consent_language, said.vendor_list_version, said.policy_version) == (880, "EN", 48, 2)
    assert (said.publisher_country, said.created_at) == ("DE", datetime(2025, 6, 3, tzinfo=UTC))
    assert (said.purpose_consents, said.purpose_interests, said.restrictions) == ((), (), ())
    assert said.vendor_consents == Ids(((1, 4),))
    assert said.disclosed_vendors == Ids(((1, 5), (100, 100), (404, 404)))
    assert said.text == EXAMPLE


@pytest.mark.parametrize("made", TC_STRINGS, ids=lambda made: made["text"][:24])
def test_decode__of_a_string_that_the_library_made__agrees_with_it(made):
    said, expected = tc_string.decode(made["text"]), made["said"]

    assert said.created_at == said.updated_at == datetime.fromisoformat(expected["created"])
    assert (said.cmp_id, said.cmp_version, said.consent_screen) == (
        expected["cmpId"], expected["cmpVersion"], expected["consentScreen"],
    )  # fmt: skip
    assert (said.consent_language, said.publisher_country) == (
        expected["consentLanguage"], expected["publisherCountryCode"],
    )  # fmt: skip
    assert (said.vendor_list_version, said.policy_version) == (
        expected["vendorListVersion"], expected["policyVersion"],
    )  # fmt: skip
    assert (said.is_service_specific, said.has_own_texts, said.is_purpose_one_undisclosed) == (
        expected["isServiceSpecific"], expected["useNonStandardTexts"], expected["purposeOneTreatment"],
    )  # fmt: skip
    assert list(said.special_features) == expected["specialFeatureOptins"]
    assert list(said.purpose_consents) == expected["purposeConsents"]
    assert list(said.purpose_interests) == expected["purposeLegitimateInterests"]
    assert numbers(said.vendor_consents) == expected["vendorConsents"]
    assert numbers(said.vendor_interests) == expected["vendorLegitimateInterests"]
    assert numbers(said.disclosed_vendors) == expected["vendorsDisclosed"]
    assert sorted((each.purpose, each.kind.value, numbers(each.vendors)) for each in said.restrictions) == sorted(
        (each["purpose"], each["kind"], each["vendors"]) for each in expected["restrictions"]
    )
    assert said.publisher == tc_string.PublisherPurposes(
        consents=tuple(expected["publisherConsents"]),
        interests=tuple(expected["publisherLegitimateInterests"]),
        custom_purposes=expected["numCustomPurposes"],
        custom_consents=tuple(expected["publisherCustomConsents"]),
        custom_interests=tuple(expected["publisherCustomLegitimateInterests"]),
    )


def test_decode__of_segments_in_another_order__reads_the_same():
    core, disclosed, publisher = EXAMPLE.split(".")

    said = tc_string.decode(f"{core}.{publisher}.{disclosed}")

    assert said.disclosed_vendors == tc_string.decode(EXAMPLE).disclosed_vendors


def test_decode__of_the_vendors_that_a_publisher_allows__reads_them():
    said = tc_string.decode(f"{tc_core()}.{tc_vendors(2, [3, 4, 9])}")

    assert numbers(said.allowed_vendors) == [3, 4, 9]


@pytest.mark.parametrize(
    ("text", "reason", "position"),
    [
        ("", "it ends too early", 0),
        ("CQSbk4AQ", "it ends too early", 8),
        ("CQSbk4AQ+bk4", "not a character of base64url", 8),
        ("BQSbk4AQSbk4ANwAAAENAwCg", "it is no TC string of version 2", 0),
        (f"{EXAMPLE}.YAAAAAAAAAAA", "a segment comes twice", 79),
        (EXAMPLE_CORE + ".gAAA", "no such segment", 45),
        (EXAMPLE_CORE + ".IDK", "it ends too early", 48),
        (tc_core(language="1A"), "not a letter", 19),
        ("C" * (LONGEST + 1), "a signal has at most 32768 characters", LONGEST),
    ],
)
def test_decode__of_what_is_no_tc_string__says_where_and_why(text, reason, position):
    with pytest.raises(MalformedSignalError) as refused:
        tc_string.decode(text)

    assert refused.value.details == {"reason": reason, "position": position}
    assert refused.value.code == "malformed_signal"


@pytest.mark.parametrize("ends", [(5, 3), (0, 3), (7, 11)])
def test_decode__of_a_range_that_cannot_be__is_refused(ends):
    bits = (
        Writer().number(1, 3).number(10, 16).flag(True).number(1, 12).flag(True).number(ends[0], 16).number(ends[1], 16)
    )

    with pytest.raises(MalformedSignalError, match="does not ascend or goes past"):
        tc_string.decode(f"{tc_core()}.{bits.text()}")


def test_decode__of_a_restriction_of_a_kind_that_is_not_there__is_refused():
    with pytest.raises(MalformedSignalError, match="no such kind of restriction"):
        tc_string.decode(tc_core(restrictions=[(2, 3, [7])]))


@pytest.mark.parametrize(
    ("changes", "disclosed", "faults"),
    [
        ({}, True, ()),
        ({"policy": 3}, True, (Fault.POLICY_ENDED,)),
        ({"is_service_specific": False}, True, (Fault.NOT_SERVICE_SPECIFIC,)),
        ({"updated": datetime(2026, 3, 3, tzinfo=UTC)}, True, (Fault.DATES_DIFFER,)),
        (
            {"created": datetime(2026, 3, 2, 1, tzinfo=UTC), "updated": datetime(2026, 3, 2, 1, tzinfo=UTC)},
            True,
            (Fault.NOT_A_DAY,),
        ),
        ({"interests": [3]}, True, (Fault.FORBIDDEN_INTEREST,)),
        ({"interests": [6, 7]}, True, (Fault.FORBIDDEN_INTEREST,)),
        ({"interests": [2, 7]}, True, ()),
        ({}, False, (Fault.DISCLOSED_VENDORS_MISSING,)),
        (
            {"created": datetime(2026, 2, 28, tzinfo=UTC), "updated": datetime(2026, 2, 28, tzinfo=UTC)},
            False,
            (),
        ),
        (
            {"created": datetime(2027, 1, 1, tzinfo=UTC), "updated": datetime(2027, 1, 1, tzinfo=UTC)},
            True,
            (Fault.MADE_IN_THE_FUTURE,),
        ),
    ],
)
def test_faults__are_named(changes, disclosed, faults):
    said = tc_string.decode(tc_core(**changes) + (f".{tc_vendors(1, [7])}" if disclosed else ""))

    assert tc_string.faults_of(said, now=NOW) == faults


CONSENTED = {"consents": [1, 2], "vendors": [7]}
INTERESTED = {"interests": [2, 7], "vendor_interests": [7]}


@pytest.mark.parametrize(
    ("changes", "asked", "ground"),
    [
        (CONSENTED, VendorPurpose(7, 2), Ground.PERMITTED),
        (CONSENTED, VendorPurpose(8, 2), Ground.NOT_DISCLOSED),
        ({"consents": [1], "vendors": [7]}, VendorPurpose(7, 2), Ground.PURPOSE_REFUSED),
        ({"consents": [2]}, VendorPurpose(7, 2), Ground.VENDOR_REFUSED),
        (INTERESTED, VendorPurpose(7, 2), Ground.PURPOSE_REFUSED),
        (INTERESTED, VendorPurpose(7, 2, Basis.INTEREST), Ground.PERMITTED),
        ({"interests": [2]}, VendorPurpose(7, 2, Basis.INTEREST), Ground.VENDOR_REFUSED),
        ({**CONSENTED, "policy": 2}, VendorPurpose(7, 2), Ground.INVALID),
        ({**CONSENTED, "restrictions": [(2, 0, [7])]}, VendorPurpose(7, 2), Ground.FORBIDDEN_BY_PUBLISHER),
        ({**CONSENTED, "restrictions": [(2, 0, [8])]}, VendorPurpose(7, 2), Ground.PERMITTED),
        ({**CONSENTED, "restrictions": [(3, 0, [7])]}, VendorPurpose(7, 2), Ground.PERMITTED),
        # The publisher wants another basis than the vendor declared: only who is flexible may go by it.
        ({**INTERESTED, "restrictions": [(2, 1, [7])]}, VendorPurpose(7, 2, Basis.INTEREST), Ground.BASIS_EXCLUDED),
        (
            {**INTERESTED, "restrictions": [(2, 1, [7])]},
            VendorPurpose(7, 2, Basis.INTEREST, is_flexible=True),
            Ground.PURPOSE_REFUSED,
        ),
        (
            {**CONSENTED, "restrictions": [(2, 1, [7])]},
            VendorPurpose(7, 2, Basis.INTEREST, is_flexible=True),
            Ground.PERMITTED,
        ),
        ({**INTERESTED, "restrictions": [(2, 2, [7])]}, VendorPurpose(7, 2, is_flexible=True), Ground.PERMITTED),
        ({**CONSENTED, "restrictions": [(2, 1, [7])]}, VendorPurpose(7, 2), Ground.PERMITTED),
        (
            {**CONSENTED, "restrictions": [(2, 1, [7]), (2, 2, [7])]},
            VendorPurpose(7, 2, is_flexible=True),
            Ground.BASIS_EXCLUDED,
        ),
        # Purpose 1 rests on consent alone, whatever is declared.
        ({**CONSENTED}, VendorPurpose(7, 1, Basis.INTEREST), Ground.PERMITTED),
        ({"interests": [1], "vendor_interests": [7]}, VendorPurpose(7, 1, Basis.INTEREST), Ground.PURPOSE_REFUSED),
        ({**CONSENTED, "restrictions": [(1, 2, [7])]}, VendorPurpose(7, 1, is_flexible=True), Ground.BASIS_EXCLUDED),
        ({**CONSENTED, "purpose_one": True}, VendorPurpose(7, 1), Ground.SEE_PUBLISHER_COUNTRY),
        ({**CONSENTED, "purpose_one": True}, VendorPurpose(7, 2), Ground.PERMITTED),
    ],
)
def test_permission__says_its_ground(changes, asked, ground):
    said = tc_string.decode(f"{tc_core(**changes)}.{tc_vendors(1, [7])}")

    answer = tc_string.permission(said, asked, now=NOW)

    assert (answer.ground, answer.allowed) == (ground, ground is Ground.PERMITTED)


def test_permission__of_an_old_string_without_disclosure__asks_none():
    february = datetime(2026, 2, 1, tzinfo=UTC)

    said = tc_string.decode(tc_core(created=february, updated=february, **CONSENTED))

    assert tc_string.permission(said, VendorPurpose(7, 2), now=NOW).allowed


def test_bases__come_from_the_restriction():
    said = tc_string.decode(f"{tc_core(**CONSENTED, restrictions=[(2, 1, [7])])}.{tc_vendors(1, [7])}")

    answer = tc_string.permission(said, VendorPurpose(7, 2, Basis.INTEREST, is_flexible=True), now=NOW)

    assert answer.basis is Basis.CONSENT


some_ids = st.sets(st.integers(1, 300), max_size=40)


@given(
    consents=st.sets(st.integers(1, 24)),
    vendors=some_ids,
    interests=some_ids,
    restricted=st.lists(st.tuples(st.integers(1, 24), st.integers(0, 2), some_ids), max_size=3),
    day=st.integers(0, 40_000),
    in_ranges=st.booleans(),
)
def test_decode__of_what_was_encoded__gives_it_back(consents, vendors, interests, restricted, day, in_ranges):
    made = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)

    said = tc_string.decode(
        tc_core(
            created=made, consents=consents, vendors=vendors, vendor_interests=interests, restrictions=restricted,
            in_ranges=in_ranges,
        )
    )  # fmt: skip

    assert (said.created_at, set(said.purpose_consents)) == (made, consents)
    assert (set(numbers(said.vendor_consents)), set(numbers(said.vendor_interests))) == (vendors, interests)
    assert [(each.purpose, each.kind, set(numbers(each.vendors))) for each in said.restrictions] == restricted


# -- GPP strings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "ids"),
    [("DBABM", [2]), ("DBABMA", [2]), ("DBACNY", [2, 6]), ("DBACNYA", [2, 6]), ("DBABjw", [5, 6])],
)
def test_header__names_the_sections(header, ids):
    assert gpp.section_ids(header) == ids


@given(st.sets(st.integers(1, 1_000), max_size=20))
def test_header__of_any_sections__gives_them_back(ids):
    assert gpp.section_ids(gpp_header(ids)) == sorted(ids)


@pytest.mark.parametrize("made", GPP_STRINGS, ids=lambda made: made["text"][:24])
def test_decode__of_a_gpp_string_that_the_library_made__agrees_with_it(made):
    said = gpp.decode(made["text"])

    assert [(each.id, each.name) for each in said.sections] == [(each["id"], each["name"]) for each in made["sections"]]
    for section, expected in zip(said.sections, made["sections"], strict=True):
        assert as_library_says(section, expected["said"]) == (expected["said"] | absent(section, expected["said"]))


def absent(section, expected):
    """Where a segment is not there the library tells the defaults of its fields."""
    if not isinstance(section.said, dict):
        return {}
    return {name: None for name in expected if snake(name) not in section.said and name not in UNREAD}


UNREAD = {"MspaVersion", "GpcSegmentType"}  # the one is `version` here, the other the same in every string


def as_library_says(section, expected):
    if section.id == gpp_layouts.CANADA:
        return as_canada_says(section.said)
    said = dict(section.said)
    told = {name: said.pop(snake(name), None) for name in expected if name not in UNREAD}
    if "MspaVersion" in expected:
        told["MspaVersion"] = said.pop("version")
    assert said == {}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()} | {
        name: expected[name] for name in UNREAD & expected.keys() - told.keys()
    }


def as_canada_says(said):
    def flags(found, count=24):
        return [place in found for place in range(1, count + 1)]

    def time(moment):
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    return {
        "Version": 1, "Created": time(said.created_at), "LastUpdated": time(said.updated_at), "CmpId": said.cmp_id,
        "CmpVersion": said.cmp_version, "ConsentScreen": said.consent_screen, "ConsentLanguage": said.consent_language,
        "VendorListVersion": said.vendor_list_version, "TcfPolicyVersion": said.policy_version,
        "UseNonStandardStacks": said.has_own_texts, "SpecialFeatureExpressConsent": flags(said.special_features, 12),
        "PurposesExpressConsent": flags(said.express_consents), "PurposesImpliedConsent": flags(said.implied_consents),
        "VendorExpressConsent": numbers(said.express_vendors), "VendorImpliedConsent": numbers(said.implied_vendors),
        "PubRestrictions": [
            {"key": each.purpose, "type": each.kind, "ids": numbers(each.vendors)} for each in said.restrictions
        ],
        "DisclosedVendorsSegmentType": 1, "DisclosedVendors": numbers(said.disclosed_vendors), "PubPurposesSegmentType": 3,
        "PubPurposesExpressConsent": flags(said.publisher.consents),
        "PubPurposesImpliedConsent": flags(said.publisher.interests),
        "NumCustomPurposes": said.publisher.custom_purposes,
        "CustomPurposesExpressConsent": flags(said.publisher.custom_consents, said.publisher.custom_purposes),
        "CustomPurposesImpliedConsent": flags(said.publisher.custom_interests, said.publisher.custom_purposes),
    }  # fmt: skip


def test_decode__of_all_sections__has_the_oracle_for_each():
    assert {section["id"] for made in GPP_STRINGS for section in made["sections"]} | {gpp_layouts.EU_TCF} == set(
        gpp_layouts.NAMES
    )


def test_decode__of_a_tc_string_within_gpp__reads_it():
    said = gpp.decode(f"DBACNYA~{EXAMPLE}~1YNN")

    assert said.section(gpp_layouts.EU_TCF).said == tc_string.decode(EXAMPLE)
    assert said.section(gpp_layouts.US_PRIVACY).said == {
        "version": 1, "notice": "Y", "opt_out_sale": "N", "lspa_covered": "N",
    }  # fmt: skip
    assert said.section(7) is None


def test_decode__of_the_first_national_version__reads_its_shorter_lists():
    core = Writer().number(1, 6)
    for value in [1, 2, 0, 1, 2, 0, 1, 2, 0, *[1, 2] * 6, 2, 1, 1, 2, 0, 1]:
        core.number(value, 2)

    said = gpp.decode(f"{gpp_header([7])}~{core.text()}").section(7).said

    assert said["sensitive_data_processing"] == (1, 2) * 6
    assert said["known_child_sensitive_data_consents"] == (2, 1)
    assert (said["personal_data_consents"], said["mspa_service_provider_mode"]) == (1, 1)


@pytest.mark.parametrize(("number", "text"), [(99, "anything_at-all"), (8, "CAAAAAAAA")])
def test_decode__of_a_section_without_a_layout__leaves_it_as_it_came(number, text):
    section = gpp.decode(f"{gpp_header([number])}~{text}").section(number)

    assert (section.text, section.said) == (text, None)


@pytest.mark.parametrize(
    ("text", "reason", "position"),
    [
        ("CBABMA~x", "it does not begin with the header of a GPP string", 0),
        ("DCABMA~x", "its version is not known", 1),
        ("DBACNY~x", "the header names 2 sections, and there are 1", 0),
        ("DBABA", "a Fibonacci number does not end", 4),
        ("DBABTA~2YNN", "US Privacy is 1 and three of Y, N and -", 7),
        ("DBABMA~CQSb+", "not a character of base64url", 11),
        (f"{gpp_header([8])}~BAAAAAAA.gAA", "no such segment", 16),
        (f"{gpp_header([9])}~BAAAAAAA.QAA", "no such segment", 16),
        (f"{gpp_header([8])}~BAAAAAAA.QA.QA", "a segment comes twice", 19),
        (f"{gpp_header([26])}~BAAA.AAAA.AAAA", "a segment comes twice", 17),
        (f"{gpp_header([8])}~BA", "it ends too early", 9),
        (f"{gpp_header([5])}~CA", "it is no Canadian TC string of version 1", 6),
    ],
)
def test_decode__of_what_is_no_gpp_string__says_where_and_why(text, reason, position):
    with pytest.raises(MalformedSignalError) as refused:
        gpp.decode(text)

    assert refused.value.details == {"reason": reason, "position": position}


@pytest.mark.parametrize(("tail", "reason"), [("gAA", "no such segment"), ("IAA.IAA", "ends too early")])
def test_decode__of_a_canadian_segment_that_cannot_be__is_refused(tail, reason):
    made = next(each for each in GPP_STRINGS if [one["id"] for one in each["sections"]] == [gpp_layouts.CANADA])

    with pytest.raises(MalformedSignalError, match=reason):
        gpp.decode(".".join([made["text"].split(".")[0], tail]))


def test_decode__of_a_canadian_segment_twice__is_refused():
    made = next(each for each in GPP_STRINGS if [one["id"] for one in each["sections"]] == [gpp_layouts.CANADA])

    with pytest.raises(MalformedSignalError, match="comes twice"):
        gpp.decode(".".join([*made["text"].split("."), made["text"].split(".")[1]]))


def test_ids__past_the_largest__are_refused():
    far = Writer().number(3, 6).number(1, 6).number(1, 12).flag(False).fibonacci(70_000)

    with pytest.raises(MalformedSignalError, match="goes past the largest number"):
        gpp.section_ids(far.text())


@given(st.integers(1, 70_000))
def test_fibonacci__of_any_number__gives_it_back(number):
    assert Bits(Writer().fibonacci(number).text()).fibonacci() == number


# -- anything at all ------------------------------------------------------------------------------------------------

VALID = [EXAMPLE, *(made["text"] for made in TC_STRINGS[:9]), *(made["text"] for made in GPP_STRINGS)]
odd_characters = st.text(alphabet=ALPHABET + ".~+=1YN-", max_size=300)


def read_or_refused(text):
    try:
        told = reading.read(text, now=NOW, vendor=7)
    except MalformedSignalError as refused:
        position = refused.details["position"]
    else:
        return json.dumps(told, default=str)
    assert 0 <= position <= len(text)
    return None


@given(st.one_of(st.text(), odd_characters, odd_characters.map("C".__add__), odd_characters.map("DBA".__add__)))
def test_read__of_any_text__reads_or_says_where(text):
    read_or_refused(text)


@given(st.sampled_from(VALID), st.data())
def test_read__of_a_string_that_was_damaged__reads_or_says_where(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 8)))

    read_or_refused(text[:start] + data.draw(st.text(alphabet=ALPHABET + ".~", max_size=8)) + text[end:])


@pytest.mark.parametrize("character", [*string.ascii_uppercase[::5], "_", "."])
def test_read__of_the_longest_text__is_bounded_in_what_it_says(character):
    for start in ("", EXAMPLE_CORE[:36], "DBABMA~", f"{gpp_header([5])}~B", "DD__"):
        told = read_or_refused((start + character * LONGEST)[:LONGEST])

        assert told is None or len(told) < 40 * LONGEST


# -- reading, for people --------------------------------------------------------------------------------------------


def test_read__of_a_tc_string__judges_it():
    told = reading.read(EXAMPLE, now=NOW)

    assert (told["kind"], told["is_valid"], told["faults"]) == ("tcf", False, ["policy_ended"])
    assert (told["said"]["vendor_consents"], told["said"]["text"]) == ([[1, 4]], EXAMPLE)


def test_read__for_a_vendor__says_what_it_may_do():
    text = f"{tc_core(**CONSENTED, **INTERESTED)}.{tc_vendors(1, [7])}"

    told = reading.read(text, now=NOW, vendor=7)

    assert told["vendor"] == {"id": 7, "consent": [1, 2], "interest": [2, 7]}
    assert reading.read(text, now=NOW, vendor=8)["vendor"] == {"id": 8, "consent": [], "interest": []}


def test_read__of_a_gpp_string__tells_each_section():
    told = reading.read(f"DBACNY~{EXAMPLE}~1YNN", now=NOW)

    assert [(each["id"], each["name"], each["text"]) for each in told["sections"]] == [
        (2, "tcfeuv2", EXAMPLE),
        (6, "uspv1", "1YNN"),
    ]
    assert told["sections"][0]["faults"] == ["policy_ended"]


def test_read__of_us_privacy__needs_no_header():
    assert reading.read("1YN-", now=NOW) == {
        "kind": "us_privacy",
        "said": {"version": 1, "notice": "Y", "opt_out_sale": "N", "lspa_covered": "-"},
    }


# -- the smaller signals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "asserted"),
    [("1", True), ("0", False), ("", False), (None, False), ("true", False), (" 1", False), ("1, 1", False)],
)
def test_gpc__counts_only_as_one(header, asserted):
    assert gpc.is_asserted(header) is asserted


def test_gpc__tells_since_when_it_is_heeded():
    assert gpc.support(date(2026, 11, 25)) == {"gpc": True, "lastUpdate": "2026-11-25"}


@pytest.mark.parametrize(
    ("permitted", "granted"),
    [
        (set(), set()),
        ({Purpose.ADVERTISING}, {"ad_storage", "ad_user_data", "ad_personalization"}),
        ({Purpose.ANALYTICS, Purpose.SEGMENTATION}, {"analytics_storage"}),
    ],
)
def test_consent_mode__of_purposes__denies_what_is_not_permitted(permitted, granted):
    told = consent_mode.from_purposes(permitted)

    assert {kind for kind, value in told.items() if value == "granted"} == granted
    assert sorted(told) == ["ad_personalization", "ad_storage", "ad_user_data", "analytics_storage"]
    assert set(told.values()) <= {"granted", "denied"}


@pytest.mark.parametrize(
    ("given_types", "purposes"),
    [
        ({}, {}),
        ({"analytics_storage": "granted"}, {Purpose.ANALYTICS: True}),
        ({"analytics_storage": "denied"}, {Purpose.ANALYTICS: False}),
        ({"analytics_storage": "yes", "functionality_storage": "granted"}, {}),
        ({"ad_storage": "granted", "ad_user_data": "granted"}, {Purpose.ADVERTISING: False}),
        (
            {"ad_storage": "granted", "ad_user_data": "granted", "ad_personalization": "granted"},
            {Purpose.ADVERTISING: True},
        ),
    ],
)
def test_consent_mode__to_purposes__permits_only_what_is_granted_wholly(given_types, purposes):
    assert consent_mode.to_purposes(given_types) == purposes


@given(st.sets(st.sampled_from([Purpose.ADVERTISING, Purpose.ANALYTICS])))
def test_consent_mode__there_and_back__is_the_same(permitted):
    there = consent_mode.from_purposes(permitted)

    assert {purpose for purpose, allowed in consent_mode.to_purposes(there).items() if allowed} == permitted


@pytest.mark.parametrize(
    ("consent", "said"),
    [
        ({"categoryPreferences": {"Advertising": True, "Analytics": False}}, {"Advertising": True, "Analytics": False}),
        ({"categoryPreferences": {"Advertising": "false", "Analytics": 1, "Other": None}}, {}),
        ({"categoryPreferences": {str(number): True for number in range(101)}}, {}),
        ({"categoryPreferences": ["Advertising"]}, {}),
        ({}, {}),
        ("yes", {}),
        (None, {}),
    ],
)
def test_preferences__are_only_true_and_false(consent, said):
    assert preferences.category_preferences(consent) == said
