"""The database roles that processes log in as, and the purposes that each may take up.

A login reads nothing personal by itself (`web` apart, which serves the console): it is a NOINHERIT member of its
purposes and must name one to see rows. `owner` owns the tables and is used by migrations only.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cdp.kernel.purposes import Purpose

OWNER: Final = "owner"
WEB: Final = "web"
OPERATOR: Final = "operator"
RIGHTS: Final = "rights"
RETENTION: Final = "retention"
RIGHTS_QUEUE: Final = "rights"  # what is done for people: worked by RIGHTS, which sees all and writes down each reading
WEBHOOKS_QUEUE: Final = (
    "webhooks"  # tells other systems who enters and leaves segments: worked by WEB, for its purposes
)
FIGURES_QUEUE: Final = (
    "figures"  # what is computed over everybody and nobody waits for: worked by the login of the segments
)

WORKER_BY_QUEUE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ingestion": "worker_ingestion",
        "identity": "worker_identity",
        "enrichment": "worker_enrichment",
        "segments": "worker_segments",
        "activation": "worker_activation",
    }
)

PURPOSES_BY_LOGIN: Final[Mapping[str, frozenset[Purpose]]] = MappingProxyType(
    {
        WEB: frozenset({Purpose.SEGMENTATION, Purpose.ADVERTISING, Purpose.ANALYTICS}),
        OPERATOR: frozenset(Purpose),
        RIGHTS: frozenset(),
        WORKER_BY_QUEUE["ingestion"]: frozenset({Purpose.COLLECTION}),
        WORKER_BY_QUEUE["identity"]: frozenset({Purpose.IDENTITY}),
        WORKER_BY_QUEUE["enrichment"]: frozenset({Purpose.ENRICHMENT}),
        WORKER_BY_QUEUE["segments"]: frozenset({Purpose.SEGMENTATION, Purpose.LEARNING, Purpose.ANALYTICS}),
        WORKER_BY_QUEUE["activation"]: frozenset({Purpose.ADVERTISING}),
    }
)

# Roles that are no purpose: they do one duty with the few rights that it needs, and nobody logs in as them. Who deletes is
# the login that erases people anyway: a worker that stores what strangers send must not be able to.
DUTIES_BY_LOGIN: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        OPERATOR: frozenset({RETENTION}),
        RIGHTS: frozenset({RETENTION}),
    }
)
DUTIES: Final = frozenset().union(*DUTIES_BY_LOGIN.values())
