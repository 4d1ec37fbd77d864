"""Forecasts that break a law of the sea are refused or labelled, whichever way the rollout came to that day."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline import edition, publish
from pipeline.edition import Edition
from pipeline.errors import ForecastRefused
from pipeline.gate.thresholds import Outcome
from pipeline.output_gate.judging import Judge
from pipeline.output_gate.laws import Law, Ruler
from pipeline.output_gate.limits import LIMITS, Limit
from pipeline.output_gate.report import Report, private_path, read
from pipeline.store import Store
from tests import small_ocean as small

MASKS = small.masks()
ORIGIN = "made up for these tests alone"
JUMP = Limit(law=Law.LEAP, array="ocean", variables=("to",), label=1.0, refuse=5.0, units="own", origin=ORIGIN)
PRIVATE = private_path(small.CYCLE, 1)


class Wrong(small.Drifting):
    """A forecaster that does something to the state on one lead day, and goes on from it."""

    def __init__(self, lead_day, change):
        super().__init__(small.SYSTEM, masks=MASKS)
        self.lead_day, self.change = lead_day, change

    def roll_out(self, state, forcing, after=0):
        day = {name: array.copy() for name, array in state.items()}
        for lead, _ in enumerate(forcing, start=after + 1):
            day = {name: array.copy() for name, array in day.items()}
            if lead == self.lead_day:
                self.change(day)
            yield {**day, **self.derive(day)}


def warmer(by, where=(0, 9, 5)):
    def change(day):
        day["ocean"][where] += np.float32(by)

    return change


def write(store, forecaster, limits=(JUMP,), **options):
    making = Edition(store, small.SYSTEM, small.CYCLE, small.facts(1))
    judge = Judge(store, small.SYSTEM, small.CYCLE, 1, limits)
    return edition.write(making, small.initial(), forecaster, inputs_digest="x", restart_every_days=2, masks=MASKS,
                         judge=judge, **options)  # fmt: skip


def private(store):
    return Report.model_validate_json(store.read_bytes(PRIVATE))


def bytes_of(store, prefix="small"):
    return {path: store.read_bytes(path) for path, _ in store.objects(prefix)}


@pytest.fixture
def field():
    """The small ocean's surface temperature, and a cell of sea to disturb."""
    values = small.values("ocean")[0]
    assert np.isfinite(values[9, 5])
    return values


def test_a_refused_forecast_has_a_report_and_pictures_and_no_report_for_readers(folder_store, field) -> None:
    by = 6.0 if field[9, 5] < 30 else -6.0
    with pytest.raises(ForecastRefused, match=r"to at 0 m on lead day 3 with largest change of a cell") as refused:
        write(folder_store, Wrong(3, warmer(by)))
    assert f"the report {PRIVATE}" in str(refused.value)
    report = private(folder_store)
    (finding,) = report.findings
    assert (report.outcome, finding.lead_day, finding.place, finding.field) == (Outcome.REFUSE, 3, "at 0 m", "to")
    assert finding.value == pytest.approx(6.0, rel=1e-5)
    drawn = folder_store.read_bytes(f"{PRIVATE.rpartition('/')[0]}/{finding.picture}")
    assert drawn.startswith(b"\x89PNG")
    assert not folder_store.exists(f"{small.CYCLE.revision_prefix(1)}/physics.json")


def test_a_forecast_that_is_tried_again_is_refused_with_the_same_report(folder_store, field) -> None:
    """The second try goes on after day 2, the first began at day 0."""
    found = []
    for _ in range(2):
        with pytest.raises(ForecastRefused) as refused:
            write(folder_store, Wrong(3, warmer(6.0)))
        found.append((str(refused.value), bytes_of(folder_store, PRIVATE.rpartition("/")[0])))
    assert found[0] == found[1]


def test_a_label_is_a_note_on_its_product_and_survives_a_kill(tmp_path, field) -> None:
    """Killed after day 2, by when the doubtful day 1 is long past: the same bytes as never stopped."""

    class Killed(Exception):
        pass

    def die(lead_day):
        if lead_day == 3:
            raise Killed

    stores = [Store(tmp_path / name) for name in ("whole", "killed")]
    with pytest.raises(Killed):
        write(stores[1], Wrong(1, warmer(2.0)), progress=die)
    written = [write(store, Wrong(1, warmer(2.0))) for store in stores]
    assert written[0] == written[1]
    assert bytes_of(stores[0], "small/cycles") == bytes_of(stores[1], "small/cycles")
    making = edition.labelled(Edition(stores[1], small.SYSTEM, small.CYCLE, small.facts(1)))
    manifest = publish.publish(making, written[1], created=small.CREATED, masks=MASKS)
    (note,) = making.facts.labels["ocean"]
    assert note == "to at 0 m on lead day 1: largest change of a cell within a day is 2 degC, ordinarily at most 1 degC"
    assert note in manifest.products["ocean"].degraded_reasons
    assert note not in manifest.products["waves"].degraded_reasons
    root = json.loads(stores[1].read_bytes(f"{small.CYCLE.revision_prefix(1)}/ocean.zarr/zarr.json"))
    assert note in root["attributes"]["degraded_reasons"]
    report = read(stores[1], small.CYCLE, 1)
    assert (report.outcome, report.lead_days) == (Outcome.LABEL, 4)


def test_what_is_healed_leaves_no_refusal_behind(folder_store, field) -> None:
    with pytest.raises(ForecastRefused):
        write(folder_store, Wrong(1, warmer(6.0)))
    write(folder_store, small.persistence())
    assert folder_store.objects(PRIVATE.rpartition("/")[0]) == []
    assert read(folder_store, small.CYCLE, 1).outcome is Outcome.ACCEPT


def negative(day):
    day["biogeochemistry"][1, 2, 3] = -0.25


def on_land(day):
    day["waves"][0] = np.where(np.isfinite(day["waves"][0]), day["waves"][0], np.float32(1.0))


def too_fast(day):
    day["ocean"][30, 9, 5], day["ocean"][45, 9, 5] = 4.9, 4.9


@pytest.mark.parametrize(("change", "law", "array", "subject"), [
    (warmer(60.0), "bounds", "ocean", "to at 0 m"),
    (negative, "non-negative", "biogeochemistry", "chlorophytes"),
    (on_land, "land leakage", "waves", "swh"),
    (too_fast, "current speed cap", "ocean", "uo at 0 m"),
])  # fmt: skip
def test_what_the_day_alone_shows_is_reported_too(folder_store, change, law, array, subject) -> None:
    with pytest.raises(ForecastRefused, match="lead day 2 of system small; look at the report"):
        write(folder_store, Wrong(2, change))
    (finding,) = private(folder_store).findings
    assert (finding.law, finding.array, finding.lead_day) == (law, array, 2)
    assert finding.subject == f"{subject} on lead day 2"
    assert folder_store.exists(f"{PRIVATE.rpartition('/')[0]}/{finding.picture}")


# ------------------------------------------------------------------------------------------------------- the laws


def figures(array, *days):
    """The worst of each law on the last of some days."""
    entries, grid = small._SHAPES[array]
    ruler, start = Ruler(array, entries, grid, None), {}
    for lead, values in enumerate(days):
        found = list(ruler.figures(values, lead, start))
        ruler.follow(values)
    worst = {}
    for item in found:
        name = entries[item.row].variable
        worst[item.law, name] = max(worst.get((item.law, name), -np.inf), item.value)
    return worst


def sea(array="ocean"):
    return small.values(array)


def test_persistence_breaks_nothing() -> None:
    for array in ("ocean", "waves", "biogeochemistry"):
        for (law, _), value in figures(array, sea(array), sea(array)).items():
            expected = {Law.SPREAD: 1.0, Law.ENERGY: 1.0, Law.ENERGY_LEFT: 1.0}.get(law, 0.0)
            if law is not Law.FASTEST:
                assert value == pytest.approx(expected, abs=1e-6), law


def test_halved_currents_have_a_quarter_of_the_energy_and_half_the_spread() -> None:
    halved = sea()
    halved[30:60] /= 2
    found = figures("ocean", sea(), halved)
    assert found[Law.ENERGY_LEFT, "uo"] == pytest.approx(0.25, rel=1e-5)
    assert found[Law.SPREAD, "uo"] == pytest.approx(0.5, rel=1e-5)
    assert found[Law.FASTEST, "uo"] == pytest.approx(
        float(np.nanmax(np.hypot(sea()[30:45], sea()[45:60]))) / 2, rel=1e-5)  # fmt: skip


def test_water_that_turns_over_is_counted_against_the_start() -> None:
    """A stable column (28 degC at the top, a degree less a level), then the same upside down: all of it unstable."""
    stable, turned = sea(), sea()
    for level in range(15):
        stable[level] = np.where(MASKS["ocean"][level], 28 - level, np.nan)
        turned[level] = np.where(MASKS["ocean"][level], 14 + level, np.nan)
    for day in (stable, turned):
        day[15:30] = np.where(MASKS["ocean"][15:30], 35, np.nan)
    assert figures("ocean", stable, turned)[Law.STABILITY, "to"] == pytest.approx(1.0)
    assert figures("ocean", turned, turned)[Law.STABILITY, "to"] == 0.0
    assert figures("ocean", turned, stable)[Law.STABILITY, "to"] == pytest.approx(-1.0)


def test_seas_break_at_a_fifteenth_of_their_length() -> None:
    """A period of 6 s is a length of 56.2 m (9.81 * 36 / 2 pi): 3.7 m stand, 3.8 m break."""
    calm = sea("waves")
    calm[0], calm[1] = np.where(MASKS["waves"][0], 3.7, np.nan), np.where(MASKS["waves"][1], 6.0, np.nan)
    rough = calm.copy()
    rough[0] += np.float32(0.1)
    assert figures("waves", calm, rough)[Law.STEEPNESS, "swh"] == pytest.approx(1.0)
    assert figures("waves", calm, calm)[Law.STEEPNESS, "swh"] == 0.0


def test_concentrations_change_by_decades_and_directions_by_nothing() -> None:
    grown = sea("biogeochemistry")
    grown[0] = grown[0].clip(1e-3)
    before = grown.copy()
    grown[0] *= np.float32(10)
    assert figures("biogeochemistry", before, grown).get((Law.LEAP, "chl")) in (None, pytest.approx(1.0, rel=1e-4))
    assert not [law for law, name in figures("waves", sea("waves"), sea("waves")) if name == "mwd"]


def test_every_law_has_a_limit_and_every_limit_is_met_by_an_array() -> None:
    from pipeline.output_gate import channels_of

    assert {limit.law for limit in LIMITS} == set(Law)
    for limit in LIMITS:
        names = {channel.variable for channel in channels_of(limit.array, small.SYSTEM)}
        assert set(limit.variables) <= names, limit
        assert limit.label is not None or limit.refuse is not None
