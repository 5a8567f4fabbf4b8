"""The end of a workspace: all of its rows go, ledgers included. Runs as `owner`, who alone may delete them."""

from datetime import datetime

from django.apps import apps
from django.db import connection
from django.db.models import Model

from cdp.models.tenancy import workspace_scope
from cdp.models.workspaces import Workspace


def close_workspace(*, slug: str, now: datetime) -> dict[str, int]:
    """Delete a workspace and everything in it, in one transaction. Returns the number of rows by table.

    It is marked as closed first: the triggers that keep ledgers append-only let the rows of a closed workspace go.
    """
    workspace = Workspace.objects.get(slug=slug)
    with workspace_scope(workspace.pk), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        Workspace.objects.filter(pk=workspace.pk).update(closed_at=now)
        deleted = {}
        for model in tables_with_a_workspace():
            table = connection.ops.quote_name(model._meta.db_table)  # noqa: SLF001  # Django's documented Meta API
            cursor.execute(f"DELETE FROM {table} WHERE workspace_id = %s", [workspace.pk])  # noqa: S608  # our own name
            deleted[model._meta.db_table] = cursor.rowcount  # noqa: SLF001  # Django's documented way to ask a model
        cursor.execute(
            "DELETE FROM write_key WHERE source_id IN (SELECT id FROM source WHERE workspace_id = %s)", [workspace.pk]
        )
        cursor.execute("DELETE FROM source WHERE workspace_id = %s", [workspace.pk])
        cursor.execute("DELETE FROM workspace WHERE id = %s", [workspace.pk])
    return deleted


def tables_with_a_workspace() -> list[type[Model]]:
    """All but `source`, which write keys point to: it goes last. Foreign keys are checked at the end."""
    return [
        model
        for model in apps.get_models()
        if model._meta.db_table != "source"  # noqa: SLF001  # Django's documented way to ask a model
        and any(field.attname == "workspace_id" for field in model._meta.concrete_fields)  # noqa: SLF001  # Django's documented way to ask a model
    ]
