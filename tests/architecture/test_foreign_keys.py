"""The direction of foreign keys, which import-linter cannot see: they may be strings."""

import pytest
from django.apps import apps

from tests.architecture.sources import APPS_LOW_TO_HIGH

BELOW_ALL = {"auth", "contenttypes", "sessions", "admin"}
KEYS = [
    (model, field)
    for model in apps.get_models()
    if model._meta.app_label in APPS_LOW_TO_HIGH
    for field in model._meta.get_fields()
    if field.is_relation and not field.auto_created
]


def test_walk__finds_the_keys():
    assert len(KEYS) > 30


@pytest.mark.parametrize(("model", "field"), KEYS, ids=[f"{model._meta.label}.{field.name}" for model, field in KEYS])
def test_foreign_key__points_to_the_same_or_a_lower_app(model, field):
    target = field.related_model._meta.app_label

    assert target in BELOW_ALL or height(target) <= height(model._meta.app_label)


def height(app_label):
    return APPS_LOW_TO_HIGH.index(app_label)
