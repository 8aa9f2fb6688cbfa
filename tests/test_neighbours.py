"""Two files of a user's with neighbours of the same name: each measures its own."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch

from fixtures.cases.family import Build
from fixtures.cases.own import OwnModel
from fixtures.guard import neighbours
from fixtures.models.custom import FAMILY, spec_from_own
from tests.conftest import Run, Saved

MINE = "from {neighbour} import Net\ndef {name}():\n    return Net(), lambda b, s, g: __import__('torch').rand(b, 4)\n"
NET = """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, {width})
    def forward(self, x):
        from later import WIDTH
        assert self.inner.out_features == WIDTH
        return self.inner(x)
"""


def folder_of(root: Path, name: str, width: int, neighbour: str) -> Path:
    package = root / name / neighbour
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"from .inner import Net\nassert Net.__module__ == '{neighbour}.inner'\n")
    (package / "inner.py").write_text(NET.format(width=width))
    (root / name / "later.py").write_text(f"WIDTH = {width}\n")
    file = root / name / f"{name}.py"
    file.write_text(MINE.format(neighbour=neighbour, name=name))
    return file


@pytest.mark.parametrize("neighbour", ["net", "tests", "fixtures", "benchmarks"])
def test_each_file_has_the_neighbours_of_its_own_folder(neighbour: str, tmp_path: Path) -> None:
    """The second measured the first's net. What is imported during a call is its own too."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in ("fixtures", "tests")}
    loaded = []
    for name, width in (("small", 5), ("large", 7)):
        file = folder_of(tmp_path, name, width, neighbour)
        spec = spec_from_own(OwnModel(name, file))
        loaded.append(FAMILY.load(spec, Build(42, torch.float32, lambda: 0.0)))
    try:
        for model, width in zip([*loaded, *loaded], (5, 7, 5, 7), strict=True):
            model.enter()
            assert model.module(torch.rand(2, 4)).shape == (2, width)
    finally:
        neighbours.leave()
    assert {name: sys.modules.get(name) for name in before} == before
    assert not {"net", "later", "benchmarks.inner"} & set(sys.modules)


def test_a_folder_that_is_entered_again_has_the_modules_that_it_had(tmp_path: Path) -> None:
    """Else a module's state, and what `isinstance` knows of its classes, would be another's."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "beside_me.py").write_text(f"SEEN = ['{name}']\n")
    first = []
    try:
        for _ in range(2):
            for name in ("one", "two"):
                neighbours.enter(tmp_path / name)
                module = importlib.import_module("beside_me")
                module.SEEN.append("again")
                first.append(module)
    finally:
        neighbours.leave()
    assert [module.SEEN[0] for module in first] == ["one", "two", "one", "two"]
    assert first[0] is first[2] and first[1] is first[3]  # noqa: PT018
    assert len(first[0].SEEN) == 3
    assert "beside_me" not in sys.modules


def test_pythons_own_modules_are_not_replaced_by_a_neighbour(tmp_path: Path) -> None:
    (tmp_path / "queue.py").write_text("raise ImportError('not this one')")
    with neighbours.importing(tmp_path):
        sys.modules.pop("queue")
        import queue
    neighbours.leave()
    assert hasattr(queue, "SimpleQueue")


def test_two_files_of_one_name_in_a_run(run: Run, saved: Saved, project: pytest.Pytester) -> None:
    for name, width in (("small", 5), ("large", 7)):
        folder_of(project.path, name, width, "net")
    models = [f"--model={name}/{name}.py:{name}" for name in ("small", "large")]
    run("-k", "custom", *models, "--batch=1", "--benchmark-json=out.json").assert_outcomes(passed=2)
    params = {case["extra_info"]["model"]: case["extra_info"]["params"] for case in saved().values()}
    assert params == {"small": 4 * 5 + 5, "large": 4 * 7 + 7}
    assert not any("sys.path" in note for case in saved().values() for note in case["extra_info"]["notes"])
