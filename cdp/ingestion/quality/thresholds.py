"""From where on something in a quality report is an alert. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What is beyond one of these is an alert. The defaults are those of a source that nobody has looked at yet."""

    missing_change: float = 0.05  # of the share of missing values in a column, against the report before
    ks_statistic: float = 0.1  # numbers moved: by so much ...
    ks_p: float = 0.01  # ... and hardly by chance
    category_change: float = 0.1  # of rows that have another value, or another shape, than before
    outlier_share: float = 0.1
    duplicate_share: float = 0.01
    rows_change: float = 0.5  # more or fewer rows than before, as a share
