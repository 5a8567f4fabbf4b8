"""The time zones of some profiles, as every rule takes them."""

from sqlglot import exp

from segments.language.compile import Query, passes, written
from segments.language.compile.draft import Asked, Draft
from segments.language.tree import Zone


def compile_zones() -> Query:
    """A row for each profile that is seen: profile_id, the names of its zone and of the workspace's. Takes what
    `Asked.SOME` says.
    """
    draft = Draft(Asked.SOME, {})
    of_profile = exp.alias_(draft.zone(Zone.PROFILE), "zone")
    of_workspace = exp.alias_(draft.zone(Zone.WORKSPACE), "workspace_zone")
    query = exp.select("profile_id", of_profile, of_workspace).from_("subject")
    return written(query, dict(passes.subjects(draft)), draft)
