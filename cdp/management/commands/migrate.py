"""`migrate` is Django's, in a fifth of the time on an empty database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.commands import migrate
from django.db.migrations.state import ProjectState

WHO_IS_RENDERED = "_find_reload_model"  # of ProjectState: there is no public place to decide it


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        with neighbours_left_alone():
            super().handle(*args, **options)


@contextmanager
def neighbours_left_alone() -> Iterator[None]:
    """Meanwhile a model that changes is rendered anew without the models that are related to it.

    Django renders them all at each of some 400 operations, and here everything is related through its workspace. Of a
    neighbour an operation on the schema needs the table and the key alone: where a relation or a key of a known model
    changes, Django's way is taken, and before Python code of a migration runs, Django renders all that was delayed.
    """
    with_neighbours = getattr(ProjectState, WHO_IS_RENDERED)

    def alone(state: ProjectState, app_label: str, model_name: str, delay: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002  # as Django calls it
        is_known = model_name in state.apps.all_models[app_label]
        if is_known is not delay:
            return with_neighbours(state, app_label, model_name, delay)
        state.is_delayed = True
        return {(app_label, model_name)}

    setattr(ProjectState, WHO_IS_RENDERED, alone)
    try:
        yield
    finally:
        setattr(ProjectState, WHO_IS_RENDERED, with_neighbours)
