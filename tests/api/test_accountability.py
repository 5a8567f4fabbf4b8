"""The register and the log of breaches by HTTP."""

from datetime import timedelta

import pytest
from django.utils import timezone

from consent import spreadsheet
from consent.models import Breach
from tests.factories import WorkspaceFactory


@pytest.fixture
def owner(caller, workspace, as_login):
    made = caller("consents:read", "consents:write")
    as_login("web")
    return made


def test_register__in_each_format(owner):
    as_json, as_csv, as_html = (owner.get("register/art30", file=kind) for kind in ("json", "csv", "html"))

    assert len(as_json.json()["activities"]) == 7
    assert (as_csv["Content-Type"], as_html["Content-Type"]) == ("text/csv; charset=utf-8", "text/html; charset=utf-8")
    assert len(as_csv.text.splitlines()) == 8
    assert owner.get("register/art30", file="pdf").status_code == 400
    assert owner.get("register/art30", file="ods")["Content-Type"] == spreadsheet.KIND


def test_breach__from_its_record_to_the_authority_and_its_evidence(owner):
    noticed = timezone.now() - timedelta(hours=1)
    body = {"nature": "AVAILABILITY", "facts": "A disk broke.", "noticed_at": noticed.isoformat()}

    made = owner.post("breaches", body)
    pk = made.json()["id"]
    told = owner.post(f"breaches/{pk}/authority", {"at": timezone.now().isoformat()})
    kept = owner.post(f"breaches/{pk}/affected", {"since": noticed.isoformat(), "until": timezone.now().isoformat()})

    assert (made.status_code, told.status_code, kept.status_code) == (201, 200, 201)
    assert told.json()["authority_told_at"]
    assert (kept.json()["people"], kept.json()["profile_ids"]) == (0, [])
    assert owner.get(f"breaches/{pk}").json()["due_at"] == made.json()["due_at"]
    assert [each["id"] for each in owner.get("breaches").json()["breaches"]] == [pk]


def test_breach__noticed_in_the_future__is_refused(owner):
    body = {"nature": "INTEGRITY", "facts": "x", "noticed_at": (timezone.now() + timedelta(days=1)).isoformat()}

    assert owner.post("breaches", body).json()["code"] == "noticed_in_the_future"
    assert not Breach.objects.exists()


@pytest.mark.parametrize("path", ["breaches", "register/art30"])
def test_paths__without_the_scope_or_a_key__are_refused(path, caller, client, workspace):
    assert caller("profiles:read").get(path).status_code == 403
    assert client.get(f"/api/v1/{path}").status_code == 401


def test_breach__of_another_workspace__is_not_found(caller, owner, as_login):
    as_login("none")
    stranger = caller("consents:read", "consents:write", of=WorkspaceFactory())
    as_login("web")
    made = owner.post(
        "breaches", {"nature": "INTEGRITY", "facts": "x", "noticed_at": timezone.now().isoformat()}
    ).json()

    assert stranger.get(f"breaches/{made['id']}").status_code == 404
    assert stranger.post(f"breaches/{made['id']}/authority", {"at": timezone.now().isoformat()}).status_code == 404
    assert stranger.get("breaches").json() == {"breaches": [], "next": None}
