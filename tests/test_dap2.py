"""OPeNDAP's texts and bytes as THREDDS writes them, and everything that may be wrong with them."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from pipeline.sources import dap2

DDS = """Dataset {
    Float64 depth[depth = 40];
    Float64 time[time = 2920];
    Float64 tau[time = 2920];
    Grid {
     ARRAY:
        Int16 water_temp[time = 2920][depth = 40][lat = 4251][lon = 4500];
     MAPS:
        Float64 time[time = 2920];
        Float64 depth[depth = 40];
        Float64 lat[lat = 4251];
        Float64 lon[lon = 4500];
    } water_temp;
} ESPC-D-V02/t3z/2025;
"""
DAS = """Attributes {
    time {
        String units "hours since 2000-01-01 00:00:00";
        String calendar "gregorian";
    }
    water_temp {
        String comment "say \\"in situ\\"; not {potential}";
        Int16 _FillValue -30000;
        Float32 scale_factor 0.001;
        Float32 add_offset 20.0;
        Float64 range -2.5, 40.0;
        String units "degC";
    }
    NC_GLOBAL {
        String title "ESPC";
    }
}
"""


def test_declarations_name_types_dimensions_and_the_grid_they_lie_in() -> None:
    declared = dap2.declarations(DDS)
    assert [item.name for item in declared] == ["depth", "time", "tau", "water_temp", "time", "depth", "lat", "lon"]
    assert declared[3] == dap2.Array(
        ("water_temp",), "water_temp", "Int16", ("time", "depth", "lat", "lon"), (2920, 40, 4251, 4500)
    )
    assert declared[2].dims == ("time",)
    assert dap2.by_name(declared)["time"].path == ()


def test_attributes_keep_their_types_and_their_quotes() -> None:
    found = dap2.attributes(DAS)
    assert found["water_temp"]["comment"] == 'say "in situ"; not {potential}'
    assert found["water_temp"]["_FillValue"] == np.int16(-30000)
    assert found["water_temp"]["scale_factor"].dtype == np.float32
    assert found["water_temp"]["range"] == [-2.5, 40.0]
    assert found["time"]["units"] == "hours since 2000-01-01 00:00:00"


def answer(values: np.ndarray, declared: int | None = None) -> bytes:
    """A slab and its time as they travel: lengths twice, int16 in four bytes, a double after it."""
    size = values.size if declared is None else declared
    words = f"Dataset {{\n    Structure {{\n        Int16 water_temp[a = {size}];\n    }} water_temp;\n"
    words += "    Float64 time[time = 1];\n} name;\n\nData:\n"
    lengths = struct.pack(">II", values.size, values.size)
    return words.encode() + lengths + values.astype(">i4").tobytes() + struct.pack(">IId", 1, 1, 9.5)


def test_values_are_decoded_in_their_own_types() -> None:
    found, _ = dap2.values(answer(np.array([-30000, 0, 32767])))
    np.testing.assert_array_equal(found["water_temp"], np.array([-30000, 0, 32767], dtype=np.int16))
    assert found["water_temp"].dtype == np.int16
    assert found["time"].tolist() == [9.5]


def test_bytes_are_padded_to_a_multiple_of_four() -> None:
    body = b"Dataset {\n Byte flag[n = 5];\n Int32 last;\n} d;\n\nData:\n"
    body += struct.pack(">II", 5, 5) + bytes([1, 2, 3, 4, 255, 0, 0, 0]) + struct.pack(">i", -7)
    found, _ = dap2.values(body)
    assert (found["flag"].tolist(), int(found["last"])) == ([1, 2, 3, 4, 255], -7)


@pytest.mark.parametrize(("body", "words"), [
    (answer(np.arange(3))[:-1], "of 8 bytes"),
    (answer(np.arange(3)) + b"\0", "1 bytes after the last value"),
    (answer(np.arange(3), declared=4), "lengths .* where 4 values were declared"),
    (answer(np.array([40000])), "values beyond Int16"),
    (answer(np.arange(3))[:40], "something else"),
    (b"", "an empty answer"),
    (b"<html><body><h1>Down for maintenance</h1></body></html>", "'Down for maintenance'"),
    (b'Error {\n    code = 500;\n    message = "java.io.IOException: -68";\n};\n', "java.io.IOException: -68"),
])  # fmt: skip
def test_what_is_not_whole_is_told(body: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dap2.values(body)


@pytest.mark.parametrize("cut", range(10, len(DDS) - 2, 37))
def test_declarations_that_are_cut_short_are_never_taken_for_whole(cut: int) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        dap2.declarations(DDS[:cut])


@pytest.mark.parametrize("cut", range(10, len(DAS) - 2, 37))
def test_attributes_that_are_cut_short_are_never_taken_for_whole(cut: int) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        dap2.attributes(DAS[:cut])
