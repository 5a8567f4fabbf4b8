"""The contract of a provider: somebody, or some data set, that knows more about an identifier than we do.

A provider answers questions and does nothing else. It gets no identifier ids, no profile and no database: what is
asked, what is remembered and who may be asked about is decided by the caller.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from cdp.kernel.errors import TesseraError
from cdp.kernel.identifiers import Identifier

FREE = Decimal(0)


class QuestionFailedError(TesseraError):
    """The provider could not answer this one question; the others of the batch are not concerned.

    Permanent: asking again cannot help until the provider's version changes. Transient: ask another time.
    """

    code = "question_failed"

    def __init__(self, message: str = "", *, is_permanent: bool) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent


class ProviderUnusableError(TesseraError):
    """The provider answers nobody at the moment: check its settings if this is permanent, wait if it is not."""

    code = "provider_unusable"

    def __init__(self, message: str = "", *, is_permanent: bool) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider says about one identifier. No traits and no failure: it knows nothing, which is an answer.

    A failure is returned rather than raised, so that one bad identifier never costs the others their answers.
    """

    question: Identifier
    traits: Mapping[str, str] = field(default_factory=dict)
    confidence: float = 1.0
    cost: Decimal = FREE
    failure: QuestionFailedError | None = None

    @property
    def is_final(self) -> bool:
        """False when the question should be asked another time."""
        return self.failure is None or self.failure.is_permanent


class Provider(Protocol):
    """`slug` names the source of the values. A new `version` means that every question may be asked again."""

    @property
    def slug(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def identifier_types(self) -> frozenset[str]: ...

    def look_up(self, questions: Sequence[Identifier]) -> Iterable[Answer]:
        """Answer each question once, in any order.

        Raises `ProviderUnusableError`, also half-way: the answers given until then stand.
        """
        ...
