"""What may run of a checkpoint, of a .yaml and of a cache: nothing, whatever was imported or set before."""

from __future__ import annotations

import functools
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fixtures.cases.family import Build, Source, Trusted
from fixtures.config.weights import WeightsError, parse_weights
from fixtures.models.checkpoints import opened, restricted
from fixtures.models.huggingface import LoadError
from fixtures.models.stable_diffusion import saved_pipe
from fixtures.models.yolo import import_ultralytics
from tests.conftest import ROOT, Run, Saved, no_traceback


class Evil:
    """Makes a folder where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (self.marker,)


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """A folder that is there once code ran; nothing may have made it."""
    path = tmp_path / "code-ran"
    yield path
    assert not path.exists()


@pytest.fixture(params=["zip", "legacy"])
def evil(request: pytest.FixtureRequest, tmp_path: Path, marker: Path) -> Path:
    path = tmp_path / "evil.pt"
    torch.save({"model": Evil(marker)}, path, _use_new_zipfile_serialization=request.param == "zip")
    return path


def ultralytics_was_imported_without_us(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("ultralytics.nn.tasks.SAFE_LOAD", False)
    patch.setattr("ultralytics.utils.SAFE_LOAD", False)


def torch_load_was_replaced(patch: pytest.MonkeyPatch) -> None:
    unrestricted = torch.load
    patch.setattr(torch, "load", lambda *args, **more: unrestricted(*args, **{**more, "weights_only": False}))


def torch_load_has_another_default(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch, "load", functools.partial(torch.load, weights_only=False))


def somebody_declared_it_safe(patch: pytest.MonkeyPatch) -> None:
    torch.serialization.add_safe_globals([(os.mkdir, "posix.mkdir")])


def the_environment_says_so(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    patch.setenv("ULTRALYTICS_SAFE_LOAD", "0")


@pytest.mark.parametrize(
    "before",
    [
        ultralytics_was_imported_without_us,
        torch_load_was_replaced,
        torch_load_has_another_default,
        somebody_declared_it_safe,
        the_environment_says_so,
    ],
)
def test_no_code_of_a_checkpoint_runs_whatever_was_before(
    monkeypatch: pytest.MonkeyPatch, evil: Path, before: Callable[[pytest.MonkeyPatch], None]
) -> None:
    safe = torch.serialization.get_safe_globals()
    ultralytics_was_imported_without_us(monkeypatch)
    before(monkeypatch)
    declared, load = torch.serialization.get_safe_globals(), torch.load
    try:
        with pytest.raises(LoadError, match=r"evil.pt' cannot be loaded: (TypeError|it holds posix.mkdir, .* is code)"):
            opened(import_ultralytics(), evil)
        assert torch.load is load, "what others load is theirs to decide"
        assert set(torch.serialization.get_safe_globals()) == set(declared)
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(safe)


IMPORTS = """
import sys
from pathlib import Path

from fixtures.cases.own import OwnModel
from fixtures.models.custom import build_own
build_own(OwnModel("net", Path("mine.py").resolve()), 0)
from fixtures.models.checkpoints import opened
from fixtures.models.huggingface import LoadError
from fixtures.models.yolo import import_ultralytics
from PIL import Image
from ultralytics.utils import AUTOINSTALL
assert Image.open.__module__ == "PIL.Image" and not AUTOINSTALL
try:
    opened(import_ultralytics(), Path("evil.pt"))
except LoadError as error:
    print(error)
"""


@pytest.mark.slow
def test_no_code_of_a_checkpoint_runs_after_a_model_file_that_imports_ultralytics(tmp_path: Path, marker: Path) -> None:
    """In a process of its own: here ultralytics was imported by the suite. The file is imported first, as it is."""
    torch.save({"model": Evil(marker)}, tmp_path / "evil.pt")
    (tmp_path / "mine.py").write_text(
        "from torch import nn\nfrom ultralytics import YOLO\n\ndef net():\n    return nn.Linear(1, 1)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "YOLO_CONFIG_DIR": str(tmp_path)}
    for name in ("YOLO_OFFLINE", "YOLO_AUTOINSTALL", "ULTRALYTICS_SAFE_LOAD"):
        environment.pop(name, None)
    said = subprocess.run(
        [sys.executable, "-c", IMPORTS], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert "evil.pt' cannot be loaded: it holds posix.mkdir" in said.stdout, said.stderr


def test_a_model_description_is_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, marker: Path) -> None:
    """ultralytics evaluates what a .yaml calls its activation."""
    ultralytics_was_imported_without_us(monkeypatch)
    head = f"nc: 1\nactivation: __import__('os').mkdir({str(marker)!r})\n"
    (tmp_path / "evil.yaml").write_text(head + "backbone: [[-1, 1, Conv, [8, 3, 2]]]\nhead: [[[0], 1, Detect, [nc]]]\n")
    with pytest.raises(LoadError, match="unsupported activation"):
        opened(import_ultralytics(), tmp_path / "evil.yaml")


def test_no_cache_of_labels_is_unpickled_or_written(tmp_path: Path, marker: Path) -> None:
    from ultralytics.data import dataset

    cache = tmp_path / "labels.cache"
    with cache.open("wb") as stream:
        np.save(stream, np.array({"evil": Evil(marker)}, object), allow_pickle=True)
    ultralytics: Any = import_ultralytics()
    before = cache.read_bytes()
    with restricted(ultralytics):
        with pytest.raises(FileNotFoundError):
            dataset.load_dataset_cache_file(cache)
        dataset.save_dataset_cache_file("", cache, {}, "1")
    assert cache.read_bytes() == before


def test_a_file_with_a_suffix_in_capitals_is_one_line(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "best.PT")
    with pytest.raises(LoadError, match=r"best\.PT' cannot be loaded"):
        opened(import_ultralytics(), tmp_path / "best.PT")


def test_a_pipeline_takes_no_part_from_a_module_that_happens_to_be_imported(tmp_path: Path) -> None:
    """diffusers looks for a library that it does not know among the imported modules."""
    listed = {"_class_name": "StableDiffusionPipeline", "_ignore_files": ["x"], "unet": ["own_model_mine", "Net"]}
    (tmp_path / "model_index.json").write_text(json.dumps(listed))
    with pytest.raises(LoadError, match=r"takes parts from 'own_model_mine', which could be any code"):
        saved_pipe(Source("file", str(tmp_path)), Build(0, torch.float32, lambda: 0.0))


@pytest.mark.parametrize("kind", [["my_pipeline", "Mine"], {"a": 1}])
def test_a_pipeline_of_an_own_class_is_refused_in_a_line(tmp_path: Path, kind: object) -> None:
    (tmp_path / "model.safetensors").touch()
    for file, key in (("config.json", "model_type"), ("model_index.json", "_class_name")):
        (tmp_path / file).write_text(json.dumps({key: kind}))
        with pytest.raises(WeightsError, match="is of type"):
            parse_weights([str(tmp_path)], tmp_path)
        (tmp_path / file).unlink()


BLOCK = """
from torch import nn
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(32, 32, 3, padding=1)
    def forward(self, x):
        return x + self.conv(x)
"""


@pytest.fixture
def with_own_block(project: pytest.Pytester) -> Path:
    """A detector of which one block is a class of the user's own, as ultralytics would save it."""
    (project.path / "mymods.py").write_text(BLOCK)
    sys.path.insert(0, str(project.path))
    detector = import_ultralytics().YOLO("yolov8n.yaml").model
    block, before = importlib.import_module("mymods").Block(), detector.model[2]
    for name in ("f", "i", "type", "np"):
        setattr(block, name, getattr(before, name, None))
    detector.model[2] = block
    torch.save({"model": detector, "train_args": {}, "epoch": -1}, project.path / "own.pt")
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), project.path / "bare.pt")
    torch.save(detector.state_dict(), project.path / "state.pt")
    sys.path.remove(str(project.path))
    sys.modules.pop("mymods")
    return project.path


ARGUMENTS = ("-k", "yolo and forward", "--batch=1", "--imgsz=64", "--iters=3", "--benchmark-json=out.json")


def test_a_checkpoint_with_a_class_of_the_users_is_measured_where_that_is_allowed(
    with_own_block: Path, run: Run, saved: Saved
) -> None:
    refused = run(*ARGUMENTS, "--weights=own.pt")
    no_traceback(refused)
    refused.stdout.fnmatch_lines(["*own.pt' cannot be loaded: it holds mymods.Block, *--import=mymods allows it*"])
    run(*ARGUMENTS, "--weights=own.pt", "--import=mymods").assert_outcomes(passed=1)
    ((name, case),) = saved().items()
    assert "own" in name
    assert case["extra_info"]["params"] > 3e6
    assert case["extra_info"]["weights_path"] == "own.pt"
    other = run(*ARGUMENTS, "--weights=own.pt", "--import=nothing_here")
    other.stdout.fnmatch_lines(
        ["*--import: no module 'nothing_here' in *; call pytest from the folder that has it, or*"]
    )
    assert run(*ARGUMENTS, "--weights=own.pt", "--import=not a name").ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.slow
def test_six_ablations_in_one_command(with_own_block: Path, photos: Path, run: Run, saved: Saved) -> None:
    """One of them with a class of the user's own: one table, one list of images, an export and a report with plots."""
    for index in range(6):
        weights = with_own_block / "runs" / f"ablation{index}" / "weights"
        weights.mkdir(parents=True)
        if index == 5:
            shutil.copy(with_own_block / "own.pt", weights / "best.pt")
            continue
        torch.manual_seed(index)
        detector = import_ultralytics().YOLO("yolov8n.yaml").model
        torch.save({"model": detector, "train_args": {}, "epoch": -1}, weights / "best.pt")
    args = ("--weights=runs/*/weights/best.pt", "--import=mymods", f"--images={photos}")
    result = run(*ARGUMENTS, *args, "--export=bench=out", "--report=report", "--record-csv=out.csv")
    result.assert_outcomes(passed=6)
    infos = [case["extra_info"] for case in saved().values()]
    assert sorted(info["model"] for info in infos) == [f"ablation{index}" for index in range(6)]
    assert len({info["inputs_digest"] for info in infos}) == len({info["inputs_list"] for info in infos}) == 1
    assert len({info["weights"] for info in infos}) == 6
    assert {info["weights_path"] for info in infos} == {f"runs/ablation{index}/weights/best.pt" for index in range(6)}
    assert {file.name for file in (with_own_block / "out").glob("*.json")} == {f"ablation{i}.json" for i in range(6)}
    assert {"report.md", "report.html", "latency-params.png"} <= {f.name for f in (with_own_block / "report").iterdir()}
    assert len((with_own_block / "out.csv").read_text().splitlines()) == 7
    again = run(*ARGUMENTS, *args)
    again.assert_outcomes(passed=6)
    assert {case["extra_info"]["inputs_digest"] for case in saved().values()} == {infos[0]["inputs_digest"]}


@pytest.mark.slow
def test_a_class_of_the_script_that_saved_it_cannot_be_imported(tmp_path: Path) -> None:
    """`--import=__main__` would be pytest's."""
    script = f"{BLOCK}\nimport torch\ntorch.save({{'model': Block()}}, 'own.pt')"
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    with pytest.raises(LoadError, match=r"it holds __main__.Block, .* save it again with that class in a module"):
        opened(import_ultralytics(), tmp_path / "own.pt")


@pytest.mark.parametrize(
    ("file", "what"),
    [("bare.pt", "it holds a Sequential, not a checkpoint"), ("state.pt", "it holds a state dict, not a checkpoint")],
)
def test_what_is_no_checkpoint_of_ultralytics_says_what_it_is(with_own_block: Path, file: str, what: str) -> None:
    with pytest.raises(LoadError, match=rf"{file}' cannot be loaded: {what}.*; write a factory of it for --model"):
        opened(import_ultralytics(), with_own_block / file)


def test_an_rt_detr_says_how_it_can_be_measured(tmp_path: Path) -> None:
    """'YOLO' model does not support '_new' mode for 'None' task."""
    (found,) = parse_weights(["rtdetr-l.yaml"], tmp_path)
    with pytest.raises(LoadError, match=r"none of the detectors that ultralytics.YOLO reads \(RT-DETR is not\)"):
        opened(import_ultralytics(), Path(found.location))


def test_pythons_own_modules_cannot_be_allowed(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="--import: 'subprocess' is Python's own; name a module of yours"):
        opened(import_ultralytics(), tmp_path / "any.pt", Trusted(("subprocess",), tmp_path))
