"""Countries, currencies and languages by code, or by name in English and French."""

import gettext
import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from typing import Any, Final

import pycountry

from cdp.ingestion.normalise.values import MOST_CACHED, folded, text

LONGEST: Final = 100

_COUNTRIES_SAID: Final = {
    "GB": "uk, great britain, britain, england, scotland, wales, northern ireland, angleterre, grande bretagne, écosse, pays de galles, irlande du nord, royaume uni",
    "US": "usa, u.s., united states of america, america, états unis, etats unis d'amérique, amérique",
    "NL": "holland, hollande, the netherlands, pays bas", "CH": "suisse, schweiz, svizzera, switzerland",
    "DE": "deutschland, rfa, allemagne", "ES": "españa, espagne", "IT": "italia, italie", "AT": "österreich, autriche",
    "BE": "belgië, belgien, belgique", "SE": "sverige, suède", "NO": "norge, norvège", "DK": "danmark, danemark",
    "FI": "suomi, finlande", "PL": "polska, pologne", "PT": "portugal", "CZ": "czech republic, tchéquie, république tchèque",
    "RU": "russia, russie, fédération de russie", "KR": "south korea, corée du sud, korea", "KP": "north korea, corée du nord",
    "VN": "vietnam, viêt nam", "LA": "laos", "SY": "syria, syrie", "IR": "iran", "VE": "venezuela", "BO": "bolivia, bolivie",
    "TZ": "tanzania, tanzanie", "MD": "moldova, moldavie", "TW": "taiwan, taïwan", "BN": "brunei", "CV": "cape verde, cap vert",
    "CI": "ivory coast, côte d'ivoire", "TR": "turkey, turquie", "MK": "macedonia, macédoine", "SZ": "swaziland",
    "PS": "palestine", "VA": "vatican", "CD": "drc, rdc, congo kinshasa", "CG": "congo brazzaville", "AE": "uae, émirats, émirats arabes unis, emirates",
    "GR": "hellas, grèce", "IE": "eire, irlande", "LU": "luxemburg, luxembourg", "RE": "la réunion, réunion", "FM": "micronesia, micronésie",
}  # fmt: skip
_CURRENCIES_SAID: Final = {
    "EUR": "€, euro, euros", "GBP": "£, pound, pounds, sterling, livre sterling, livres sterling, quid",
    "USD": "us$, dollar us, us dollars, dollars américains, dollar américain", "CHF": "fr., sfr, franc suisse, francs suisses, swiss francs",
    "JPY": "¥, yen, yens", "CAD": "c$, ca$, dollar canadien, dollars canadiens, canadian dollars", "AUD": "a$, au$, australian dollars",
    "NZD": "nz$", "INR": "₹, rupee, rupees, roupie", "CNY": "rmb, yuan, renminbi", "KRW": "₩", "RUB": "₽", "UAH": "₴",
    "PLN": "zł, zloty, złoty", "CZK": "kč", "TRY": "₺", "ILS": "₪", "BRL": "r$, real, reais", "THB": "฿",
}  # fmt: skip
_SIGNS: Final = {sign: code for code, said in _CURRENCIES_SAID.items() for sign in said.split(", ") if not folded(sign)}
_DOLLARS: Final = {"US": "USD", "CA": "CAD", "AU": "AUD", "NZ": "NZD", "SG": "SGD", "HK": "HKD", "MX": "MXN"}
_CROWNS: Final = {"SE": "SEK", "NO": "NOK", "DK": "DKK", "IS": "ISK"}
_TAG = re.compile(r"([a-z]{2,3})(?:[-_]([a-z]{4}))?(?:[-_]([a-z]{2}))?(?:\.utf-?8)?", re.IGNORECASE | re.ASCII)
_LANGUAGES_SAID: Final = {"el": "greek, grec", "zh": "mandarin", "es": "castilian, castillan"}


def country(raw: object) -> str | None:
    """ISO 3166, two letters."""
    return _country(text(raw))


@lru_cache(MOST_CACHED)
def _country(written: str) -> str | None:
    return _countries().get(folded(written)) if len(written) <= LONGEST else None


def currency(raw: object, *, region: str = "") -> str | None:
    """ISO 4217. What `$` or `kr` means, the region says."""
    written = text(raw)
    return _currency(written, region.upper()) if len(written) <= LONGEST else None


@lru_cache(MOST_CACHED)
def _currency(written: str, region: str) -> str | None:
    if written in _SIGNS:
        return _SIGNS[written]
    if written == "$" or folded(written) in {"dollar", "dollars"}:
        return _DOLLARS.get(region)
    if folded(written) == "kr":
        return _CROWNS.get(region)
    return _currencies().get(folded(written)) if "$" not in written else _dollar_signs().get(written.lower())


def language(raw: object) -> str | None:
    """BCP 47: `fr`, `fr-CH`, `zh-Hant-TW`."""
    written = text(raw)
    return _language(written) if len(written) <= LONGEST else None


@lru_cache(MOST_CACHED)
def _language(written: str) -> str | None:
    tag = _TAG.fullmatch(written)
    if not tag or not (code := _language_codes().get(tag[1].lower())):
        return _languages().get(folded(written))
    script, place = (tag[2] or "").title(), (tag[3] or "").upper()
    is_known = (not script or pycountry.scripts.get(alpha_4=script)) and (
        not place or pycountry.countries.get(alpha_2=place)
    )
    return "-".join(part for part in (code, script, place) if part) if is_known else None


# -- tables, made when they are first needed --------------------------------------------------------------------------


@cache
def _countries() -> dict[str, str]:
    names = {folded(name): one.alpha_2 for one in pycountry.countries for name in _country_names(one)}
    return names | _said(_COUNTRIES_SAID)


def _country_names(one: Any) -> Iterator[str]:  # noqa: ANN401  # pycountry makes its classes at run time
    yield from (one.alpha_2, one.alpha_3)
    given = [getattr(one, name, "") for name in ("name", "common_name", "official_name")]
    yield from _in_both_languages("iso3166-1", [name for name in given if name])


@cache
def _currencies() -> dict[str, str]:
    names = {
        folded(name): one.alpha_3 for one in pycountry.currencies for name in _in_both_languages("iso4217", [one.name])
    }
    codes = {folded(one.alpha_3): one.alpha_3 for one in pycountry.currencies}
    return {wrong: code for wrong, code in (names | _said(_CURRENCIES_SAID) | codes).items() if wrong}


@cache
def _dollar_signs() -> dict[str, str]:
    return {sign: code for code, said in _CURRENCIES_SAID.items() for sign in said.split(", ") if "$" in sign}


@cache
def _language_codes() -> dict[str, str]:
    """Of two letters where there are two, as BCP 47 asks."""
    codes: dict[str, str] = {}
    for one in pycountry.languages:
        short = getattr(one, "alpha_2", one.alpha_3)
        codes |= dict.fromkeys((one.alpha_3, getattr(one, "bibliographic", one.alpha_3), short), short)
    return codes


@cache
def _languages() -> dict[str, str]:
    known = [one for one in pycountry.languages if hasattr(one, "alpha_2")]
    names = {folded(name): one.alpha_2 for one in known for name in _in_both_languages("iso639-3", [one.name])}
    return names | _said(_LANGUAGES_SAID)


def _in_both_languages(domain: str, names: Iterable[str]) -> Iterator[str]:
    french = gettext.translation(domain, pycountry.LOCALES_DIR, languages=["fr"], fallback=True)
    for name in names:
        yield from (name, french.gettext(name))


def _said(table: dict[str, str]) -> dict[str, str]:
    return {folded(word): code for code, said in table.items() for word in said.split(", ")}
