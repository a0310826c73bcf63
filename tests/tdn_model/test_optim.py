from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from tdn_model.contract import ClipNetwork, NetworkShape
from tdn_model.optim import Schedule, freeze_partial_bn, parameter_groups, set_rate, sgd
from tdn_model.training import micro_batch, predict_step, train_step
from tests.tdn_model.helpers import make, mini

RELATIONS = "relations.relations"


class Net(ClipNetwork):
    def __init__(self) -> None:
        super().__init__(NetworkShape(num_classes=2, num_segments=1))
        self.conv1 = nn.Conv2d(3, 4, 3)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3)
        self.bn2 = nn.BatchNorm2d(4)
        self.classifier = nn.Linear(4, 2)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        x = self.bn2(self.conv2(self.bn1(self.conv1(clips[:, 0, 0]))))
        return self.classifier(x.mean(dim=(2, 3)))


def test_milestones_divide_by_ten() -> None:
    schedule = Schedule(0.1, 6, 10, "milestones", (2, 4))
    rates = [schedule.at(step) for step in (0, 19, 20, 39, 40, 59)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_cosine_falls_to_zero_after_a_linear_warm_up() -> None:
    schedule = Schedule(1.0, 2, 10, "cosine", warmup_epochs=0.5)
    rates = [schedule.at(step) for step in range(20)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5] == pytest.approx(1.0)
    assert all(a > b for a, b in pairwise(rates[5:]))
    assert 0 < rates[-1] < 0.02


def test_flat_policy_is_one_group() -> None:
    net = Net()
    (group,) = parameter_groups(net, "flat", 5e-4)
    assert len(group["params"]) == len(list(net.parameters()))
    assert (group["lr_mult"], group["weight_decay"]) == (1.0, 5e-4)


def test_tsn_policy_gives_every_parameter_its_rate_once() -> None:
    net = Net()
    groups = parameter_groups(net, "tsn", 5e-4)
    found = {id(p): (g["lr_mult"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert len(found) == sum(len(g["params"]) for g in groups) == len(list(net.parameters()))
    assert found[id(net.conv1.weight)] == (1.0, 5e-4)
    assert found[id(net.conv1.bias)] == (2.0, 0.0)
    assert found[id(net.bn1.weight)] == (1.0, 0.0)
    assert found[id(net.classifier.weight)] == (5.0, 5e-4)
    assert found[id(net.classifier.bias)] == (10.0, 0.0)


@pytest.mark.parametrize("position", ["a", "b", "c", "d"])
def test_only_the_classifier_has_its_rate_whatever_the_number_of_classes(position: str) -> None:
    """With 3 classes TANet's kernels, `Linear(…, 3)`, are as wide as the classifier."""
    net = mini("tanet", num_classes=3, position=position)
    groups = parameter_groups(net, "tsn", 5e-4)
    rates = {id(p): g["lr_mult"] for g in groups for p in g["params"]}
    fastest = {name for name, p in net.named_parameters() if rates[id(p)] >= 5}
    assert fastest == {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize(
    ("architecture", "options", "expected"),
    [
        (
            "trn_multiscale",
            {"feature_dim": 5},
            {f"{RELATIONS}.{i}.mlp.3" for i in range(3)},
        ),
        ("featdiff", {}, {"image.classifier", "difference.classifier"}),
        ("eco_en_lite", {"members": [1, 3]}, {"members.0.classifier", "members.1.classifier"}),
        ("nl_i3d_gcn", {}, {"classifier"}),
    ],
)
def test_a_network_names_its_classifiers(
    architecture: str, options: dict[str, object], expected: set[str]
) -> None:
    net = mini(architecture, **options)
    names = {id(module): name for name, module in net.named_modules()}
    assert {names[id(layer)] for layer in net.classifiers()} == expected


def test_partial_bn_freezes_all_but_the_first() -> None:
    net = Net().train()
    freeze_partial_bn(net)
    assert net.bn1.training
    assert not net.bn2.training
    assert not net.bn2.weight.requires_grad


def test_a_few_steps_lower_the_loss_and_clip_the_gradient() -> None:
    torch.manual_seed(0)
    net = Net()
    optimizer = sgd(parameter_groups(net, "flat", 0.0), momentum=0.9)
    set_rate(optimizer, 0.05)
    clips, labels = torch.randn(8, 1, 1, 3, 8, 8), torch.arange(8) % 2
    losses = [
        float(train_step(net, optimizer, clips, labels, clip_norm=20.0).loss) for _ in range(30)
    ]
    assert losses[-1] < 0.5 * losses[0]
    assert predict_step(net.eval(), clips).shape == (8, 2)


@pytest.mark.parametrize("micro_batch", [1, 3, 8])
def test_micro_batches_give_the_step_of_one_batch(micro_batch: int) -> None:
    clips, labels = torch.randn(8, 1, 1, 3, 8, 8), torch.arange(8) % 2
    found = []
    for size in (None, micro_batch):
        torch.manual_seed(0)
        net = Net().eval()  # batch norms that learn would see a micro-batch each
        optimizer = sgd(parameter_groups(net, "flat", 0.0), momentum=0.9)
        set_rate(optimizer, 0.05)
        step = train_step(net, optimizer, clips, labels, clip_norm=1.0, micro_batch=size)
        found.append([*step, *net.parameters()])
    torch.testing.assert_close(*found)


def test_partial_bn_freezes_volumes_too() -> None:
    net = nn.Sequential(nn.BatchNorm3d(2), nn.BatchNorm3d(2), nn.BatchNorm1d(2)).train()
    freeze_partial_bn(net)
    assert [norm.training for norm in net] == [True, False, True]


def test_partial_bn_knows_norms_that_workers_share() -> None:
    net = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(*map(nn.BatchNorm2d, (2, 2))))
    freeze_partial_bn(net.train())
    assert [norm.training for norm in net] == [True, False]


def test_large_clips_are_evaluated_one_by_one_and_small_ones_together() -> None:
    net = Net().eval()
    assert micro_batch(net, torch.empty(4, 8, 5, 3, 224, 224, device="meta")) == 4
    assert micro_batch(net, torch.empty(4, 8, 5, 3, 224, 224)) == 1
    assert micro_batch(net, torch.empty(4, 8, 1, 3, 48, 48)) > 4
    clips = torch.randn(5, 1, 1, 3, 8, 8)
    whole = predict_step(net, clips)
    torch.testing.assert_close(whole, torch.cat([predict_step(net, clip[None]) for clip in clips]))


def test_a_plateau_keeps_the_rate_until_somebody_divides_it() -> None:
    schedule = Schedule(0.02, 50, 100, "plateau")
    assert {schedule.at(step) for step in range(0, 5000, 250)} == {0.02}


def test_teas_rates_spare_nothing_from_decay() -> None:
    model = make("tsn", num_classes=3, num_segments=2, width=4, blocks=(1, 1, 1, 1))
    spared = parameter_groups(model, "tsn", 0.1)
    groups = parameter_groups(model, "tsn_rates", 0.1)
    assert {group["weight_decay"] for group in groups} == {0.1}
    assert {g["lr_mult"] for g in groups} == {g["lr_mult"] for g in spared}
