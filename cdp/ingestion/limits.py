"""How many events a source may send. All web processes count together, in Valkey; only sources with a limit ask there.

A call is let in while the source has not used up what it may send at once, whatever its size: a large batch puts the
source into debt, and the next call waits until time has paid it. So no batch is too large ever to be sent.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Any, Final

import redis
import structlog
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from cdp.kernel.errors import TesseraError

log = structlog.get_logger()

PATIENCE_SECONDS: Final = 0.1  # so long a request waits for Valkey
SILENT_SECONDS: Final = 5.0  # after Valkey did not answer nobody asks it, and nobody is refused
PREFIX: Final = "tessera:limit"
UNREACHABLE: Final = (redis.RedisError, OSError, ValueError)  # the last: LIMITS_URL is no address

# KEYS: when the debt of the source is paid, in microseconds; how often each source was refused.
# ARGV: microseconds for an event, events at once, events of this call, the source. Returns what is left to wait.
_SPEND: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local paid = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local wait = paid - now - ARGV[1] * (ARGV[2] - 1)
if wait > 0 then
    redis.call('HINCRBY', KEYS[2], ARGV[4], 1)
    return math.ceil(wait)
end
paid = paid + ARGV[1] * ARGV[3]
redis.call('SET', KEYS[1], string.format('%.0f', paid), 'PX', math.ceil((paid - now) / 1000))
return 0
"""

_silent_until = 0.0


class RateLimitedError(TesseraError):
    """The source has sent more than it may: send it again after the seconds of `Retry-After`."""

    code = "rate_limited"


@dataclass(frozen=True, slots=True)
class Limit:
    events_per_second: int
    burst: int


def limit_of(events_per_second: int | None, burst: int | None) -> Limit | None:
    """The limit of a source that has these settings; None where there is none."""
    if events_per_second is None:
        events_per_second = settings.SOURCE_EVENTS_PER_SECOND
    if not events_per_second:
        return None
    return Limit(events_per_second, burst or events_per_second)


def spend(limit: Limit, *, source_id: int, events: int) -> None:
    """Count these events. Raises `RateLimitedError`, and then counts nothing; a Valkey that is away refuses nobody."""
    global _silent_until  # noqa: PLW0603  # one breaker for the process
    if time.monotonic() < _silent_until:
        return
    try:
        wait = _ask(limit, source_id, events)
    except UNREACHABLE as error:
        _silent_until = time.monotonic() + SILENT_SECONDS
        log.warning("limits.unreachable", error=type(error).__name__)
        return
    if wait:
        raise RateLimitedError(retry_after=ceil(wait / 1_000_000))


def refused_by_source() -> Mapping[int, int]:
    """How many calls of each source were refused so far; empty where Valkey is away."""
    try:
        client = _client(settings.LIMITS_URL)
        counts: Any = client.hgetall(f"{PREFIX}:refused") if client else {}
    except UNREACHABLE:
        return {}
    return {int(source): int(count) for source, count in counts.items()}


def _ask(limit: Limit, source_id: int, events: int) -> int:
    script = _script(settings.LIMITS_URL)
    if script is None:
        return 0
    interval = 1_000_000 / limit.events_per_second
    keys = [f"{PREFIX}:{source_id}", f"{PREFIX}:refused"]
    return int(script(keys=keys, args=[interval, limit.burst, max(events, 1), source_id]))


@lru_cache(maxsize=1)
def _script(url: str) -> Callable[..., Any] | None:
    client = _client(url)
    return client.register_script(_SPEND) if client else None


@lru_cache(maxsize=1)
def _client(url: str) -> "redis.Redis | None":
    """None where the broker is not of this kind, and LIMITS_URL does not name another."""
    url = url.replace("redis+socket://", "unix://", 1)
    if not url.startswith(("redis://", "rediss://", "unix://")):
        log.warning("limits.unavailable", reason="LIMITS_URL names neither Valkey nor Redis")
        return None
    return redis.Redis.from_url(
        url,
        socket_timeout=PATIENCE_SECONDS,
        socket_connect_timeout=PATIENCE_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
