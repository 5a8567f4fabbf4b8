"""Migrating renders what changed; and whoever looks at relations sees them whole."""

import pytest
from django.db import migrations, models
from django.db.migrations.state import ProjectState

from cdp.management.commands.migrate import neighbours_left_alone


def key():
    return ("id", models.BigAutoField(primary_key=True))


@pytest.fixture
def state():
    """A workspace and a source of it, rendered."""
    made = ProjectState()
    workspace = models.ForeignKey("cdp.Workspace", models.CASCADE, related_name="sources")
    for operation in (
        migrations.CreateModel("Workspace", [key(), ("slug", models.TextField())]),
        migrations.CreateModel("Source", [key(), ("workspace", workspace)]),
    ):
        operation.state_forwards("cdp", made)
    made.apps.get_model("cdp", "source")
    return made


def follow(state, operation):
    with neighbours_left_alone():
        operation.state_forwards("cdp", state)


def rendered(state, name):
    return state.apps.get_model("cdp", name)


@pytest.mark.parametrize(
    ("operation", "changed"),
    [
        (migrations.AddField("Workspace", "name", models.TextField(default="")), lambda meta: meta.get_field("name")),
        (
            migrations.AddIndex("Workspace", models.Index(fields=["slug"], name="by_slug")),
            lambda meta: meta.indexes[0].name == "by_slug",
        ),
    ],
    ids=["field", "index"],
)
def test_model__that_changed__is_rendered_anew_and_its_neighbour_is_not(operation, changed, state):
    source = rendered(state, "source")

    follow(state, operation)

    assert changed(rendered(state, "workspace")._meta)
    assert rendered(state, "source") is source


def test_key__that_changed__is_seen_by_whoever_points_to_it(state):
    follow(state, migrations.AlterField("Workspace", "id", models.TextField(primary_key=True)))

    pointer = rendered(state, "source")._meta.get_field("workspace")
    assert isinstance(pointer.target_field, models.TextField)


def test_python_code_of_a_migration__after_new_models__sees_both_sides_of_their_relations(state):
    owner = models.ForeignKey("cdp.Workspace", models.CASCADE, related_name="keys")
    seen = []

    follow(state, migrations.CreateModel("ApiKey", [key(), ("workspace", owner)]))
    code = migrations.RunPython(lambda apps, _: seen.append(apps.get_model("cdp", "workspace")))
    state.clear_delayed_apps_cache()
    code.code(state.apps, None)

    assert {relation.related_model for relation in seen[0]._meta.related_objects} == {
        rendered(state, "source"), rendered(state, "apikey"),
    }  # fmt: skip


def test_django__afterwards__renders_as_it_always_did(state):
    source = rendered(state, "source")
    follow(state, migrations.AlterModelOptions("Workspace", {"ordering": ["slug"]}))

    migrations.AlterModelOptions("Workspace", {}).state_forwards("cdp", state)

    assert rendered(state, "source") is not source
