"""`make published-check`: the suite's parameters and MACs of some 200 models against what their makers publish.

All of torchvision's with weights, the ultralytics yamls, 73 of timm's. Beside each number that is further off than it
is rounded stands why; one without a reason is a fault. Writes results/published.json. Needs timm
(requirements-dev.txt).
"""

from __future__ import annotations

import argparse
import csv
import gc
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import torch
from rich.progress import track
from torch import nn

from fixtures.cases.model import Model
from fixtures.devices.host import describe_host
from fixtures.measure.complexity import count

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "published.json"
# What two counts of the same may differ in: dozens of small operators that one of the two leaves out.
SAME = 0.005
NOT_STATED = "of an input that is not stated: parameters alone are compared"
# What has been looked at one by one.
KNOWN = {
    "timm:repvit_m1": "published merged (its branches and batch norms), as timm's fuse() makes it: 5.07 M",
    "timm:levit_128s": "published merged (convolutions and batch norms), as timm's fuse() makes it: 7.76 M",
}
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)


class Whole(Model):
    """A module as its forward runs it."""

    def forward(self, *args: torch.Tensor) -> Any:
        return self.module(*args)


@dataclass(frozen=True)
class Row:
    """One model: as published, as counted, and why they differ where they do."""

    name: str
    params_published: float
    params: int
    gmacs_published: float
    gmacs: float
    rounded: tuple[float, float]
    uncounted: tuple[str, ...]
    reason: str = ""

    @property
    def off(self) -> str:
        """`params`, `gmacs`, both, or nothing."""
        params = abs(self.params - self.params_published) > self.rounded[0]
        return " ".join(name for name, off in (("params", params), ("gmacs", not self.agrees(self.gmacs))) if off)

    def agrees(self, gmacs: float) -> bool:
        """Whether a count is the published one."""
        return abs(gmacs - self.gmacs_published) <= max(self.rounded[1], SAME * self.gmacs_published)


def _number(text: str) -> tuple[float, float]:
    """What is published, and how far it is rounded: half a unit of its last digit."""
    times = 1e6 if text.endswith("M") else 1.0
    digits = text.removesuffix("M")
    return float(digits) * times, 0.5001 * 10 ** -len(digits.partition(".")[2]) * times


def _counted(module: nn.Module, inputs: torch.Tensor) -> tuple[int, float, tuple[str, ...]]:
    model = Whole(module, "random:0")
    cost = count(model, model.forward, (inputs,), {})
    return cost.params or 0, (cost.flops or 0) / 2e9, cost.uncounted_ops


def _normalised(module: nn.Module, inputs: torch.Tensor) -> dict[str, float]:
    """Billions of elements that go through batch and other normalisation."""
    found = {"batch": 0.0, "other": 0.0}

    def seen(norm: nn.Module, _: Any, out: torch.Tensor) -> None:
        found["batch" if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)) else "other"] += out.numel() / 1e9

    hooks = [part.register_forward_hook(seen) for part in module.modules() if isinstance(part, NORMS)]
    with torch.no_grad():
        module(inputs)
    for hook in hooks:
        hook.remove()
    return found


def _torchvision(name: str, side: int) -> nn.Module:
    import torchvision

    backbones = ("rcnn", "retinanet", "fcos", "ssd", "deeplab", "fcn", "lraspp")
    more: dict[str, Any] = {"weights_backbone": None} if any(each in name for each in backbones) else {}
    if name in ("googlenet", "inception_v3"):
        more = {"init_weights": False, "aux_logits": name == "inception_v3"}
    if name.startswith(("deeplab", "fcn")):  # the published weights have it, for training
        more["aux_loss"] = True
    if name.startswith("vit_"):
        more["image_size"] = side
    # Some initialise by values that a meta tensor has not.
    with torch.device("cpu" if "regnet" in name or more.keys() & {"weights_backbone"} else "meta"):
        return torchvision.models.get_model(name, weights=None, **more)


def _timm(name: str, side: int) -> nn.Module:
    import timm

    with torch.device("meta"):
        return timm.create_model(name, pretrained=False)


def _ultralytics(name: str, side: int) -> nn.Module:
    from fixtures.models.yolo import import_ultralytics

    return import_ultralytics().YOLO(f"{name}.yaml", verbose=False).model


def _of_torchvision(row: Row, module: nn.Module, inputs: torch.Tensor | None) -> str:
    """Detectors: the batch norms of published backbones are frozen, and the work follows the proposals of an image."""
    batch_norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    norms = sum(each.numel() for part in batch_norms for each in part.parameters(recurse=False))
    why = []
    if "params" in row.off and row.params - norms == row.params_published:
        why.append("batch norms of the published weights are frozen, and no parameters")
    if "gmacs" in row.off and "rcnn" in row.name:
        why.append("the second stage follows the proposals, of which an image of zeros has others")
    return "; ".join(why) if len(why) == len(row.off.split()) else ""


def _of_timm(row: Row, module: nn.Module, inputs: torch.Tensor) -> str:
    """timm publishes what fvcore counts: 2 operations an element of batch norm, 5 of another, attention left out."""
    norms = _normalised(module, inputs)
    convolutions = [part for part in module.modules() if "ScaledStdConv" in type(part).__name__]
    scaled = sum(convolution.get_parameter("weight").numel() for convolution in convolutions) / 1e9
    theirs = row.gmacs + 2 * norms["batch"] + 5 * (norms["other"] + scaled)
    if row.off == "gmacs" and row.agrees(theirs):
        return f"with normalisation, which fvcore counts too, {theirs:.4g}"
    return ""


def _of_ultralytics(row: Row, module: nn.Module, inputs: torch.Tensor) -> str:
    """Its own counter (thop) goes by modules: normalisation too, and no product of attention."""
    from ultralytics.utils.torch_utils import get_flops

    theirs = get_flops(module, inputs.shape[-1]) / 2
    if row.off != "gmacs":
        return ""
    if row.agrees(theirs):
        return f"ultralytics' own counter, which counts normalisation too, says {theirs:.4g}"
    return f"published of another version: ultralytics' own counter says {theirs:.4g} of this one"


Reason = Callable[[Row, nn.Module, torch.Tensor], str]
MAKERS: dict[str, tuple[Callable[[str, int], nn.Module], float, Reason]] = {
    "torchvision": (_torchvision, 1.0, _of_torchvision),
    "timm": (_timm, 1.0, _of_timm),
    "ultralytics yaml": (_ultralytics, 0.5, _of_ultralytics),  # published as FLOPs
}


def _row(published: dict[str, str]) -> Row:
    family, _, name = published["name"].partition(":")
    make, factor, reason_of = MAKERS[family]
    (params, params_off), (gmacs, gmacs_off) = _number(published["params"]), _number(published["gmacs_or_gflops"])
    rounded = (params_off if published["params"].endswith("M") else 0.0, gmacs_off * factor)
    side = int(published["imgsz"]) if published["imgsz"].isdigit() else None
    module = make(name.partition("@")[0], side or 0).eval()
    if side is None:
        ours = sum(each.numel() for each in module.parameters())
        row = Row(published["name"], params, ours, gmacs * factor, gmacs * factor, rounded, (), NOT_STATED)
        return replace(row, reason=_of_torchvision(row, module, None)) if row.off else row
    inputs = torch.zeros(1, 3, side, side, device=next(module.parameters()).device)
    ours, counted, uncounted = _counted(module, inputs)
    row = Row(published["name"], params, ours, gmacs * factor, counted, rounded, uncounted)
    return replace(row, reason=reason_of(row, module, inputs) or KNOWN.get(row.name, "")) if row.off else row


def _rows(path: Path, only: str) -> Iterator[Row]:
    published = {row["name"]: row for row in csv.DictReader(path.open(encoding="utf-8"))}
    chosen = [row for name, row in published.items() if name.partition(":")[0] in MAKERS and re.search(only, name)]
    for row in track(chosen, "counting"):
        yield _row(row)
        gc.collect()


def main(arguments: list[str] | None = None) -> int:
    """Count, compare and save; 1 where a number differs and nobody knows why."""
    parser = argparse.ArgumentParser(prog="python -m tools.published", description=__doc__)
    parser.add_argument("file", type=Path, help="CSV: name, source, params, gmacs_or_gflops, convention, imgsz")
    parser.add_argument("--only", default="", metavar="REGEX", help="models whose name matches")
    given = parser.parse_args(arguments)
    rows = list(_rows(given.file, given.only))
    off = [row for row in rows if row.off]
    for row in off:
        print(
            f"{row.name}: {row.off}; params {row.params / 1e6:.4g} M (published {row.params_published / 1e6:.4g}), "
            f"{row.gmacs:.4g} GMACs ({row.gmacs_published:.4g}): {row.reason or 'NOT KNOWN WHY'}"
        )
    unknown = [row for row in off if not row.reason]
    print(f"{len(rows)} models: {len(rows) - len(off)} as published, {len(off)} otherwise, {len(unknown)} unknown why")
    if not given.only:
        saved = {"machine": describe_host(), "same": SAME, "rows": [asdict(row) for row in rows]}
        RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(saved), indent=1) + b"\n")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
