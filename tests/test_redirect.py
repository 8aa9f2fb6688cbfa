"""The other version's process imports its own files, whatever leads to this version's; what it cannot is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fixtures.workers.journal import CaseRun
from fixtures.workers.link import Finished
from fixtures.workers.outcome import CaseRuns
from fixtures.workers.places import BASE, HEAD, Places
from tests.conftest import ROOT
from tests.own_repository import installed_editable

HOW = {
    "a path": "sys.path.append({src!r})",
    "a relative path": "os.chdir({head!r}); sys.path.insert(0, 'src')",
    "a path through a link": "os.symlink({head!r}, {link!r}); sys.path.append({link!r} + '/src')",
    "a line of a .pth": "site.addsitedir({lines!r})",
    "an editable install's finder": "site.addsitedir({finder!r})",
    "a strict editable install, a folder of links": "sys.path.append({links!r})",
    "a path that comes later": "LATER = {src!r}",
}


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """This version's tree and the other one's: `pkg` in `src`, a namespace package, and a module only here."""
    for side in (HEAD, BASE):
        source = tmp_path / side / "src"
        for name, text in {"pkg/__init__.py": "", "pkg/net.py": f"SIDE = {side!r}", "space/part.py": ""}.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(text)
    (tmp_path / HEAD / "src" / "pkg" / "fresh.py").write_text("")
    links = tmp_path / HEAD / "build" / "links" / "pkg"
    links.mkdir(parents=True)
    for file in (tmp_path / HEAD / "src" / "pkg").iterdir():
        (links / file.name).symlink_to(file)
    return tmp_path / HEAD, tmp_path / BASE


def in_base(trees: tuple[Path, Path], before: str, then: str, side: str = BASE) -> dict[str, Any]:
    """Run code before and after the imports of a process of one side are turned; what it found."""
    head, base = trees
    for kind in ("lines", "finder"):
        installed_editable(head, head.parent / kind, finder=kind == "finder")
    names = {
        "links": str(head / "build" / "links"),
        "head": str(head),
        "src": str(head / "src"),
        "link": str(head.parent / "link"),
    }
    names |= {kind: str(head.parent / kind) for kind in ("lines", "finder")}
    code = f"""
import json, os, site, sys
sys.path.append({str(ROOT)!r})
LATER = None
{before.format(**names)}
from fixtures.workers.sources import sources_of_process
if LATER: sys.path.append(LATER)
found = None
{then.format(**names)}
print(json.dumps([found, sources_of_process().news()]))
"""
    places = Places(((str(head), str(base)),))
    environment = {**os.environ, **places.variables(side)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=head.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found, news = json.loads(done.stdout)
    return {"found": found, **news}


@pytest.mark.parametrize("how", HOW)
def test_modules_come_from_the_other_version_however_this_ones_got_on_the_path(
    trees: tuple[Path, Path], how: str
) -> None:
    told = in_base(trees, HOW[how], "import pkg.net; found = pkg.net.SIDE")
    assert told["found"] == BASE
    assert (told["strays"], told["lacking"]) == ([], [])
    ours = trees[0] / "src" / "pkg"
    assert set(told["sources"]) == {str(ours / "__init__.py"), str(ours / "net.py")}


def test_a_namespace_package_and_one_named_from_outside_are_turned_too(trees: tuple[Path, Path]) -> None:
    then = "import space.part, head.src.pkg.net; found = [space.part.__file__, head.src.pkg.net.SIDE]"
    told = in_base(trees, "sys.path += [{src!r}, '.']", then)
    assert told["found"] == [str(trees[1] / "src" / "space" / "part.py"), BASE]
    assert told["strays"] == []


def test_a_package_that_was_a_module_is_found(trees: tuple[Path, Path]) -> None:
    package = trees[1] / "src" / "pkg"
    (package / "net.py").unlink()
    (package / "__init__.py").unlink()
    package.rmdir()
    (trees[1] / "src" / "pkg.py").write_text("SIDE = 'a module'\n")
    told = in_base(trees, HOW["an editable install's finder"], "import pkg; found = pkg.SIDE")
    assert (told["found"], told["strays"], told["lacking"]) == ("a module", [], [])


def test_the_head_imports_what_it_always_did_and_tells_the_same_names(trees: tuple[Path, Path]) -> None:
    then = "import pkg.net; found = pkg.net.SIDE"
    head, base = (in_base(trees, HOW["a path"], then, side) for side in (HEAD, BASE))
    assert head["found"] == HEAD
    assert head["sources"].keys() == base["sources"].keys()
    differing = {name for name in head["sources"] if head["sources"][name] != base["sources"][name]}
    assert differing == {str(trees[0] / "src" / "pkg" / "net.py")}


@pytest.mark.parametrize(
    "loaded",
    [
        "sys.path.append({src!r}); import pkg.net",  # before anything could be turned
        "import importlib.util as u; s = u.spec_from_file_location('m', {src!r} + '/pkg/net.py'); "
        "sys.modules['m'] = m = u.module_from_spec(s); s.loader.exec_module(m)",
        "import runpy; kept = runpy.run_path({src!r} + '/run.py')",
    ],
)
def test_a_file_of_this_version_that_ran_all_the_same_is_named(trees: tuple[Path, Path], loaded: str) -> None:
    (trees[0] / "src" / "run.py").write_text("def function(): pass\n")
    told = in_base(trees, loaded, "")
    assert told["strays"]
    assert all(name.startswith(str(trees[0] / "src")) for name in told["strays"])


def test_what_only_this_version_has_is_not_found_and_named(trees: tuple[Path, Path]) -> None:
    then = """
try:
    import pkg.fresh
except ModuleNotFoundError as error:
    found = str(error)
"""
    told = in_base(trees, HOW["a path"], then)
    assert told["found"] == "No module named 'pkg.fresh'"
    assert told["lacking"] == [str(trees[0] / "src" / "pkg" / "fresh.py")]


def test_what_is_installed_inside_this_tree_is_the_same_for_both(trees: tuple[Path, Path]) -> None:
    site = trees[0] / ".venv" / "lib" / "python" / "site-packages"
    site.mkdir(parents=True)
    (site / "other.py").write_text("")
    told = in_base(trees, f"sys.path.append({str(site)!r})", "import other; found = other.__file__")
    assert told["found"] == str(site / "other.py")
    assert told["strays"] == []


def test_a_base_inside_this_tree_is_the_base() -> None:
    """`--against=old`, a folder of the project itself."""
    places = Places((("/project", "/project/old"),))
    assert places.side_of("/project/old/src/a.py") == BASE
    assert places.there("/project/src/a.py") == "/project/old/src/a.py"
    assert places.here("/project/old/src/a.py") == "/project/src/a.py"
    assert Places((("/project", "/project"),)).side_of("/project/a.py") == BASE  # --against=. is its own other version


def test_the_measuring_code_is_no_part_of_a_version_but_its_models_are() -> None:
    pairs = (("/suite", "/made/worktree"), ("/suite/fixtures/models", "/made/root/fixtures/models"))
    places = Places(pairs, shared=("/suite/fixtures",))
    assert places.side_of("/suite/fixtures/measure/case.py") is None
    assert places.there("/suite/fixtures/models/clip.py") == "/made/root/fixtures/models/clip.py"
    assert places.there("/suite/mine.py") == "/made/worktree/mine.py"


def base_failure(**told: Any) -> str:
    case = CaseRuns("a")
    finished = Finished("a", told.pop("outcome", "passed"), told.pop("message", ""), 1.0, **told)
    case.add(CaseRun(BASE, 0, "a", "finished", finished=finished))
    return str(case.side(BASE).failure or "")


def test_a_base_that_ran_other_code_has_no_result() -> None:
    assert base_failure() == ""
    assert base_failure(strays=["/p/a.py"]) == "failed: it runs this version's /p/a.py, not its own"
    # It may do without a generated file; not without compiled code, for which something slower stands in.
    assert base_failure(lacking=["/p/_version.py"]) == ""
    assert "it lacks /p/_C.so, which this version has" in base_failure(lacking=["/p/_C.so"])
    assert "build that version in a folder of its own (--against=FOLDER)" in base_failure(lacking=["/p/_C.so"])
    lacking = base_failure(lacking=["/p/new.py"], outcome="failed", message="No module named 'new'")
    assert lacking.startswith("failed: it lacks /p/new.py, which this version has: a commit holds what is under")
    assert lacking.endswith(": No module named 'new'")
