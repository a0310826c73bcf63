"""Temporal operations against their definitions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tdn_model.layers import temporal
from tdn_model.layers.temporal import (
    TemporalConv,
    TemporalShift,
    ThreeTaps,
    depthwise,
    shift_init_,
    split_time,
)


@pytest.mark.parametrize("num_segments", [1, 2, 5])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_three_taps_equal_a_depthwise_convolution(
    num_segments: int, layout: torch.memory_format
) -> None:
    conv = TemporalConv(6, num_segments).double()
    torch.nn.init.normal_(conv.weight)
    x = torch.randn(3 * num_segments, 6, 4, 7, dtype=torch.float64).contiguous(memory_format=layout)
    rows = x.view(3, num_segments, 6, 28).permute(0, 3, 2, 1).reshape(-1, 6, num_segments)
    want = F.conv1d(rows, conv.weight, padding=1, groups=6)
    want = want.view(3, 28, 6, num_segments).permute(0, 3, 2, 1).reshape(x.shape)
    with torch.no_grad():
        torch.testing.assert_close(conv(x), want)
    y = conv(x)
    torch.testing.assert_close(y, want)
    if num_segments > 1:
        assert y.is_contiguous(memory_format=layout)


def test_its_written_out_gradient_is_the_gradient() -> None:
    x = torch.randn(2, 3, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ThreeTaps.apply, (x, weight))
    assert torch.autograd.gradgradcheck(ThreeTaps.apply, (x, weight))


def test_the_convolution_begins_as_the_shift() -> None:
    x = torch.randn(8, 16, 3, 3)
    assert torch.equal(TemporalConv(16, 4)(x), TemporalShift(4)(x))


def test_the_shift_brings_the_next_then_the_previous_segment() -> None:
    x = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 8, 1, 1)
    y = TemporalShift(4)(x)[:, :, 0, 0]
    assert y[:, 0].tolist() == [1, 2, 3, 0]
    assert y[:, 1].tolist() == [0, 0, 1, 2]
    assert torch.equal(y[:, 2:], x[:, 2:, 0, 0])


def test_shift_initialisation_has_one_tap_per_channel() -> None:
    weight = torch.empty(20, 1, 3)
    shift_init_(weight)
    assert weight.sum((1, 2)).tolist() == [1] * 20
    assert weight[:2, 0, 2].tolist() == [1, 1] and weight[2:4, 0, 0].tolist() == [1, 1]


def test_half_precision_stays_half() -> None:
    x = torch.randn(4, 8, 3, 3, dtype=torch.bfloat16)
    assert TemporalConv(8, 2)(x).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(8, 6, 5, 7), (4, 3, 1, 1), (8, 1, 3, 2)])
def test_one_depthwise_convolution_is_the_three_taps_and_moves_no_memory(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    x = torch.randn(shape).to(dtype).contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    weight = torch.randn(shape[1], 1, 3).to(dtype).requires_grad_()
    y = depthwise(x, weight, 4)
    want = ThreeTaps.apply(split_time(x, 4), weight).flatten(0, 1)
    exact = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.1, "atol": 0.1}
    torch.testing.assert_close(y, want, **exact)
    grad = torch.randn(shape).to(dtype)
    got, wanted = (torch.autograd.grad(out, (x, weight), grad) for out in (y, want))
    for ours, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, **exact)
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_the_temporal_convolution_is_one_depthwise_convolution_on_a_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    conv = TemporalConv(8, 4)
    torch.nn.init.normal_(conv.weight)
    x = torch.randn(8, 8, 5, 5)
    depthwise = conv(x)
    monkeypatch.setattr(temporal, "CPU_DEPTHWISE_DTYPES", ())
    torch.testing.assert_close(conv(x), depthwise)
