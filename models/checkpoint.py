"""Weights, architecture, channels and statistics: saved together, loaded only together, and pinned by a digest.

A checkpoint is a folder: ``card.json`` (everything but the weights, and the SHA-256 of each file of them) and one
``.safetensors`` file for the backbone and for each head. Nothing in it is pickled.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from models.backbone import Architecture
from models.errors import CheckpointError
from models.heads import DownscalingArchitecture, DownscalingHead, StateHead, StateHeadArchitecture
from models.normalisation import Normalisation, Statistics, Transforms
from models.ocean import OceanModel
from models.resuming import synchronised
from models.suite import Labels, Suite

CARD = "card.json"
PARTS = ("backbone", "waves", "biogeochemistry", "kuroshio")
"""The networks there can be, in the order a card has them: the stems of their files."""
FORMAT = 1
"""Version of the folder's layout."""


class Entry(BaseModel):
    """A frozen, strict part of the card."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class About(Entry):
    """What people must know of a model. ``trained_on``: in words, what ocean it has seen; ``created``: a date.

    ``recipe`` (every training option, as JSON) and ``seed`` are filled in by training. ``scores``: root mean square
    errors on days it was not trained on, where training was given some, in the units products have: "ocean to day 5"
    of the array's variable over all its depths and starts; the same name and "persistence": that of no change at all.
    """

    name: str
    trained_on: str
    data_span: str
    created: str
    code_version: str
    recipe: str = ""
    seed: int = 0
    scores: dict[str, float] = {}


class OceanCard(Entry):
    """The backbone: its shape, the labels of its channels in order, and what it is normalised with.

    ``forcing_memory_days``: how fast an anomaly of each forcing channel faded in its training, where the days knew.
    """

    architecture: Architecture
    channels: tuple[str, ...]
    forcing: tuple[str, ...]
    statistics: Statistics
    forcing_statistics: Statistics
    forcing_memory_days: dict[str, float] = {}


class StateHeadCard(Entry):
    """A head with a state of its own; ``statistics`` are those of its model variables."""

    architecture: StateHeadArchitecture
    statistics: Statistics


class DownscalingCard(Entry):
    """The downscaling head; ``residual``: standard deviation of what bicubic misses, per channel, physical units."""

    architecture: DownscalingArchitecture
    residual: tuple[float, ...]


class Card(Entry):
    """``card.json``. ``files``: SHA-256 of each file of weights."""

    format: int
    about: About
    ocean: OceanCard
    waves: StateHeadCard | None = None
    biogeochemistry: StateHeadCard | None = None
    kuroshio: DownscalingCard | None = None
    files: dict[str, str] = {}

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the networks there are: the stems of their files."""
        return "backbone", *(name for name in PARTS[1:] if getattr(self, name) is not None)


class Checkpoint(NamedTuple):
    """A loaded checkpoint."""

    card: Card
    suite: Suite
    digest: str


def build(card: Card) -> Suite:
    """The networks a card describes, with fresh weights; ``CheckpointError`` where its parts do not fit together."""
    a = card.ocean.architecture
    _counted(card.ocean.channels, a.out_channels, "ocean channel labels")
    _counted(card.ocean.channels + card.ocean.forcing, a.in_channels, "ocean and forcing channel labels")
    ocean = _normalisation(card.ocean.statistics, a, a.out_channels, "ocean")
    forcing = _normalisation(card.ocean.forcing_statistics, a, a.in_channels - a.out_channels, "forcing")
    heads = {name: _state_head(part, card, name) for name in ("waves", "biogeochemistry")
             if (part := getattr(card, name)) is not None}  # fmt: skip
    labels = Labels(card.ocean.channels, card.ocean.forcing)
    return Suite(labels, OceanModel(a, ocean, forcing), heads, _downscaling(card))


def save(folder: Path, suite: Suite, card: Card) -> str:
    """Make ``folder`` the networks and their card (its ``files`` are filled in here), whole; the folder's digest.

    A checkpoint that is there is replaced when the new one is complete beside it; see ``replaceable``.
    """
    folder = replaceable(folder)
    unfinished, before = _beside(folder, "new"), _beside(folder, "old")
    for left in (unfinished, before):
        shutil.rmtree(left, ignore_errors=True)
    unfinished.mkdir(parents=True)
    found = _write(unfinished, suite, card)
    if folder.exists():
        folder.rename(before)
    unfinished.rename(folder)
    synchronised(folder.parent)
    shutil.rmtree(before, ignore_errors=True)
    return found


def holds(folder: Path, suite: Suite, card: Card) -> bool:
    """Whether the checkpoint in ``folder`` is whole and of these networks, to the bit, and of this card.

    But for what a card says of the moment: its date, the code's version, and scores, which come later.
    """
    try:
        kept = load(folder)
    except CheckpointError:
        return False
    own, theirs = suite.state_dict(), kept.suite.state_dict()
    same = own.keys() == theirs.keys() and all(torch.equal(own[name], theirs[name]) for name in own)
    return same and _lasting(card) == _lasting(kept.card)


def _lasting(card: Card) -> Card:
    about = card.about.model_copy(update={"created": "", "code_version": "", "scores": {}})
    return card.model_copy(update={"about": about, "files": {}})


def replaceable(folder: Path) -> Path:
    """The folder itself, where it is a place for a checkpoint: ``CheckpointError`` where it holds anything else.

    What was there when a run was killed between the two names of a replacement is there again.
    """
    folder = folder.resolve()
    before = _beside(folder, "old")
    if before.is_dir() and not folder.exists():
        before.rename(folder)
    own = {CARD, f"{CARD}.new", *(f"{part}.safetensors" for part in PARTS)}
    if folder.exists() and not folder.is_dir():
        raise _refused("a folder for the checkpoint", "a file", folder, "name another folder")
    if folder.exists() and (others := sorted(path.name for path in folder.iterdir() if path.name not in own)):
        raise _refused("a folder with nothing but a checkpoint, to be replaced whole", f"{others[:3]} in it", folder,
                       "name another folder, which need not be there")  # fmt: skip
    return folder


def _beside(folder: Path, kind: str) -> Path:
    return folder.with_name(f".{folder.name}.{kind}")


def _write(folder: Path, suite: Suite, card: Card) -> str:
    files = {}
    for part in card.parts:
        tensors = {name: tensor.detach().contiguous() for name, tensor in _part(suite, part).state_dict().items()}
        path = folder / f"{part}.safetensors"
        save_file(tensors, path)
        synchronised(path)
        files[path.name] = _sha256(path)
    text = card.model_copy(update={"files": files}).model_dump_json(indent=1) + "\n"
    (folder / CARD).write_text(text, encoding="utf-8")
    synchronised(folder / CARD)
    return digest(folder)


def load(folder: Path, sha256: str | None = None) -> Checkpoint:
    """The checkpoint in ``folder``; ``CheckpointError`` unless it is whole, consistent, and what the pin says."""
    card = _card(folder)
    found = digest(folder)
    if sha256 is not None and found != sha256:
        raise _refused(f"the checkpoint with SHA-256 {sha256}", found, folder, "restore it, or pin the one you mean")
    for name, expected in card.files.items():
        if (actual := _sha256(folder / name)) != expected:
            raise _refused(f"SHA-256 {expected} as the card says", actual, folder / name, "copy the whole folder again")
    suite = build(card)
    for part in card.parts:
        _fill(_part(suite, part), folder / f"{part}.safetensors")
    for module in suite.modules():
        if isinstance(module, Normalisation):
            module.refresh()
    suite.eval().requires_grad_(False)
    return Checkpoint(card, suite, found)


def scored(card: Card, scores: dict[str, float]) -> Card:
    """The card with these scores on it: to be saved again with its networks."""
    return card.model_copy(update={"about": card.about.model_copy(update={"scores": scores})})


def add_scores(folder: Path, scores: dict[str, float]) -> str:
    """Write scores onto the card of a saved checkpoint, whose weights stay as they are; the folder's new digest."""
    text = scored(_card(folder), scores).model_dump_json(indent=1) + "\n"
    unfinished = folder / f"{CARD}.new"
    unfinished.write_text(text, encoding="utf-8")
    unfinished.rename(folder / CARD)
    return digest(folder)


def digest(folder: Path) -> str:
    """SHA-256 over name and SHA-256 of every file of the checkpoint, in the order of their names."""
    card = _card(folder)
    whole = hashlib.sha256()
    for name in sorted((CARD, *card.files)):
        whole.update(f"{name} {_sha256(folder / name)}\n".encode())
    return whole.hexdigest()


def _card(folder: Path) -> Card:
    path = folder / CARD
    if not path.is_file():
        raise _refused(f"a checkpoint with its {CARD}", "no such file", folder, "train one, or name another folder")
    try:
        card = Card.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())[:400]
        raise _refused("a complete card", problem, path, "copy the whole folder again, or train anew") from error
    if card.format != FORMAT:
        raise _refused(f"layout {FORMAT}", f"layout {card.format}", path, "use the code version it was saved with")
    expected, there = {f"{part}.safetensors" for part in card.parts}, {p.name for p in folder.glob("*.safetensors")}
    if not set(card.files) == expected == there:
        found = f"{sorted(card.files)} on the card and {sorted(there)} in the folder"
        raise _refused(f"the files {sorted(expected)}", found, folder, "copy the whole folder again")
    return card


def _part(suite: Suite, part: str) -> nn.Module:
    if part == "backbone":
        return suite.ocean
    module = suite.kuroshio if part == "kuroshio" else suite.heads[part]
    assert module is not None
    return module


def _fill(module: nn.Module, path: Path) -> None:
    """Put a file's tensors into a network: exactly those it has, of their shapes, float32 and finite."""
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise _refused("weights in the safetensors format", str(error), path, "copy the whole folder again") from error
    wanted = module.state_dict()
    if tensors.keys() != wanted.keys():
        odd = sorted(tensors.keys() ^ wanted.keys())[:3]
        raise _refused("the weights of the card's architecture", f"{odd} too many or missing", path, "train anew")
    for name, tensor in tensors.items():
        found: tuple[Any, ...] = tuple(tensor.shape), tensor.dtype
        if found != (tuple(wanted[name].shape), torch.float32):
            raise _refused(f"{name} as float32 {tuple(wanted[name].shape)}", f"{found}", path, "train anew")
        if not bool(torch.isfinite(tensor).all()):
            raise _refused(f"finite {name}", "NaN or infinity", path, "train anew")
    module.load_state_dict(tensors)


def _normalisation(statistics: Statistics, a: Architecture | StateHeadArchitecture, channels: int, what: str
                   ) -> Normalisation:  # fmt: skip
    for name in ("mean", "spread", "change"):
        _counted(getattr(statistics, name), channels, f"values of {name} for {what}")
    background = torch.zeros(channels, *a.token_shape)
    return Normalisation(statistics, background, (a.rows, a.columns), periodic=a.periodic)


def _state_head(part: StateHeadCard, card: Card, name: str) -> StateHead:
    a = part.architecture
    _known(a.forcing, card.ocean.forcing, f"forcing of {name}")
    _counted(a.floors, len(a.channels), f"floors of {name}")
    state = _normalisation(part.statistics, a, Transforms(a.transforms, a.floors).variables, name)
    return StateHead(a, card.ocean.architecture.decoder_dim, state)


def _downscaling(card: Card) -> DownscalingHead | None:
    if card.kuroshio is None:
        return None
    a, ocean = card.kuroshio.architecture, card.ocean.architecture
    _known(a.channels, card.ocean.channels, "ocean channels of kuroshio")
    _known(a.static, card.ocean.forcing, "static channels of kuroshio")
    _counted(card.kuroshio.residual, len(a.channels), "residuals of kuroshio")
    if a.patch != ocean.patch or not (a.window.south < a.window.north <= ocean.rows
                                      and a.window.west < a.window.east <= ocean.columns):  # fmt: skip
        raise _refused(f"a window of {ocean.rows} x {ocean.columns} cells in patches of {ocean.patch}",
                       f"{a.window} in patches of {a.patch}", CARD, "train the head on this backbone")  # fmt: skip
    return DownscalingHead(a, ocean.decoder_dim, card.kuroshio.residual)


def _counted(values: tuple[Any, ...], count: int, what: str) -> None:
    if len(values) != count:
        raise _refused(f"{count} {what}", str(len(values)), CARD, "use the card this model was saved with")


def _known(labels: tuple[str, ...], known: tuple[str, ...], what: str) -> None:
    if missing := [label for label in labels if label not in known]:
        raise _refused(f"{what} among {known}", str(missing), CARD, "train the head on this backbone")


def _sha256(path: Path) -> str:
    if not path.is_file():
        raise _refused(f"the file {path.name}", "no such file", path.parent, "copy the whole folder again")
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _refused(needed: str, found: str, where: object, action: str) -> CheckpointError:
    return CheckpointError(needed, found=found, where=f"checkpoint {where}", action=action)
