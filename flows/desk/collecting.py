"""What ``goms collect`` does and says: the archive of all cycles, and which of them could not be taken."""

from __future__ import annotations

from flows.screen import say
from pipeline.errors import CheckFailed
from pipeline.readers import cycles
from pipeline.settings import Settings


def collect(where: str, out: str, system: str | None, *, copy: bool, own_keys: bool) -> None:
    """Bring the archive up to what is published; ``CheckFailed`` at the end where a cycle could not be taken.

    ``where``: empty for the own store, which is read with the own keys.
    """
    done = cycles.collect(
        where or Settings().store, out, system=system, signed=own_keys or not where, copy=copy,
        said=lambda words: say(f"taken: {words}"),
    )  # fmt: skip
    for name in done.withdrawn:
        say(f"no longer published, marked so: {name}")
    for key, sentence in done.refused.items():
        say(f"not taken: {key}: {sentence}")
    say(f"{out}: {len(done.taken)} taken, {done.already} there before, {len(done.withdrawn)} marked withdrawn")
    if done.refused:
        key, sentence = next(iter(done.refused.items()))
        raise CheckFailed(
            "every published cycle whole and laid out like the others", found=f"{len(done.refused)} that are not, "
            f"first {key} ({sentence})", where=out, action="see to those; the others are in the archive",
        )  # fmt: skip
