"""What lies in the ledger of work, subject by subject, whether it was handed over alone or in a pack."""

from cdp.models import OutboxRow


def waiting(**where: object) -> list[tuple[str, int, str]]:
    """(stage, subject, cause) of the rows where this holds, in the order of the ledger."""
    rows = OutboxRow.objects.filter(**where).order_by("pk")
    return [(row.stage, subject, row.cause) for row in rows for subject in row.subjects or [row.subject_id]]


def subjects_waiting(**where: object) -> list[int]:
    return [subject for _, subject, _ in waiting(**where)]
