"""Drives one SDK for Python, in a process that has nothing but that SDK:

    python -I -S driver.py DIRECTORY MODULE < calls

Standard input has JSON, one object a line: first the settings, then the calls. Standard output gets one JSON object:
what the SDK told its user about them.
"""

import datetime as dt
import json
import logging
import sys
import time


def main(directory, module):
    sys.path.insert(0, directory)
    settings, *calls = map(json.loads, sys.stdin)
    set_clock(dt.timedelta(seconds=settings["clock_ahead_seconds"]))
    hurry(settings["hurry"])
    logging.disable()
    client, report = client_of(module, settings)
    pause = 1 / settings["calls_per_second"] if "calls_per_second" in settings else 0
    if pause:
        begin(client)
    for call in calls:
        time.sleep(pause)
        try:
            method, arguments = spoken(call)
            getattr(client, method)(**arguments)
        except RuntimeError:  # so these SDKs refuse what is too large
            report["refused"] += 1
    if not pause:
        begin(client)  # when everything is queued, so that the number of requests says nothing of the machine's speed
    client.flush()
    client.join()
    json.dump(report, sys.stdout)


def set_clock(ahead):
    """Before the SDK is imported: every `from datetime import datetime` finds this one."""

    class Clock(dt.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + ahead

        @classmethod
        def utcnow(cls):
            return super().utcnow() + ahead

    if ahead:
        dt.datetime = Clock


def hurry(factor):
    """Retries pause less long, and are as many."""
    sleep = time.sleep
    time.sleep = lambda seconds: sleep(seconds / factor)


def client_of(module, settings):
    library = __import__(module, fromlist=["Client"])
    library.Consumer.start = lambda _: None
    report = {"refused": 0, "failed": 0, "reasons": []}

    def failed(error, batch):
        report["failed"] += len(batch)
        report["reasons"].append(str(getattr(error, "code", type(error).__name__)))

    options = {} if settings["gzip"] is None else {"gzip": settings["gzip"]}
    client = library.Client(
        settings["write_key"], host=settings["host"], max_retries=settings["retries"], on_error=failed,
        upload_interval=0.15, **options,
    )  # fmt: skip
    return client, report


def begin(client):
    for consumer in client.consumers:
        super(type(consumer), consumer).start()


ARGUMENTS = {
    "userId": "user_id", "anonymousId": "anonymous_id", "groupId": "group_id", "previousId": "previous_id",
    "event": "event", "name": "name", "category": "category", "properties": "properties", "traits": "traits",
    "context": "context", "timestamp": "timestamp",
}  # fmt: skip


def spoken(call):
    arguments = {ARGUMENTS[name]: native(value) for name, value in call.items() if name != "type"}
    if "timestamp" in arguments:
        arguments["timestamp"] = dt.datetime.fromisoformat(arguments["timestamp"])
    return call["type"], arguments


def native(value):
    """JSON has no word for these numbers."""
    if isinstance(value, dict):
        return float(value["$number"]) if "$number" in value else {name: native(v) for name, v in value.items()}
    return [native(one) for one in value] if isinstance(value, list) else value


main(*sys.argv[1:])
