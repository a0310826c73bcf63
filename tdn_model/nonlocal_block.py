"""The non-local block (Wang et al. 2018, "Non-local Neural Networks", sections 3.2 and 3.3).

Shapes: B videos, C channels, c = C/2, T frames, H, W pixels, P positions.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from tdn_model.contract import check_choice

FORMS = ("embedded_gaussian", "dot_product")


class NonLocal(nn.Module):
    """`x + BN(W · attention(θ(x), φ(x), g(x)))` over all positions of a volume.

    θ, φ, g map C to C/2 channels; φ and g see the map max-pooled by 2×2 in space. The form is
    "embedded_gaussian" (a softmax of θᵀφ, scaled by 1/√c as in the authors' code) or "dot_product"
    (θᵀφ divided by the number of positions). The batch norm's scale starts at 0, so that the block
    starts as the identity. `groups` > 1 attends within as many equal spans of time; the authors do
    that in res3 of the 128-frame network.
    """

    CONV_BN = (("out", "bn"),)

    def __init__(self, channels: int, form: str = "embedded_gaussian", groups: int = 1) -> None:
        super().__init__()
        check_choice("nonlocal_form", form, FORMS)
        inner = max(1, channels // 2)
        self.form = form
        self.groups = groups
        self.theta = nn.Conv3d(channels, inner, 1)
        self.phi = nn.Conv3d(channels, inner, 1)
        self.g = nn.Conv3d(channels, inner, 1)
        self.out = nn.Conv3d(inner, channels, 1)
        self.bn = nn.BatchNorm3d(channels)

    def reset_parameters(self) -> None:
        """N(0, 0.01) for the four convolutions, and a batch norm that gives 0."""
        for conv in (self.theta, self.phi, self.g, self.out):
            nn.init.normal_(conv.weight, std=0.01)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
        nn.init.zeros_(self.bn.weight)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        batch, _, frames, height, width = x_BCTHW.shape
        rows = batch * self.groups
        pooled = F.max_pool3d(x_BCTHW, (1, 2, 2))
        theta = self._spans(self.theta(x_BCTHW), rows)
        phi = self._spans(self.phi(pooled), rows)
        g = self._spans(self.g(pooled), rows)
        affinity = theta.transpose(1, 2) @ phi
        if self.form == "dot_product":
            affinity = affinity / affinity.shape[2]
        else:
            affinity = (affinity * theta.shape[1] ** -0.5).softmax(2)
        y_NcP = g @ affinity.transpose(1, 2)
        y = y_NcP.unflatten(0, (batch, self.groups)).transpose(1, 2)
        y = y.reshape(batch, -1, frames, height, width)
        return x_BCTHW + self.bn(self.out(y))

    def _spans(self, x_BcTHW: Tensor, rows: int) -> Tensor:
        """`(B, c, T, h, w)` as `(B·groups, c, P)`."""
        x = x_BcTHW.unflatten(2, (self.groups, -1)).transpose(1, 2)
        return x.reshape(rows, x_BcTHW.shape[1], -1)
