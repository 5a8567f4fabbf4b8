"""Settings, from the environment only. docs/operations.md lists the variables; `cdp.embedded` fills in what is missing."""

import os
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

import dj_database_url
import structlog
from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

from cdp.console.theme import UNFOLD  # noqa: F401  # a setting, read by the theme

BASE_DIR = Path(__file__).resolve().parent.parent


def read_text(name: str, default: str = "") -> str:
    return os.environ.get(name, default)


def read_flag(name: str, *, default: bool) -> bool:
    text = os.environ.get(name, str(default)).lower()
    if text not in {"true", "1", "yes", "false", "0", "no"}:
        message = f"{name} must be true or false, not {text!r}"
        raise ImproperlyConfigured(message)
    return text in {"true", "1", "yes"}


def read_number(name: str, default: int, *, least: int = 0) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdigit() or int(text) < least:
        message = f"{name} must be a whole number{f' of at least {least}' if least else ''}, not {text!r}"
        raise ImproperlyConfigured(message)
    return int(text)


def read_list(name: str, default: str = "") -> list[str]:
    return [word.strip() for word in os.environ.get(name, default).split(",") if word.strip()]


def read_networks(name: str) -> list[IPv4Network | IPv6Network]:
    try:
        return [ip_network(text) for text in read_list(name)]
    except ValueError as error:
        message = f"{name} must be a list of networks such as 10.0.0.0/8: {error}"
        raise ImproperlyConfigured(message) from None


# -- secrets and addresses ------------------------------------------------------------------------------------------

SECRET_KEY = read_text("SECRET_KEY", "unset: for commands without a database")
if "DATABASE_URL" in os.environ and not os.environ.get("SECRET_KEY"):
    raise ImproperlyConfigured("SECRET_KEY must be set where DATABASE_URL is: a long random text, the same everywhere")
FIELD_ENCRYPTION_KEYS = read_list("FIELD_ENCRYPTION_KEYS")  # Fernet keys: the first encrypts, all decrypt
IDENTIFIER_PEPPER = read_text("IDENTIFIER_PEPPER", SECRET_KEY)  # keys the digests of identifiers in the ledger
IDENTIFIER_PEPPERS_BEFORE = read_list("IDENTIFIER_PEPPERS_BEFORE")  # suppressions made under them still hold
DATA_DIR = Path(read_text("DATA_DIR") or BASE_DIR / ".data")
ERASURE_LEDGER = Path(read_text("ERASURE_LEDGER") or DATA_DIR / "erasures.jsonl")  # outside of what backups restore
LEDGER_HEADS = Path(read_text("LEDGER_HEADS") or DATA_DIR / "ledger-heads.jsonl")  # likewise
DEBUG = read_flag("DEBUG", default=False)
ALLOWED_HOSTS = read_list("ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]")
CSRF_TRUSTED_ORIGINS = read_list("CSRF_TRUSTED_ORIGINS")
PRIVATE_ADDRESSES_ALLOWED = read_flag("PRIVATE_ADDRESSES_ALLOWED", default=False)  # for outbound requests
CONNECTOR_URLS = {  # of a gateway that stands for the system; empty: the system itself
    "SALESFORCE": read_text("SALESFORCE_URL"),
    "HUBSPOT": read_text("HUBSPOT_URL"),
}
METRICS_TOKEN = read_text("METRICS_TOKEN")  # opens /metrics to other machines than this one
OPENDSR_DOMAIN = read_text(
    "OPENDSR_DOMAIN"
)  # under which controllers reach this; with the two files, or OpenDSR is off
OPENDSR_CERTIFICATE = read_text(
    "OPENDSR_CERTIFICATE"
)  # PEM file: that of the domain, then those that lead to an authority
OPENDSR_KEY = read_text("OPENDSR_KEY")  # PEM file of its private key
OPENDSR_AUTHORITIES = read_text("OPENDSR_AUTHORITIES")  # PEM file; empty: those that every outbound request trusts
OPENDSR_REVOKED = read_text("OPENDSR_REVOKED")  # file of CRLs and fingerprints; empty: nothing is revoked
EMAIL_HOST = read_text("EMAIL_HOST")  # a server for mail to controllers; empty: none is sent
EMAIL_PORT = read_number("EMAIL_PORT", 25)
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = read_text("EMAIL_HOST_USER"), read_text("EMAIL_HOST_PASSWORD")
EMAIL_USE_TLS, EMAIL_TIMEOUT = read_flag("EMAIL_USE_TLS", default=False), 10
DEFAULT_FROM_EMAIL = read_text("DEFAULT_FROM_EMAIL")

# -- the application ------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",  # its other one would put its own site in place of ours
    "cdp.console.apps.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "cdp",
    "consent",
    "identity",
    "enrichment",
    "segments",
    "activation",
]

MIDDLEWARE = [
    "cdp.api.problems.ProblemMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "cdp.console.workspaces.ConsoleWorkspaceMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "cdp" / "console" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "libraries": {"console": "cdp.console.words"},
        },
    }
]

ROOT_URLCONF = "cdp.urls"
WSGI_APPLICATION = "cdp.wsgi.application"
AUTH_USER_MODEL = "cdp.User"
APPEND_SLASH = False  # a redirect makes the tracking SDKs lose data
DATA_UPLOAD_MAX_MEMORY_SIZE = 32 * 2**20
TRACKING_BODY_BYTES = read_number("TRACKING_BODY_BYTES", 8 * 2**20)  # of a tracking call, before and after gunzip
UPLOAD_BYTES = read_number("UPLOAD_BYTES", 2 * 2**30)  # of a file that people give the console, unpacked too
UPLOAD_DIR = Path(read_text("UPLOAD_DIR") or DATA_DIR / "uploads")  # seen by web and by the worker of ingestion
PACKAGE_DIR = Path(read_text("PACKAGE_DIR") or DATA_DIR / "packages")  # seen by web and by the worker of rights
FILE_UPLOAD_HANDLERS = ["cdp.console.receiving.LimitedUploadHandler"]
TRUSTED_PROXIES = read_networks("TRUSTED_PROXIES")  # networks whose X-Forwarded-For is believed
LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

# -- the database ---------------------------------------------------------------------------------------------------

DATABASES = {
    "default": {
        **dj_database_url.parse(read_text("DATABASE_URL", "postgres:///tessera"), conn_max_age=600),
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": True,  # safe behind a pooler in transaction mode
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASE_PREPARED_STATEMENTS = read_flag("DATABASE_PREPARED_STATEMENTS", default=True)  # a pooler may not keep them
COLUMNAR_DIR = Path(read_text("COLUMNAR_DIR") or DATA_DIR / "columnar")  # written by the worker of ingestion
SPARK_MASTER = read_text("SPARK_MASTER", "local[*]")  # of the engine spark; its machines must see COLUMNAR_DIR
DUCKDB_MEMORY_LIMIT = read_text("DUCKDB_MEMORY_LIMIT", "2GB")  # of one process that compares records
DUCKDB_THREADS = read_number("DUCKDB_THREADS", 2)
DUCKDB_SPILL_DIRECTORY = read_text("DUCKDB_SPILL_DIRECTORY", "")  # where personal data may lie while a run lasts

# -- work in the background -----------------------------------------------------------------------------------------

CELERY_BROKER_URL = read_text("BROKER_URL", "memory://")
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_TIME_LIMIT = 3600
CELERY_TASK_DEFAULT_QUEUE = "ingestion"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600, "max_retries": 0}  # senders do not wait for a broker

# -- limits: when callers are asked to come again later -------------------------------------------------------------

SOURCE_EVENTS_PER_SECOND = read_number("SOURCE_EVENTS_PER_SECOND", 0)  # of a source that says nothing; 0: no limit
LIMITS_URL = read_text("LIMITS_URL", CELERY_BROKER_URL)  # Valkey or Redis, where all processes count together
SEGMENT_STREAMS = read_number("SEGMENT_STREAMS", 2)  # of one web process: each occupies a thread while it is open
MOST_WAITING_SECONDS = read_number("MOST_WAITING_SECONDS", 3600, least=60)
MOST_WAITING_BATCHES = read_number("MOST_WAITING_BATCHES", 2_000_000, least=1_000)
LEAST_FREE_BYTES = read_number("LEAST_FREE_BYTES", 500 * 2**20, least=2**20)  # of the disk of the embedded Postgres
MOST_DATABASE_BYTES = read_number("MOST_DATABASE_BYTES", 0)  # of any other Postgres; 0: unknown

# -- figures of segments ---------------------------------------------------------------------------------------------

KPI_LEAST_PEOPLE = read_number("KPI_LEAST_PEOPLE", 5, least=1)  # a figure that rests on fewer people is withheld

# -- the API --------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["cdp.api.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["cdp.api.authentication.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "cdp.api.problems.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Tessera",
    "DESCRIPTION": "Profiles, segments and consents of an open customer data platform.",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "cdp.api.openapi.describe_bodies_of_deletes",
    ],
    "ENUM_NAME_OVERRIDES": {
        "PurposeEnum": "cdp.api.consents.PURPOSES",
        "GatedPurposeEnum": "cdp.api.restrictions.GATED",
    },
}

# -- languages and time ---------------------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("fr", _("French"))]
LOCALE_PATHS = [BASE_DIR / "cdp" / "locale"]
FORMAT_MODULE_PATH = ["cdp.console.formats"]
USE_TZ = True
TIME_ZONE = "UTC"

# -- files and security ---------------------------------------------------------------------------------------------

STATIC_URL = "/static/"
STATIC_ROOT = read_text("STATIC_ROOT") or None  # for `collectstatic` and a web server in front; not needed
STATICFILES_DIRS = [BASE_DIR / "cdp" / "console" / "static"]
WHITENOISE_USE_FINDERS = True  # nothing to collect first
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = read_flag("SECURE_COOKIES", default=False)
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"

# -- logs: one JSON object a line, ids only -------------------------------------------------------------------------

LOG_LEVEL = read_text("LOG_LEVEL", "INFO")
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        **{name: {"level": "WARNING"} for name in ("celery.worker.strategy", "celery.app.trace")}
        | {"splink": {"level": "ERROR"}}  # what it warns of, a model keeps in its metadata
        | {"sqlglot": {"level": "WARNING"}},  # it tells of each list that it counts from nought
        "django.request": {
            "level": "CRITICAL"
        },  # it logs paths, which may name a person: cdp.api.problems logs instead
    },
}
