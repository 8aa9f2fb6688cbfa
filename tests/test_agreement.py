"""How well outputs agree: by hand, for every shape of output, for boxes, and with a detector's decoding undone."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from fixtures.cases.model import Model
from fixtures.measure.agreement import Agreement, MeaninglessError, same_boxes
from fixtures.models.yolo import Yolo
from fixtures.record.asked import Fidelity


def agreement_of(outputs: Any, references: Any, batch: int = 2) -> Fidelity:
    found = Agreement(Model(nn.Identity(), "random:0"), "forward")
    found.add(outputs, references, batch)
    return found.found()


def test_agreement_by_hand() -> None:
    reference = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    found = agreement_of(torch.tensor([[3.0, 4.0], [1.0, 1.0]]), reference)
    assert found.agreement_count == 2
    assert found.agreement_cosine_min == pytest.approx(1 / math.sqrt(2))
    assert found.agreement_cosine_mean == pytest.approx((1 + 1 / math.sqrt(2)) / 2)
    assert found.agreement_max_abs == 1.0
    assert found.agreement_max_rel == 0.25


def test_the_worst_tensor_of_a_sample_counts() -> None:
    good, bad = torch.tensor([[1.0, 2.0], [3.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 2.0]])
    for outputs, references in (((good, bad), (good, -bad)), ((bad, good), (-bad, good))):
        found = agreement_of(outputs, references)
        assert found.agreement_cosine_min == pytest.approx(-1.0)
        assert found.agreement_cosine_mean == pytest.approx(-1.0)


def test_what_is_imaginary_counts() -> None:
    reference = torch.tensor([[1 + 1j, 2 - 1j], [3 + 0j, 1j]])
    assert agreement_of(reference, reference).agreement_cosine_min == 1.0
    assert agreement_of(reference.conj(), reference).agreement_cosine_min == pytest.approx(3 / 7)


def test_what_disagrees_with_zeros_is_told() -> None:
    zeros = torch.zeros(2, 3)
    assert agreement_of(torch.ones(2, 3), zeros).agreement_cosine_min == 0.0
    assert agreement_of(zeros, torch.ones(2, 3)).agreement_cosine_min == 0.0


def test_whole_numbers_scalars_and_nothing_can_be_compared() -> None:
    tokens = torch.tensor([[1, 2], [3, 4]])
    assert agreement_of(tokens, tokens).agreement_cosine_min == 1.0
    rows = torch.ones(2, 3)
    assert agreement_of({"a": rows, "b": torch.tensor(2.0)}, {"a": rows, "b": torch.tensor(2.0)}).agreement_finite
    assert agreement_of(torch.ones(0, 6), torch.ones(0, 6)).agreement_count == 2


def test_nan_is_told_and_no_number_is_made_of_it() -> None:
    found = agreement_of(torch.tensor([[float("nan"), 1.0], [1.0, 1.0]]), torch.ones(2, 2))
    assert found == Fidelity(agreement_count=2, agreement_finite=False)


def test_other_shapes_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match=r"outputs have other shapes: \(2, 3\) against \(2, 4\)"):
        agreement_of(torch.ones(2, 3), torch.ones(2, 4))


def test_the_same_boxes() -> None:
    mine = torch.tensor([[0, 0, 10, 10, 0.9, 1], [20, 20, 30, 30, 0.8, 2]])
    assert same_boxes(mine, mine) == 1.0
    assert same_boxes(mine, mine[:1]) == pytest.approx(2 / 3)
    assert same_boxes(mine, torch.cat([mine[:, :5], torch.tensor([[7], [7]])], 1)) == 0.0  # other classes
    assert same_boxes(mine[:0], mine[:0]) == 1.0
    assert same_boxes(mine, mine[:0]) == 0.0
    shifted = mine + torch.tensor([6, 0, 6, 0, 0, 0])  # overlap 40 of 160
    assert same_boxes(mine, shifted) == 0.0


def test_one_box_matches_once() -> None:
    one = torch.tensor([[0, 0, 10, 10, 0.9, 1]])
    assert same_boxes(torch.cat([one, one]), one) == pytest.approx(2 / 3)


def test_the_decoding_of_a_detector_is_undone() -> None:
    """Anchors make boxes in pixels agree whatever the head says; its own numbers come back exactly."""
    from ultralytics.utils.tal import dist2bbox, make_anchors

    head = nn.Module()
    head.reg_max, head.stride = 16, torch.tensor([8.0, 16.0, 32.0])
    maps = [torch.zeros(1, 1, side, side) for side in (8, 4, 2)]
    head.anchors, head.strides = (each.transpose(0, 1) for each in make_anchors(maps, head.stride, 0.5))
    module = nn.Module()
    module.model, module.task, module.names = nn.ModuleList([head]), "detect", {}
    sides, logits = torch.rand(2, 4, 84) * 15, torch.randn(2, 80, 84)
    boxes = dist2bbox(sides, head.anchors.unsqueeze(0), xywh=True, dim=1) * head.strides
    output = torch.cat([boxes, logits.sigmoid()], 1)
    found_sides, found_logits = Yolo(module, "random:0", torch.float32).compared("forward", output)
    torch.testing.assert_close(found_sides, sides - 7.5, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found_logits, logits, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        (torch.zeros(2, 3), "all zeros"),
        (torch.full((2, 3), 0.7), "one number throughout"),
        (torch.tensor([[1.0, 2.0], [1.0, 2.0]]), "the same for every input"),
        (torch.tensor([[1.0, 2.0], [1.0, 2.0 + 1e-7]]), "the same for every input"),
        ((torch.zeros(2, 3), torch.full((2, 2), 3.0)), "all zeros"),
        (torch.tensor([[2.0], [2.0]]), "the same for every input"),
    ],
)
def test_outputs_that_nothing_could_disagree_with_are_no_agreement(reference: Any, why: str) -> None:
    """torchvision's untrained ViT puts out zeros: every variant of it had a cosine of 1.0000."""
    with pytest.raises(MeaninglessError, match=rf"the reference's outputs are {why} \(2 inputs\)"):
        agreement_of(reference, reference)


def test_a_constant_beside_what_tells_is_left_out() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found = agreement_of((torch.ones(2, 9), -rows), (torch.ones(2, 9), rows))
    assert found.agreement_cosine_min == -1.0
    one_number = torch.tensor([[1.0], [2.0]])
    assert agreement_of(one_number, one_number).agreement_cosine_min == 1.0


def test_a_variant_near_outputs_that_never_change_is_no_agreement_either() -> None:
    """int8 of a network that hardly looks at its input: 0.9998 says nothing; the opposite sign does."""
    same = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    with pytest.raises(MeaninglessError, match="the same for every input"):
        agreement_of(same + torch.tensor([0.02, 0.0]), same)
    assert agreement_of(-same, same).agreement_cosine_min == pytest.approx(-1.0)
