"""What the API server refuses, or does not answer.

Without a client: handling these errors needs none.
"""

from __future__ import annotations

from fpj_core.errors import FpjError


class ClusterError(FpjError):
    """The API server refused, or gave no usable answer; ``status`` is its HTTP status,
    0 where it gave none.

    ``reason`` is what its Status object names: AlreadyExists, Conflict, Forbidden, Invalid; empty
    if it names none. ``retry_after`` is what it asks to wait, in seconds. ``causes`` are (field,
    message) of what it found invalid.
    """

    def __init__(
        self,
        status: int,
        message: str,
        retry_after: float = 0.0,
        causes: tuple[tuple[str, str], ...] = (),
        reason: str = "",
    ) -> None:
        self.status = status
        self.reason = reason
        self.retry_after = retry_after
        self.causes = causes
        super().__init__(message)


class UnreachableError(ClusterError):
    """The API server, or a pod through it, cannot be reached now. It may be later."""

    def __init__(self, message: str) -> None:
        super().__init__(0, message)


class NoAnswerError(ClusterError):
    """No answer came within the time limit. What was asked may have been done."""

    def __init__(self) -> None:
        super().__init__(0, "the API server does not answer in time")
