"""How optical flow is computed from stored frames: a profile's `flow_policy`, checked."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.schema.base import Strict


class FlowPolicy(Strict):
    """TV-L1 flow (Zach et al. 2007) and its discretisation; part of the identity of every field.

    What is not named here is as in OpenCV: time step 0.25, data weight 0.15, tightness 0.3,
    stopping threshold 0.01.
    """

    short_side_px: Annotated[int, Field(ge=16, le=1024)] | None
    """Frames are reduced to this shorter side first (area average); null, and a frame that is not
    larger: as stored."""
    bound_px: Annotated[float, Field(gt=0)]
    """Displacements of −bound … +bound pixels per frame become 0 … 255; beyond, they are cut off.
    TSN's extraction has 20, for frames of 340x256."""
    quality: Annotated[int, Field(ge=50, le=100)]
    """libjpeg's quality of the stored fields."""
    scales: Annotated[int, Field(ge=1, le=10)]
    scale_step: Annotated[float, Field(gt=0, lt=1)]
    """Size of a scale of the pyramid over that of the next finer one."""
    warps: Annotated[int, Field(ge=1, le=20)]
    """Warps per scale."""
    inner_iterations: Annotated[int, Field(ge=1, le=300)]
    outer_iterations: Annotated[int, Field(ge=1, le=50)]
    median_px: Annotated[int, Field(ge=1, le=5)]
    """Side of the median filter over the field; 1: none."""
