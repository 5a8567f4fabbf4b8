"""What may change about a segment without a new version: what it is called."""

from segments.models import Segment


def rename_segment(*, segment: Segment, name: str | None = None, description: str | None = None) -> Segment:
    """Another name, another description, or both. In the scope of the workspace."""
    segment.name = segment.name if name is None else name
    segment.description = segment.description if description is None else description
    segment.save(update_fields=["name", "description"])
    return segment
