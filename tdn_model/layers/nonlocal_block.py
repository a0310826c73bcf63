"""The non-local block.

Xiaolong Wang, Ross Girshick, Abhinav Gupta and Kaiming He, "Non-local Neural Networks", CVPR 2018,
arXiv:1711.07971, sections 3.2 and 3.3.

Shapes: B videos, C channels, c = C/2, T frames, H, W pixels, P positions, Q pooled positions.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from tdn_model.contract import check_choice
from tdn_model.layers.conv3d import Triple

FORMS = ("embedded_gaussian", "dot_product")
"""How the affinity of two positions is normalised (section 3.2)."""


class NonLocal(nn.Module):
    """`x + BN(W · attention(θ(x), φ(x), g(x)))` over all positions of a volume.

    θ, φ, g map C to C/2 channels; φ and g see the map max-pooled by `pool`. The form is
    "embedded_gaussian" (a softmax of θᵀφ, scaled by 1/√c as in the authors' code) or "dot_product"
    (θᵀφ divided by the number of positions). The batch norm's scale starts at 0, so that the block
    starts as the identity.
    """

    CONV_BN = (("out", "bn"),)

    def __init__(
        self,
        channels: int,
        form: str = "embedded_gaussian",
        pool: Triple = (1, 2, 2),
    ) -> None:
        super().__init__()
        check_choice("nonlocal_form", form, FORMS)
        inner = max(1, channels // 2)
        self.form = form
        self.pool = pool
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
        pooled = F.max_pool3d(x_BCTHW, self.pool)
        theta_BcP = self.theta(x_BCTHW).flatten(2)
        phi_BcQ, g_BcQ = self.phi(pooled).flatten(2), self.g(pooled).flatten(2)
        affinity_BPQ = theta_BcP.transpose(1, 2) @ phi_BcQ
        if self.form == "dot_product":
            affinity_BPQ = affinity_BPQ / affinity_BPQ.shape[2]
        else:
            affinity_BPQ = (affinity_BPQ * theta_BcP.shape[1] ** -0.5).softmax(2)
        y_BcP = g_BcQ @ affinity_BPQ.transpose(1, 2)
        y: Tensor = self.bn(self.out(y_BcP.view(-1, y_BcP.shape[1], *x_BCTHW.shape[2:])))
        return x_BCTHW + y
