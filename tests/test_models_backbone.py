"""The architecture: shapes and size of the paper's, masking that masks, Fourier blocks in float32, transforms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dct
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from models import checkpoint
from models.backbone import PAPER, REGIONAL, TWIN, Backbone, random_visible
from models.cost import cost, described
from models.forecaster import ModelForecaster
from models.heads import Window, bicubic
from models.layers import (
    FourierBlock,
    PatchEmbedding,
    PatchProjection,
    PlaneMixer,
    SpectralMixer,
    cosine_transform,
    position_embedding,
)
from models.losses import cell_weights, relative_error
from models.normalisation import Transforms, enlarge
from models.recipes import PAPER_MASKING, Recipe
from models.suite import land_filled, nearest_ocean
from tests.toy_models import ARCHITECTURE, card, suite
from tests.toy_ocean import LATITUDE, SCALES, ToyDays, coast

SMALL = 24 * 2**20
"""Bytes: a checkpoint with its heads stays below 25 MB."""


def fields(batch: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, ARCHITECTURE.in_channels, ARCHITECTURE.rows, ARCHITECTURE.columns, generator=generator)


PLANE = ARCHITECTURE.model_copy(update={"mixing": "plane"})


def network(architecture=ARCHITECTURE) -> Backbone:
    return suite(card(architecture, heads=False)).ocean.backbone


def block_parameters(dim: int, blocks: int) -> int:
    """Two layer norms, a complex two-layer MLP in blocks, a perceptron of ratio 4: counted by hand."""
    spectral = 2 * (2 * blocks * (dim // blocks) ** 2 + 2 * dim)
    return 2 * 2 * dim + spectral + (dim * 4 * dim + 4 * dim) + (4 * dim * dim + dim)


def test_paper_preset_has_the_papers_size() -> None:
    with torch.device("meta"):
        backbone = Backbone(PAPER)
    expected = (
        67 * 64 * 512 + 512 + 16 * block_parameters(512, 8) + 512 * 1024 + 1024 + 1024
        + 8 * block_parameters(1024, 8) + 2 * 1024 + 1024 * 61 * 64 + 61
    )  # fmt: skip
    count = sum(parameter.numel() for parameter in backbone.parameters())
    assert count == expected
    assert count == pytest.approx(114e6, rel=0.005)


def test_paper_preset_has_the_papers_tokens_and_feature_tensor() -> None:
    assert PAPER.tokens == 16_200
    assert PAPER.feature_shape == (1024, 90, 180)
    with torch.device("meta"):
        backbone = Backbone(PAPER)
        output = backbone(torch.zeros(1, 67, 720, 1440), torch.zeros(1, 4050, dtype=torch.int64))
    assert output.fields.shape == (1, 61, 720, 1440)
    assert output.features.shape == (1, 1024, 90, 180)


@pytest.mark.parametrize("architecture", [TWIN, REGIONAL])
def test_shipped_presets_are_small(architecture) -> None:
    with torch.device("meta"):
        backbone = Backbone(architecture)
    assert 4 * sum(parameter.numel() for parameter in backbone.parameters()) < SMALL * 2 / 3


@pytest.mark.parametrize("architecture", [ARCHITECTURE, PLANE], ids=["sequence", "plane"])
def test_masked_patches_do_not_reach_the_encoder(architecture) -> None:
    backbone, visible = network(architecture), torch.tensor([[0, 3, 9, 17, 30], [1, 2, 12, 25, 31]])
    before, changed = fields(), fields()
    for sample, seen in enumerate(visible):
        for token in set(range(ARCHITECTURE.tokens)) - set(seen.tolist()):
            row, column = divmod(token, ARCHITECTURE.columns // 4)
            changed[sample, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 7.0
    assert torch.equal(backbone.encode(before, visible), backbone.encode(changed, visible))
    assert not torch.allclose(backbone.encode(before), backbone.encode(changed))
    assert backbone.encode(before, visible).shape == (2, 5, 32)


def test_mask_ratio_hides_that_share_of_tokens_anew_for_each_sample() -> None:
    visible = random_visible(3, 40, 0.75, torch.Generator().manual_seed(1))
    assert visible is not None
    assert visible.shape == (3, 10)
    assert all(len(set(row)) == 10 and row == sorted(row) for row in visible.tolist())
    assert visible[0].tolist() != visible[1].tolist()
    assert random_visible(3, 40, 0.0, torch.Generator()) is None


def test_masking_follows_the_papers_schedule() -> None:
    recipe = Recipe(pretraining_steps=150, tuning_steps=0, mask_schedule=PAPER_MASKING)
    ratios = [recipe.mask_ratio(epoch / 150) for epoch in (1, 3, 4, 20, 21, 40, 41, 150)]
    assert ratios == [0, 0, 0.75, 0.75, 0.25, 0.25, 0, 0]


def test_mask_tokens_stand_where_tokens_were_masked() -> None:
    backbone, visible = network(), torch.tensor([[2, 7, 11], [0, 5, 31]])
    tokens = torch.arange(6.0).reshape(2, 3, 1).expand(2, 3, 48) + 100
    whole = backbone.restore(tokens, visible)
    for sample in range(2):
        for place in range(ARCHITECTURE.tokens):
            seen = visible[sample].tolist()
            expected = tokens[sample, seen.index(place)] if place in seen else backbone.mask_token
            assert torch.equal(whole[sample, place], expected), (sample, place)


@pytest.mark.parametrize("architecture", [ARCHITECTURE, PLANE], ids=["sequence", "plane"])
def test_all_tokens_visible_is_the_same_as_no_mask(architecture) -> None:
    backbone, every = network(architecture), torch.arange(ARCHITECTURE.tokens).expand(2, -1)
    torch.testing.assert_close(backbone(fields(), every).fields, backbone(fields()).fields)


def test_features_and_fields_keep_rows_and_columns_apart() -> None:
    """Only the patch's own token embedding differs: the first layer's change must be at its row and column."""
    embedding = PatchEmbedding(1, 8, 4)
    base, spike = torch.zeros(1, 1, 8, 20), torch.zeros(1, 1, 8, 20)
    spike[0, 0, 6, 13] = 1.0
    moved = (embedding(spike) - embedding(base)).abs().sum(dim=2)[0].reshape(2, 5)
    assert moved.nonzero().tolist() == [[1, 3]]
    projection = PatchProjection(8, 1, 4)
    nn.init.normal_(projection.projection.weight)
    features = torch.zeros(1, 8, 2, 5)
    features[0, :, 1, 3] = 1.0
    rows, columns = projection(features)[0, 0].nonzero().unbind(1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 7, 12, 15)


@pytest.mark.parametrize("halo", [0, 2])
def test_patch_layers_compute_their_convolutions(halo) -> None:
    torch.manual_seed(0)
    embedding, projection = PatchEmbedding(3, 8, 4, halo, periodic=False), PatchProjection(8, 3, 4)
    nn.init.normal_(projection.projection.weight)
    images, features = torch.randn(2, 3, 12, 20), torch.randn(2, 8, 3, 5)
    convolved = embedding.projection(functional.pad(images, (halo,) * 4)).flatten(2).transpose(1, 2)
    torch.testing.assert_close(embedding(images), convolved, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(projection(features), projection.projection(features), rtol=1e-5, atol=1e-5)


def test_halo_sees_around_the_seam_only_where_the_grid_closes() -> None:
    spike = torch.zeros(1, 1, 8, 20)
    spike[0, 0, 2, 19] = 1.0
    for periodic in (True, False):
        embedding = PatchEmbedding(1, 8, 4, 1, periodic=periodic)
        moved = (embedding(spike) - embedding(torch.zeros_like(spike))).abs().sum(dim=2)[0].reshape(2, 5)
        assert bool(moved[0, 0] > 0) is periodic
        assert moved[0, 4] > 0


def test_spectral_mixer_is_its_formula() -> None:
    """Against complex arithmetic written out, with a length that is odd."""
    torch.manual_seed(0)
    mixer, tokens = SpectralMixer(8, 2), torch.randn(1, 7, 8)
    nn.init.normal_(mixer.first_weight)
    nn.init.normal_(mixer.second_weight)
    first, second = (torch.complex(*weight) for weight in (mixer.first_weight, mixer.second_weight))
    spectrum = torch.fft.rfft(tokens, dim=1, norm="ortho").reshape(1, 4, 2, 4)
    hidden = torch.einsum("bfki,kio->bfko", spectrum, first) + torch.complex(*mixer.first_bias)[:, 0]
    hidden = torch.complex(hidden.real.relu(), hidden.imag.relu())
    out = torch.einsum("bfki,kio->bfko", hidden, second) + torch.complex(*mixer.second_bias)[:, 0]
    out = torch.complex(functional.softshrink(out.real, 0.01), functional.softshrink(out.imag, 0.01))
    expected = torch.fft.irfft(out.reshape(1, 4, 8), n=7, dim=1, norm="ortho")
    torch.testing.assert_close(mixer(tokens), expected, rtol=1e-4, atol=1e-5)


def test_plane_mixer_is_its_formula() -> None:
    """Against complex arithmetic written out: phases kept, magnitudes longer by a threshold that may be negative."""
    torch.manual_seed(0)
    mixer, tokens = PlaneMixer(8, 2, (3, 5)), torch.randn(1, 15, 8)
    for weight in mixer.parameters():
        nn.init.normal_(weight)
    along = torch.einsum("kr,brcd->bkcd", cosine_transform(3), tokens.reshape(1, 3, 5, 8))
    spectrum = torch.fft.rfft(along, dim=2, norm="ortho").reshape(1, 3, 3, 2, 4)
    first, second = (torch.complex(*weight) for weight in (mixer.first_weight, mixer.second_weight))
    hidden = torch.einsum("bkfni,nio->bkfno", spectrum, first)
    hidden = torch.polar(functional.relu(hidden.abs() + mixer.threshold[:, 0]), hidden.angle())
    out = torch.einsum("bkfni,nio->bkfno", hidden, second)
    out = torch.polar(functional.relu(out.abs() - 0.01), out.angle()).reshape(1, 3, 3, 8)
    expected = torch.einsum("kr,bkcd->brcd", cosine_transform(3), torch.fft.irfft(out, n=5, dim=2, norm="ortho"))
    torch.testing.assert_close(mixer(tokens), expected.reshape(1, 15, 8), rtol=1e-4, atol=1e-5)


def test_cosine_transform_is_orthonormal_and_its_formula() -> None:
    matrix, fields = cosine_transform(7), np.random.default_rng(1).standard_normal(7)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(7))
    np.testing.assert_allclose(matrix.numpy() @ fields, dct(fields, norm="ortho"), atol=1e-6)


def rolled_out(architecture, days: int, shift: int) -> np.ndarray:
    """The last day of a rollout from a start whose sea, land and weather all lie that many columns further east."""
    networks = suite(card(architecture, heads=False))
    background = networks.ocean.ocean.background
    background.copy_(background.mean(dim=2, keepdim=True).expand_as(background))  # a mean field is a place's own
    networks.ocean.ocean.refresh()
    forecaster = ModelForecaster(checkpoint.Checkpoint(card(architecture, heads=False), networks, ""))
    toy = ToyDays()
    weather = toy.forcing(0, days) + 3 * np.cos(2 * np.pi * np.arange(32) / 32, dtype=np.float32)
    start, weather = np.roll(toy.ocean(0), shift, axis=-1), np.roll(weather, shift, axis=-1)
    return list(forecaster.roll_out({"ocean": start}, weather))[-1]["ocean"]


def test_what_is_shifted_east_is_forecast_shifted_where_longitudes_close_in_the_mixing() -> None:
    """Thirty days; to 1e-3 of a channel's scale for the plane, and not to a tenth for the sequence, whose row ends."""
    assert LATITUDE.size == 16
    for architecture, same in ((PLANE, True), (ARCHITECTURE, False)):
        here, there = rolled_out(architecture, 30, 0), rolled_out(architecture, 30, 12)
        apart = np.abs(np.roll(here, 12, axis=-1) - there) / SCALES[:, None, None]
        assert np.array_equal(np.isnan(there), np.roll(~coast(), 12, axis=-1))
        moved = np.abs(here - ToyDays().ocean(0)) / SCALES[:, None, None]
        assert np.nanmax(moved) > 0.1
        assert np.nanmax(apart) < 1e-3 if same else np.nanmax(apart) > 0.1


def test_mixing_in_the_plane_needs_longitudes_that_close() -> None:
    with pytest.raises(ValueError, match="longitudes that close"):
        type(REGIONAL).model_validate({**REGIONAL.model_dump(), "mixing": "plane"})


@pytest.mark.parametrize("mixing", ["sequence", "plane"])
def test_cost_is_what_the_network_has_and_does(mixing) -> None:
    """Weights of every preset, and operations as torch counts them (which are those of products alone)."""
    for preset in (PAPER, TWIN, ARCHITECTURE):
        architecture = preset.model_copy(update={"mixing": mixing})
        with torch.device("meta"):
            backbone = Backbone(architecture)
        assert cost(architecture).parameters == sum(parameter.numel() for parameter in backbone.parameters())
    small = ARCHITECTURE.model_copy(update={"mixing": mixing})
    with FlopCounterMode(display=False) as counted:
        Backbone(small)(fields(batch=1))
    assert cost(small).operations == counted.get_total_flops()


def test_a_full_size_day_is_3_7_teraflop_and_its_preset_is_known_by_name() -> None:
    assert cost(PAPER).operations == pytest.approx(3.7e12, rel=0.02)
    assert described("x", PAPER) == "x (preset paper: 67/61 channels, 720 x 1440, 114 million parameters)"


def test_fourier_transform_stays_float32_under_autocast(monkeypatch) -> None:
    torch.manual_seed(0)
    seen, transform = [], torch.fft.rfft

    def watched(tokens, **options):
        seen.append(tokens.dtype)
        return transform(tokens, **options)

    monkeypatch.setattr(torch.fft, "rfft", watched)
    block, tokens = FourierBlock(16, 4), torch.randn(1, 10, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert block.perceptron(tokens).dtype == torch.bfloat16
        assert block.mixer(tokens.bfloat16()).dtype == torch.float32
        block(tokens)
    assert seen == [torch.float32, torch.float32]


def test_every_token_has_its_own_position() -> None:
    positions = position_embedding(3, 5, 16)
    assert len({tuple(row) for row in positions.tolist()}) == 15
    torch.testing.assert_close(positions[0 * 5 + 4, 8:], positions[2 * 5 + 4, 8:])
    torch.testing.assert_close(positions[2 * 5 + 0, :8], positions[2 * 5 + 4, :8])


def test_transforms_and_their_inverses_return_what_they_were_given() -> None:
    transforms = Transforms(("identity", "nonnegative", "angle", "log"), (0.0, 0.0, 0.0, 1e-4))
    angle = torch.tensor([0.0, 0.01, 89.0, 180.0, 271.5, 359.99])
    physical = torch.stack([torch.linspace(-3, 3, 6), torch.linspace(0, 9, 6), angle, torch.logspace(-4, 2, 6)])
    physical = physical[None, :, None]
    assert transforms(physical).shape == (1, 5, 1, 6)
    torch.testing.assert_close(transforms.inverse(transforms(physical)), physical, rtol=1e-5, atol=1e-4)


def test_transforms_give_no_negative_quantity_and_no_bearing_of_360() -> None:
    transforms = Transforms(("nonnegative", "angle", "log"), (0.0, 0.0, 1e-4))
    variables = torch.tensor([-0.3, 1.0, -1e-9, -50.0])[None, :, None, None]
    physical = transforms.inverse(variables).flatten().tolist()
    assert physical[0] == 0.0
    assert physical[1] == 0.0
    assert physical[2] > 0
    assert transforms(torch.zeros(1, 3, 1, 1))[0, 3, 0, 0] == pytest.approx(np.log(1e-4))


def test_bearings_have_the_same_bytes_on_any_number_of_threads() -> None:
    """More values than torch leaves to one thread, and halves of them that no vector divides."""
    transforms, threads = Transforms(("angle",), (0.0,)), torch.get_num_threads()
    variables, found = torch.randn(1, 2, 181, 362, generator=torch.Generator().manual_seed(4)), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(transforms.inverse(variables))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


def test_background_is_interpolated_between_centres_and_around_the_seam() -> None:
    """Two rows of four blocks of 2 x 2 cells: at a cell a quarter of a block off the centre, 3/4 own and 1/4 next."""
    coarse = torch.tensor([[[0.0, 4.0, 8.0, 12.0]] * 2])
    assert enlarge(coarse, (4, 8), periodic=True)[0, 1].tolist() == [3, 1, 3, 5, 7, 9, 11, 9]
    assert enlarge(coarse, (4, 8), periodic=False)[0, 1].tolist() == [0, 1, 3, 5, 7, 9, 11, 12]


def test_land_takes_the_nearest_ocean_value() -> None:
    mask = np.array([[[True, False, False, False, True]]])
    filled = land_filled(torch.tensor([[[[1.0, 0.0, 0.0, 0.0, 9.0]]]]), nearest_ocean(mask))
    assert filled[0, 0, 0, [0, 1, 3, 4]].tolist() == [1, 1, 9, 9]


def test_bicubic_keeps_a_plane_exactly_and_in_place() -> None:
    """On z = 2 row - 3 column, the fine cell (i, j) is at row (i + 1/2) / 3 - 1/2: bicubic is exact on planes."""
    row, column = torch.meshgrid(torch.arange(12.0), torch.arange(14.0), indexing="ij")
    window = Window(south=3, north=7, west=4, east=9)
    fine = bicubic((2 * row - 3 * column)[None, None], window, 3)[0, 0]
    fine_row, fine_column = 3 + (torch.arange(12.0) + 0.5) / 3 - 0.5, 4 + (torch.arange(15.0) + 0.5) / 3 - 0.5
    torch.testing.assert_close(fine, 2 * fine_row[:, None] - 3 * fine_column, rtol=1e-4, atol=1e-4)


def test_loss_counts_no_land_and_weighs_by_area() -> None:
    """Error 3 on one ocean cell of weight 1 of 1 + 2, scale 2: sqrt((3/2)^2 / 3)."""
    mask = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    weights = cell_weights(mask, torch.tensor([1.0, 2.0]), torch.ones(1))
    forecast, truth = torch.zeros(1, 1, 2, 2), torch.tensor([[[[3.0, 999.0], [0.0, -999.0]]]])
    loss = relative_error(forecast, truth, torch.full((1, 1, 1), 2.0), weights)
    assert float(loss) == pytest.approx(np.sqrt(1.5**2 / 3), rel=1e-5)
