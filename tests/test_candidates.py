"""A folder of candidates against one baseline: their order and names, one table, the reference asked once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures.cases.own import OwnModelError
from fixtures.cases.pipeline_modules import parse_modules
from fixtures.config.settings import settings_from
from tests.conftest import Run, Saved, no_traceback
from tests.test_candidate import CANDIDATES, COMMON, HEAD
from tests.test_settings import DEFAULTS

pytestmark = pytest.mark.usefixtures("in_one_process")
SIGNATURE = "\ndef inference(pipe, prompts, num_inference_steps, generator):\n    "
SHORT = ("--steps=4", "--iters=4", "--benchmark-json=out.json")
LOAD = "def load():\n    pass\n"
INFERENCE = LOAD + "\ndef inference({}):\n    pass\n"


def named(folder: Path, *candidates: str, content: str = LOAD, **more: str) -> list[str]:
    """Names of a comparison's modules, of files that are all there."""
    for file in ("base.py", "c/b.py", "c/a.py", "c/base.py", "x/pipe.py", "y/pipe.py"):
        (folder / file).parent.mkdir(exist_ok=True)
        if not (folder / file).exists():
            (folder / file).write_text(content)
    given: dict[str, Any] = {"candidate": list(candidates), "baseline_module": "base.py", **more}
    return [module.name for module in parse_modules(given.get, 10, None, folder)]


def test_candidates_come_in_the_order_given_and_of_a_glob_by_path(tmp_path: Path) -> None:
    assert named(tmp_path, "x/pipe.py", "c/[ab].py") == ["base", "pipe", "a", "b"]
    assert named(tmp_path, "c/b.py", "c/?.py", "c/b.py") == ["base", "b", "a"]  # each once


def test_candidates_that_are_called_alike_are_told_apart_by_their_folder(tmp_path: Path) -> None:
    assert named(tmp_path, "*/pipe.py") == ["base", "x-pipe", "y-pipe"]


def test_the_baseline_in_a_folder_of_candidates_is_none_of_them(tmp_path: Path) -> None:
    assert named(tmp_path, "c/*.py", baseline_module="c/base.py") == ["base", "a", "b"]
    with pytest.raises(OwnModelError, match=r"--candidate: c/base\*.py is the baseline and nothing else"):
        named(tmp_path, "c/base*.py", baseline_module="c/base.py")


def test_the_header_says_that_the_baseline_was_left_out(tmp_path: Path) -> None:
    named(tmp_path, "c/a.py")
    given: dict[str, Any] = {**DEFAULTS, "candidate": ["c/*.py"], "baseline_module": "c/base.py"}
    said = "models: base.py is the baseline, and no candidate of --candidate"
    assert settings_from(given.get, tmp_path, lambda: 0).header()[-1] == said
    given["candidate"] = ["c/[ab].py"]
    assert said not in settings_from(given.get, tmp_path, lambda: 0).header()


def test_the_baseline_named_as_a_candidate_is_told(tmp_path: Path) -> None:
    with pytest.raises(OwnModelError) as error:
        named(tmp_path, "c/a.py", "base.py")
    assert str(error.value) == "--candidate: 'base.py' is the baseline, which is measured anyway; leave it out"


def test_an_empty_glob_is_told_before_anything_runs(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(base=LOAD)
    result = run("-k", "candidate", "--candidate=none/*.py", "--baseline-module=base.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    no_traceback(result)
    assert result.errlines[0] == (
        f"ERROR: --candidate: no file matches 'none/*.py'; expected a file or a quoted glob, from '{project.path}'"
    )


def test_a_file_among_candidates_that_is_no_pipeline_is_told(tmp_path: Path) -> None:
    (tmp_path / "common.py").write_text("import torch\nnet = torch.load(open('x.pt', 'rb'))\n")
    with pytest.raises(OwnModelError) as error:
        named(tmp_path, "c/a.py", "comm*.py")
    assert str(error.value) == (
        "--candidate: common.py must define load() -> pipe, and does not; what is no pipeline belongs elsewhere"
    )


@pytest.mark.parametrize(
    "content",
    [
        "from common import load",
        "from common import make as load",
        "from common import *",
        "load = print",
        "if 1:\n    def load(): ...",
        "class load: ...",
        "globals()['load'] = print",
        "exec('def load(): ...')",
        "def broken(",
    ],
)
def test_whatever_may_define_load_is_left_to_the_import(tmp_path: Path, content: str) -> None:
    (tmp_path / "other.py").write_text(content)
    assert named(tmp_path, "other.py")[1] == "other"


def test_a_file_that_cannot_be_read_is_left_to_the_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which says so in one line; here it would be a traceback."""

    def refuse(path: Path) -> bytes:
        raise PermissionError(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert named(tmp_path, "c/a.py") == ["base", "a"]


def test_two_files_of_one_name_are_told(tmp_path: Path) -> None:
    for folder in ("one/x", "two/x"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "pipe.py").write_text(LOAD)
    with pytest.raises(OwnModelError, match=r"'x-pipe' would name several files \(.*\); rename one of them"):
        named(tmp_path, "*/x/pipe.py")


@pytest.mark.parametrize(
    "arguments",
    [
        "pipe, prompts",
        "pipe, prompts, generator, num_inference_steps",
        "pipe, prompts, steps, generator, more",
        "p, q, *, a, b",
        "",
    ],
)
def test_another_signature_is_told_before_anything_runs(tmp_path: Path, arguments: str) -> None:
    (tmp_path / "other.py").write_text(INFERENCE.format(arguments))
    with pytest.raises(OwnModelError) as error:
        named(tmp_path, "c/a.py", "other.py")
    assert str(error.value) == (
        f"--candidate: other.py defines inference({arguments}); all of a comparison are called as inference(pipe, "
        "prompts, num_inference_steps, generator), by position"
    )


@pytest.mark.parametrize("arguments", ["pipe, prompts, steps, rng", "pipe, prompts, n, g, more=1", "*args"])
def test_whatever_takes_the_four_is_fine(tmp_path: Path, arguments: str) -> None:
    (tmp_path / "other.py").write_text(INFERENCE.format(arguments))
    assert named(tmp_path, "other.py")[1] == "other"


@pytest.fixture
def compared(run: Run, saved: Saved, project: pytest.Pytester) -> Callable[..., dict[str, dict[str, Any]]]:
    """Records of two candidates, without the baseline's own case, against a reference module."""

    def compare(first: str, second: str, reference: str) -> dict[str, dict[str, Any]]:
        project.makepyfile(common=COMMON, base=HEAD, reference=reference, first=first, second=second)
        modules = ("--candidate=first.py", "--candidate=second.py", "--baseline-module=base.py")
        run(*modules, "--reference-module=reference.py", *SHORT, "-k", "candidate and (first or second)")
        return {name.partition("[")[2].partition("-")[0]: each["extra_info"] for name, each in saved().items()}

    return compare


def test_one_that_cannot_be_compared_leaves_the_others_all_images(compared: Any) -> None:
    """What is kept of the reference is all of it, not what the first candidate got to."""
    found = compared(CANDIDATES["smaller"], CANDIDATES["direct"], HEAD)
    assert found["first"]["agreement_count"] is None
    assert (found["second"]["agreement_count"], found["second"]["agreement_cosine_min"]) == (16, 1)


def test_a_reference_that_draws_into_the_same_memory_is_kept_as_it_was(compared: Any) -> None:
    """As a pipeline that replays a CUDA graph does; what is kept would be the last images for all."""
    images = "images = pipe(prompts, num_inference_steps, generator)\n    "
    drawn = "pipe.drawn = getattr(pipe, 'drawn', images.clone())\n    return pipe.drawn.copy_(images)"
    found = compared(HEAD, CANDIDATES["direct"], HEAD + SIGNATURE + images + drawn)
    assert [each["agreement_cosine_min"] for each in found.values()] == [1, 1]


def test_one_table_and_the_reference_is_asked_once(run: Run, saved: Saved, project: pytest.Pytester) -> None:
    """Four candidates, one of which raises: the others go on, and the reference draws its sixteen images once."""
    (project.path / "candidates").mkdir()
    project.makepyfile(common=COMMON, base=HEAD)
    (project.path / "candidates" / "common.py").write_text(COMMON)
    counting = "open('calls.txt', 'a').write(f'{len(prompts)} ')"
    (project.path / "reference.py").write_text(
        f"{HEAD}{SIGNATURE}{counting}\n    return pipe(prompts, num_inference_steps, generator)"
    )
    broken = f"{HEAD}{SIGNATURE}raise ValueError('out of ideas')\n"
    for name, content in {"a": HEAD, "b": CANDIDATES["direct"], "c": broken, "d": CANDIDATES["serial"]}.items():
        (project.path / "candidates" / f"{name}.py").write_text(content)
    modules = ("--candidate=candidates/?.py", "--baseline-module=base.py", "--reference-module=reference.py")
    sides = ("-k", "candidate and (base or a-own or b-own or c-own or d-own)")
    result = run(*sides, *modules, *SHORT)
    result.assert_outcomes(passed=4, failed=1)
    no_traceback(result)
    found = {name.partition("[")[2].partition("-")[0]: each["extra_info"] for name, each in saved().items()}
    assert set(found) == {"base", "a", "b", "d"}
    assert [found[name]["agreement_count"] for name in "abd"] == [16, 16, 16]
    assert found["a"]["speedup"] is not None
    assert found["d"]["speedup"] is None
    table = [line.split()[0] for line in result.outlines if line.startswith(("base ", "a ", "b ", "c ", "d "))]
    assert table[-5:] == ["base", "a", "b", "d", "c"]
    calls = (project.path / "calls.txt").read_text().split()
    assert calls == ["4"] * 5  # one that gets it going, four batches of images
