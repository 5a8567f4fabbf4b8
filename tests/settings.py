"""The project's settings with what tests need: a fast password hasher, a broker in memory, the embedded Postgres."""

import os
import tempfile

import structlog

from cdp import embedded

if "DATABASE_URL" not in os.environ:
    _stack = embedded.default_stack()
    _stack.start()
    os.environ["DATABASE_URL"] = _stack.database_url("postgres")  # factories write where no role of Tessera may
    os.environ.setdefault("BROKER_URL", _stack.broker_url)
os.environ.setdefault("SECRET_KEY", "for tests")
if "ERASURE_LEDGER" not in os.environ:  # of what was erased in this checkout the databases of tests know nothing
    _home = tempfile.TemporaryDirectory(prefix="tessera-tests-")
    os.environ["ERASURE_LEDGER"] = f"{_home.name}/erasures.jsonl"
os.environ.setdefault("FIELD_ENCRYPTION_KEYS", "5wP8mZ0sYwq3Jc9r8Q2n6hT4v1xB7kLdEoUaGfRiNtM=")

from cdp.settings import *  # noqa: F403  # all but what follows
from cdp.settings import DATABASES

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES["default"]["CONN_MAX_AGE"] = 0
CELERY_TASK_ALWAYS_EAGER = False
PRIVATE_ADDRESSES_ALLOWED = True  # the fakes live on 127.0.0.1
structlog.configure(cache_logger_on_first_use=False)  # a logger that another test used first is heard by `log`, too
