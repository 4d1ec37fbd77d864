"""Every way a forecast can fail: one small tree, each a sentence, each with its exit code.

GomsError
├── UsageError            2   the command or its arguments cannot mean anything
├── InputUnavailable      3   an input is not there (yet)                  [retryable]
├── InputRefused          4   an input is there and is not what it says it is
├── ForecastRefused       5   the forecast exists and must not be published
├── StoreError            6   the store refused, failed or is full         [retryable]
│   └── CheckFailed       6   what was read back is not what was written
├── CycleHeld             7   another run holds the cycle
└── CycleAlarm            8   a cycle is late, will be, or failed: what a watch that looks once ends with
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pipeline.addresses import without_account

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class GomsError(Exception):
    """A forecast failed. The message is one sentence for the person on call.

    ``needed``, ``found``, ``where`` and ``action`` are its four parts: what was needed, what was found
    (with values and units), where, and what to do next. Addresses in them lose the account they were asked with.
    """

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, needed: str, *, found: str, where: str, action: str) -> None:
        needed, found, where, action = (without_account(part) for part in (needed, found, where, action))
        super().__init__(f"needed {needed}; found {found}; in {where}; {action}")
        self.needed, self.found, self.where, self.action = needed, found, where, action

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.needed, self.found, self.where, self.action)


def _rebuild(kind: type[GomsError], needed: str, found: str, where: str, action: str) -> GomsError:
    return kind(needed, found=found, where=where, action=action)


def _refused(kind: type[InputRefused], needed: str, kept: dict[str, Any]) -> InputRefused:
    parts = {name: value for name, value in kept.items() if name != "needed"}
    return kind(needed, **parts)


class UsageError(GomsError):
    """The command or its arguments cannot mean anything."""

    exit_code = 2


class InputUnavailable(GomsError):
    """An input is not there: absent, late, or the date is not held."""

    exit_code = 3
    retryable = True


class InputRefused(GomsError):
    """An input is there and is not what it says it is.

    ``check``: which look at it failed; ``field``: the variable, where it is one; ``value`` and ``threshold`` in
    ``units``, where it is a matter of figures. They are for the input report.
    """

    exit_code = 4

    def __init__(
        self, needed: str, *, found: str, where: str, action: str, check: str = "file", field: str = "",
        value: float | None = None, threshold: float | None = None, units: str = "",
    ) -> None:  # fmt: skip
        super().__init__(needed, found=found, where=where, action=action)
        self.check, self.field, self.value, self.threshold, self.units = check, field, value, threshold, units

    def __reduce__(self) -> tuple[object, ...]:
        return _refused, (type(self), str(self.needed), dict(self.__dict__))


class Offence(NamedTuple):
    """The field behind a refusal, for its report and its picture.

    ``check``: which look at it failed; ``array`` and ``row``: the channel of the forecaster's day; ``values`` and the
    cells that are ``bad``, both (latitude, longitude).
    """

    check: str
    array: str
    row: int
    value: float
    threshold: float
    units: str
    values: NDArray[np.float32]
    bad: NDArray[np.bool_]


class ForecastRefused(GomsError):
    """The forecast exists and must not be published. ``offence``: the field it is about, where it is one."""

    exit_code = 5

    def __init__(
        self, needed: str, *, found: str, where: str, action: str, offence: Offence | None = None
    ) -> None:  # fmt: skip
        super().__init__(needed, found=found, where=where, action=action)
        self.offence = offence


class StoreError(GomsError):
    """The store refused, failed or is full."""

    exit_code = 6
    retryable = True


class CheckFailed(StoreError):
    """What was read back from the store is not what was written."""

    retryable = False


class CycleHeld(GomsError):
    """Another run holds the cycle."""

    exit_code = 7


class CycleAlarm(GomsError):
    """A cycle that the schedule promised is late, will be, or failed: said by whoever watches."""

    exit_code = 8
