"""How a checkpoint or a training can fail: one sentence, in the four parts every error of the service has."""

from __future__ import annotations


class ModelError(ValueError):
    """What was ``needed``, what was ``found`` (values and units), ``where``, and the ``action`` to take next."""

    def __init__(self, needed: str, *, found: str, where: str, action: str) -> None:
        super().__init__(f"needed {needed}; found {found}; in {where}; {action}")
        self.needed, self.found, self.where, self.action = needed, found, where, action


class CheckpointError(ModelError):
    """A checkpoint is absent, is not what it says it is, or does not fit what it is asked to do."""


class TrainingError(ModelError):
    """The training days or the recipe cannot give a model."""


class DeviceError(ModelError):
    """The machine lacks the device, the precision or the memory that a forecast was told to use."""
