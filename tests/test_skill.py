"""How good a system is: what is said on its products and when it is an alarm, from scores made up by hand."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import small_goms
import xarray as xr
from journeys import Here

from pipeline import cycle, produce, products
from pipeline.errors import StoreError
from pipeline.record import lock
from pipeline.scoring import regions, skill
from pipeline.scoring.scoreboard import Board, Scored, identity
from pipeline.store import Store
from tests import small_ocean as small

DAY = timedelta(days=1)
WAVES, START = products.WAVES, small.START
MODEL, OTHER = identity("model", "aa"), identity("model", "bb")
CHANNELS = ["swh", "mwp", "mwd"]
REGIONS = [region.name for region in regions.of(small.SYSTEM.product_grid(WAVES))]


def moments(error, rival=1.0):
    """Scores with an error of the forecast and of each rival, the same everywhere."""
    by = {"forecast": error, "persistence": 2 * rival, "damped": rival, "climatology": 3 * rival}
    values = np.array(list(by.values()))[:, None, None] ** 2 * np.ones((1, 3, len(REGIONS)))
    weight = np.ones((3, len(REGIONS)))
    return xr.Dataset({"mean_square_error": (("by", "channel", "region"), values),
                       "weight": (("channel", "region"), weight)},
                      coords={"by": list(by), "channel": CHANNELS, "region": REGIONS})  # fmt: skip


def fill(store, errors, first=START, who=MODEL, leads=(1,)):
    """Put an error for each day from ``first`` on."""
    board = Board(store, small.SYSTEM, WAVES)
    for number, error in enumerate(errors):
        board.add(first + number * DAY, [Scored(lead, 1, who, moments(error)) for lead in leads])
    return board


def test_the_note_is_of_the_month_before_the_start_and_of_this_forecaster(folder_store) -> None:
    """Errors of 9 more than a month ago, then three of 0.5, then two by other weights of 0.9; 9 at the start."""
    fill(folder_store, [9.0] * 2)
    fill(folder_store, [0.5] * 3, START + 36 * DAY)
    board = fill(folder_store, [0.9] * 2, START + 39 * DAY, OTHER)
    until = START + 41 * DAY
    board = fill(folder_store, [9.0], until)
    note = skill.lately(board, WAVES, until, MODEL)
    (row,) = [row for row in note.rows if row.variable == "swh"]
    assert (note.cycles, row.cycles, row.lead_day) == (3, 3, 1)
    assert (note.first, note.last) == tuple(f"{START + days * DAY:%Y-%m-%d}" for days in (36, 38))
    assert (row.rmse, row.persistence, row.damped, row.climatology) == (0.5, 2.0, 1.0, 3.0)
    every = skill.lately(board, WAVES, until)
    assert every.rows[0].rmse == pytest.approx(np.sqrt((3 * 0.25 + 2 * 0.81) / 5), rel=1e-3)
    assert skill.lately(board, WAVES, START - DAY, MODEL) is None
    assert skill.lately(board, WAVES, until, identity("third", "")) is None


def test_without_a_climatology_of_every_day_nothing_is_said_of_it_nor_of_what_needs_it(folder_store) -> None:
    """Ten days with one of each, then twenty without: persistence, and no alarm although the errors grow."""
    fill(folder_store, [0.5] * 10)
    board = Board(folder_store, small.SYSTEM, WAVES)
    for number in range(10, 30):
        lacking = moments(0.5 + 0.1 * number)
        lacking["mean_square_error"].loc[{"by": ["damped", "climatology"]}] = np.nan
        board.add(START + number * DAY, [Scored(1, 1, MODEL, lacking)])
    note = skill.lately(board, WAVES, START + 30 * DAY)
    assert [(row.damped, row.climatology, row.persistence) for row in note.rows] == [(None, None, 2.0)] * 3
    assert "on day 1 (persistence 2; 30 cycles)" in note.attributes["skill"]
    assert json.loads(note.attributes["skill_scores"])[0]["damped"] is None
    assert list(skill.drifting(board, WAVES)) == []


def test_what_is_said_of_an_edition_is_decided_once(folder_store) -> None:
    made = cycle.cycle("small", (START + 3 * DAY).date(), 12)
    fill(folder_store, [0.5] * 3)
    looked = skill.settled(folder_store, small.SYSTEM, made, 1, MODEL, decide=False)
    assert folder_store.objects(made.run_prefix) == []
    first = skill.settled(folder_store, small.SYSTEM, made, 1, MODEL, decide=True)
    assert first == looked
    fill(folder_store, [5.0], START + 2 * DAY)
    assert skill.settled(folder_store, small.SYSTEM, made, 1, MODEL, decide=True) == first
    assert skill.settled(folder_store, small.SYSTEM, made, 2, MODEL, decide=True) != first
    assert skill.settled(folder_store, small.SYSTEM, made, 1, OTHER, decide=True) == {}


def test_a_product_says_how_good_it_was_or_nothing(folder_store) -> None:
    fill(folder_store, [0.5] * 3)
    told = skill.settled(folder_store, small.SYSTEM, small.CYCLE._replace(start=START + 3 * DAY), 1, MODEL, decide=True)
    facts = small.facts().model_copy(update={"skill": told})
    said = produce.layout(WAVES, small.SYSTEM, small.CYCLE, facts).attrs
    assert said["skill_cycles"] == 3
    assert "swh 0.5 m on day 1 (persistence 2, damped 1, climatology 3; 3 cycles)" in said["skill"]
    assert json.loads(said["skill_scores"])[0]["rmse"] == 0.5
    assert not [name for name in produce.layout(products.OCEAN, small.SYSTEM, small.CYCLE, facts).attrs
                if name.startswith("skill")]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("weight/c/1/0/0/0", None),
        ("mean_square_error/c/2/0/0/0/0", b"rubbish"),
        ("zarr.json", b"{"),
        ("region/c/0", b"?"),
    ],
)
def test_a_damaged_board_keeps_nobody_from_a_forecast_which_says_so(folder_store, path, data) -> None:
    """Lost, not to be decompressed, not JSON, not text; the verification ends with a sentence that names the board."""
    board = fill(folder_store, [0.5] * 3)
    folder_store.delete(f"{board.path}/{path}")
    if data is not None:
        folder_store.write_bytes(f"{board.path}/{path}", data)
    later = small.CYCLE._replace(start=START + 3 * DAY)
    told = skill.settled(folder_store, small.SYSTEM, later, 1, MODEL, decide=True)
    assert told == skill.settled(folder_store, small.SYSTEM, later, 1, MODEL, decide=True)
    said = produce.layout(WAVES, small.SYSTEM, later, small.facts().model_copy(update={"skill": told})).attrs
    assert {name: value for name, value in said.items() if name.startswith("skill")} == {
        "skill": "not known: the scores of earlier forecasts cannot be read"
    }
    with pytest.raises(StoreError, match=r"small/scores/scores\.zarr/waves"):
        skill.refresh(folder_store, small.SYSTEM)


WOBBLE = [0.5 * (1 + 0.02 * (-1) ** number) for number in range(20)]


AFTER = START + len(WOBBLE) * DAY


@pytest.fixture(scope="module")
def wobbling(tmp_path_factory) -> Store:
    made = Store(tmp_path_factory.mktemp("wobble") / "store")
    fill(made, WOBBLE, leads=(1, 2))
    return made


@pytest.fixture
def usual(wobbling, tmp_path) -> Store:
    """Twenty ordinary days."""
    shutil.copytree(wobbling.address(""), tmp_path / "usual")
    return Store(tmp_path / "usual")


@pytest.mark.parametrize(("week", "alarms"), [
    ([0.51] * 7, 0),
    ([0.45] * 7, 0),  # better than ever is nobody's night
    ([0.53] * 7, 0),  # 6 %: outside the wobble, and less than a tenth
    ([0.60] * 7, 3),
    ([0.60] * 3, 0),  # three days are not a week
])  # fmt: skip
def test_skill_that_leaves_its_usual_range_is_told(usual, week, alarms) -> None:
    board = fill(usual, week, AFTER)
    found = list(skill.drifting(board, WAVES))
    assert len(found) == alarms
    if found:
        assert (found[0].variable, found[0].lead_day, found[0].ratio, found[0].days) == ("swh", 1, 0.6, 7)
        assert found[0].usual == pytest.approx(0.5, abs=0.002)


def test_what_moves_the_rival_as_well_is_no_drift(usual) -> None:
    """Autumn: seas twice as hard to forecast, for damped persistence too."""
    board = Board(usual, small.SYSTEM, WAVES)
    for number in range(7):
        board.add(AFTER + number * DAY, [Scored(1, 1, MODEL, moments(1.0, 2.0))])
    assert list(skill.drifting(board, WAVES)) == []


def test_the_standing_is_kept_for_whoever_watches(usual) -> None:
    assert skill.read(usual, "small") is None
    fill(usual, [0.7] * 7, AFTER, leads=(1, 2))
    made = skill.refresh(usual, small.SYSTEM)
    assert skill.read(usual, "small") == made
    assert made.as_of == START + 26 * DAY
    assert set(made.products) == {"waves"}
    assert "waves swh on day 1: error 0.70 of damped persistence's over 7 days, usually 0.50" in made.drifts[0].words


# ----------------------------------------------------------------------------------------- the daily verification


@pytest.fixture(scope="module")
def four_days(tmp_path_factory) -> Path:
    return small_goms.write_inputs(tmp_path_factory.mktemp("later") / "inputs", days=4)


def verified(store: Store, inputs: Path) -> str:
    from flows.service import scheduled

    state = scheduled.verification(system="small-sea", inputs=str(inputs), store=store.uri, return_state=True)
    return str(state.message)


def rows(store: Store, name: str) -> dict[int, dict[str, object]]:
    found = json.loads(store.read_bytes(f"small-sea/scores/20230101T00/r1/{name}.json"))["rows"]
    return {row["lead_day"]: row for row in found if row["variable"] in ("to", "swh")}


def test_every_lead_day_that_has_an_analysis_is_scored_once(here: Here, first_day: Store, four_days: Path) -> None:
    """Two days of archives, then four: day 1, then days 2 and 3 as well, and nothing twice."""
    assert verified(first_day, here.inputs).startswith("1 forecasts scored, 1 wait")
    assert set(rows(first_day, "ocean")) == {1}
    before = first_day.read_bytes("small-sea/scores/20230101T00/r1/ocean.nc")
    assert verified(first_day, four_days).startswith("1 forecasts scored")
    assert set(rows(first_day, "ocean")) == set(rows(first_day, "waves")) == {1, 2, 3}
    assert first_day.read_bytes("small-sea/scores/20230101T00/r1/ocean.nc") == before
    board = Board(first_day, small_goms.SMALL_SEA, products.OCEAN)
    assert {f"{day:%d}": board.revisions(day) for day in board.days} == {"02": {1: 1}, "03": {2: 1}, "04": {3: 1}}
    table, kept = rows(first_day, "ocean"), board.opened()
    for number, day in enumerate(board.days):
        lead = (day - datetime.fromisoformat("2023-01-01T00:00:00+00:00")).days
        part = kept.isel(valid_time=number).sel(lead_day=lead, region="everywhere", by="forecast")
        chosen = part.where(part["variable"] == "to", drop=True)
        pooled = float(np.sqrt((chosen["mean_square_error"] * chosen["weight"]).sum() / chosen["weight"].sum()))
        assert pooled == pytest.approx(table[lead]["rmse"], rel=1e-5)
        assert table[lead]["persistence"] == table[lead]["rmse"]
        assert table[lead]["damped"] is not None
    bytes_of = {path: first_day.read_bytes(path) for path, _ in first_day.objects("small-sea/scores")}
    assert verified(first_day, four_days).startswith("0 forecasts scored")
    assert {path: first_day.read_bytes(path) for path, _ in first_day.objects("small-sea/scores")} == bytes_of
    assert skill.read(first_day, "small-sea").products["ocean"].cycles == 1


def test_one_refused_analysis_and_one_damaged_edition_keep_nothing_else_from_being_scored(
    here: Here, both_days: tuple[Store, Store], four_days: Path, tmp_path: Path
) -> None:
    """A day without one temperature; one forecast's waves damaged on lead day 2 (valid on the fourth), and its
    ocean's table of scores."""
    from flows.service import scheduled

    shutil.copytree(both_days[1].address(""), tmp_path / "store")
    store, page = Store(tmp_path / "store"), "small-sea/view/index.html"
    shutil.copytree(four_days, tmp_path / "inputs")
    with netCDF4.Dataset(tmp_path / "inputs" / "hycom.nc", "a") as file:
        file["water_temp"][2] = np.ma.masked
    store.write_bytes("small-sea/cycles/20230102T00/r1/waves.zarr/swh/c/2/0/0", b"rubbish")
    store.write_bytes("small-sea/scores/20230102T00/r1/ocean.json", b"{}")
    store.delete("small-sea/view")
    state = scheduled.verification(
        system="small-sea", leads=[1, 2, 3], inputs=str(tmp_path / "inputs"), store=store.uri, return_state=True
    )  # fmt: skip
    assert state.is_failed()
    assert state.message.startswith("2 forecasts scored, 1 wait for their truth; refused: ")
    for words in ("ocean of 2023-01-03 is refused: needed", "waves of the forecast of 20230102T00 is refused: needed",
                  "ocean of the forecast of 20230102T00 is refused: needed a table of scores"):  # fmt: skip
        assert state.message.count(words) == 1
    assert set(rows(store, "ocean")) == {1, 3}
    assert set(rows(store, "waves")) == {1, 2, 3}
    board = Board(store, small_goms.SMALL_SEA, products.WAVES)
    assert {f"{day:%d}": set(board.revisions(day)) for day in board.days} == {"02": {1}, "03": {2, 1}, "04": {3}}
    assert store.exists(page)
    assert set(skill.read(store, "small-sea").products) == {"ocean", "waves"}


def test_where_another_verification_is_at_it_both_ways_say_who(
    here: Here, first_day: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import clock
    from flows.journey import verification
    from flows.service import scheduled

    monkeypatch.setattr(verification, "PATIENCE_SECONDS", 0.0)
    before = first_day.objects("small-sea/scores")
    with lock.hold(first_day, lock.Scores("small-sea"), "process 7 on elsewhere", 900, clock.now):
        state = scheduled.verification(system="small-sea", store=first_day.uri, return_state=True)
        typed = here("verify", "2023-01-01", "--system", "small-sea", "--inputs", here.inputs, "--store", first_day.uri)
    assert (state.name, typed.code) == ("Held", 7)
    for words in (str(state.message), typed.sentence):
        assert "needed the scores of system small-sea for this run alone; found it held by process 7 on elsew" in words
    assert first_day.objects("small-sea/scores") == before


# --------------------------------------------------------------------------------------------------------- told


class Kept:
    """A channel that keeps what it is sent."""

    name = "kept"

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, alert) -> None:
        self.sent.append(alert.headline)


def test_a_drift_is_told_once_and_once_that_it_is_over(usual, monkeypatch) -> None:
    from flows.service import notify, watch
    from pipeline.operations.said import Said
    from pipeline.settings import Settings

    receiver = Kept()
    monkeypatch.setattr(notify, "deliver", lambda alert, channel: channel.send(alert) is None)
    fill(usual, [0.7] * 7, AFTER, leads=(1, 2))

    def look(before: Said) -> tuple[int, Said]:
        alarms, after = watch._drifts(small.SYSTEM, usual, before, [receiver], Settings())
        return len(alarms), after

    assert look(Said()) == (0, Said())
    skill.refresh(usual, small.SYSTEM)
    first, said = look(Said())
    again, said = look(said)
    assert (first, again) == (1, 1)
    assert receiver.sent == ["small: SKILL DRIFTS, waves mwd, waves mwp, waves swh worse than usual"]
    fill(usual, [0.5] * 7, AFTER + 7 * DAY, leads=(1, 2))
    skill.refresh(usual, small.SYSTEM)
    assert look(said) == (0, Said())
    assert receiver.sent[1:] == ["small: over, skill is within its usual range again"]
