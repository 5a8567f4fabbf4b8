"""The providers that there are. Nobody else imports one."""

from enrichment.provider import Provider
from enrichment.providers.phonenumbers_offline.provider import PhonenumbersOffline

PROVIDERS: tuple[Provider, ...] = (PhonenumbersOffline(),)


def providers() -> tuple[Provider, ...]:
    return PROVIDERS
