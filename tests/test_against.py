"""What `--against` names, and how it is laid out."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.config.option import child_arguments
from fixtures.config.settings import settings_from
from fixtures.models import PROTOCOL
from fixtures.options import OPTIONS
from fixtures.workers.code import Code
from fixtures.workers.journal import CaseRun
from fixtures.workers.link import Finished
from fixtures.workers.mode import suite_options
from fixtures.workers.places import BASE, HEAD
from fixtures.workers.tree import base_tree
from fixtures.workers.version import TreeError, find_version, is_tracked
from tests.own_repository import commit, git, own_repository
from tests.test_settings import DEFAULTS

BENCHMARKS = [Path("benchmarks/test_a.py")]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits: mine.py says `old`, then `new`; benchmarks/ in both, results/ ignored."""
    root = tmp_path / "suite"
    (root / "benchmarks").mkdir(parents=True)
    (root / "benchmarks" / "test_a.py").write_text("# old\n")
    (root / "mine.py").write_text("# old\n")
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "old")
    (root / "mine.py").write_text("# new\n")
    (root / "benchmarks" / "test_a.py").write_text("# new\n")
    git(root, "commit", "--quiet", "--all", "-m", "new")
    return root


def test_a_ref_is_laid_out_under_our_measuring_code_and_gone_afterwards(repository: Path) -> None:
    version = find_version("HEAD~1", repository, repository)
    with base_tree(version, repository, repository, [None], BENCHMARKS) as tree:
        assert (tree.root / "benchmarks" / "test_a.py").read_text() == "# old\n"
        assert (tree.root / "fixtures" / "measure" / "case.py").is_file()
        assert tree.counterpart(repository / "mine.py").read_text() == "# old\n"
        assert tree.counterpart(repository / "untracked.py") is None
        assert tree.counterpart(Path("/etc/hostname")) == Path("/etc/hostname")
        assert tree.counterpart(repository / "benchmarks" / "test_a.py") == tree.root / "benchmarks" / "test_a.py"
        temporary = tree.root.parent
        assert len(git(repository, "worktree", "list").splitlines()) == 2
    assert not temporary.exists()
    assert len(git(repository, "worktree", "list").splitlines()) == 1
    assert git(repository, "status", "--porcelain", "--ignored") in ("", "?? results/")


def test_only_another_interpreter_has_the_same_files(repository: Path) -> None:
    with base_tree(None, repository, repository, [None], BENCHMARKS) as tree:
        assert tree.root == repository
        assert tree.counterpart(repository / "mine.py") == repository / "mine.py"
        assert tree.why_lacking(repository / "mine.py", BENCHMARKS[0]) == ""


def test_a_tree_is_removed_when_the_run_breaks(repository: Path) -> None:
    version = find_version("main", repository, repository)
    tree = base_tree(version, repository, repository, [None], BENCHMARKS)
    temporary = tree.__enter__().root.parent
    assert not tree.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert not temporary.exists()
    assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_a_folder_replaces_what_it_holds(repository: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.py").write_text("# other\n")
    version, mine = find_version("../other", repository, repository), repository / "mine.py"
    with base_tree(version, repository, repository, [mine], BENCHMARKS) as tree:
        assert tree.counterpart(mine).read_text() == "# other\n"
        assert (tree.root / "benchmarks" / "test_a.py").read_text() == "# new\n"  # the folder has none of its own


@pytest.mark.parametrize("text", ["no-such-branch", "--upload-pack=x", "HEAD~9"])
def test_what_is_neither_a_folder_nor_a_ref_is_said(repository: Path, text: str) -> None:
    with pytest.raises(TreeError) as error:
        find_version(text, repository, repository)
    assert f"--against: {text!r} is neither a folder nor a git ref" in str(error.value)


def test_model_code_of_another_protocol_is_refused(repository: Path) -> None:
    models = repository / "fixtures" / "models"
    models.mkdir(parents=True)
    (models / "__init__.py").write_text("PROTOCOL = 99\n")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "later")
    version = find_version("HEAD", repository, repository)
    tree = base_tree(version, repository, repository, [None], BENCHMARKS)
    with pytest.raises(TreeError, match=f"is of protocol 99, this checkout's measuring code of {PROTOCOL}"):
        tree.__enter__()
    assert len(git(repository, "worktree", "list").splitlines()) == 1


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return own_repository(tmp_path / "own")


def test_a_ref_is_one_of_the_repository_that_holds_the_file(repository: Path, own: Path) -> None:
    """Here `main~1` exists in both, and in the suite's checkout it would be other code."""
    entry = own / "bench" / "entry.py"
    version = find_version("main~1", repository, repository, [entry])
    assert [checkout.top for checkout in version.checkouts] == [own]
    with base_tree(version, repository, repository, [entry], BENCHMARKS) as tree:
        assert tree.counterpart(own / "src" / "pkg" / "net.py").read_text() == "WIDTH = 100\n"
        assert tree.counterpart(own / "bench").name == "bench"
        assert (tree.root / "benchmarks" / "test_a.py").read_text() == "# new\n"  # the suite stays this version's
        assert tree.why_lacking(entry, BENCHMARKS[0]) == ""


def test_files_of_two_repositories_have_a_ref_in_each(repository: Path, own: Path) -> None:
    entry, mine = own / "bench" / "entry.py", repository / "mine.py"
    version = find_version("main~1", own, own, [entry, mine])
    with base_tree(version, own, own, [entry, mine], BENCHMARKS[:0]) as tree:
        assert tree.counterpart(mine).read_text() == "# old\n"
        assert tree.counterpart(own / "src" / "pkg" / "net.py").read_text() == "WIDTH = 100\n"
    git(own, "branch", "here-only")
    with pytest.raises(TreeError, match=r"git ref of '.*suite', which holds mine.py"):
        find_version("here-only", own, own, [entry, mine])


def test_built_in_models_beside_ones_own_need_the_ref_in_the_suite_too(repository: Path, own: Path) -> None:
    entry = own / "bench" / "entry.py"
    git(own, "tag", "v1")
    with base_tree(find_version("v1", repository, own, [entry]), repository, own, [entry, None], BENCHMARKS) as tree:
        assert tree.why_lacking(entry, BENCHMARKS[0]) == ""
        assert "'v1' is neither a folder nor a git ref of" in tree.why_lacking(None, BENCHMARKS[0])
        assert "-k custom" in tree.why_lacking(None, BENCHMARKS[0])


def test_a_file_outside_of_git_has_no_ref(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(TreeError, match=r"nor a git ref for '.*mine.py': git rev-parse --show-toplevel failed"):
        find_version("main", repository, repository, [tmp_path / "mine.py"])


def test_a_hook_s_variables_do_not_turn_git_to_another_repository(
    repository: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    (checkout,) = find_version("main", repository, repository, [own / "bench" / "entry.py"]).checkouts
    assert checkout.top == own


def test_a_nested_repository_is_its_own(own: Path) -> None:
    """A checkout inside another one, and a repository whose parent folder is one."""
    inner = own / "vendor" / "inner"
    commit(inner, {"model.py": "# inner\n"}, "inner")
    (checkout,) = find_version("main", own, own, [inner / "model.py"]).checkouts
    assert checkout.top == inner


def test_submodules_are_laid_out_as_the_ref_has_them(tmp_path: Path, own: Path) -> None:
    part = tmp_path / "part"
    commit(part, {"part.py": "SIDE = 'old'\n"}, "old")
    git(own, "-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(part), "part")
    git(own, "commit", "--quiet", "-m", "a submodule")
    commit(own / "part", {"part.py": "SIDE = 'new'\n"}, "new")
    entry = own / "bench" / "entry.py"
    with base_tree(find_version("HEAD", own, own, [entry]), own, own, [entry], []) as tree:
        assert tree.counterpart(own / "part" / "part.py").read_text() == "SIDE = 'old'\n"
    assert [len(git(folder, "worktree", "list").splitlines()) for folder in (own, own / "part")] == [1, 1]


@pytest.mark.parametrize(
    ("run_in", "there"), [(".", "bench/entry.py"), ("bench", "bench/entry.py"), ("bench", "entry.py")]
)
def test_a_folder_is_another_version_of_the_repository_or_of_a_part(own: Path, run_in: str, there: str) -> None:
    other, entry = own.parent / "other", own / "bench" / "entry.py"
    (other / there).parent.mkdir(parents=True)
    (other / there).write_text("# other\n")
    with base_tree(find_version(str(other), own, own), own, own / run_in, [entry], BENCHMARKS[:0]) as tree:
        assert tree.counterpart(entry) == other / there
        assert tree.places.side_of(str(own / "src" / "pkg" / "net.py")) == HEAD  # whatever the folder is a version of


def test_what_a_version_lacks_is_named(repository: Path, own: Path) -> None:
    entry, fresh, empty = own / "bench" / "entry.py", own / "bench" / "fresh.py", own.parent / "empty"
    fresh.write_text("")
    empty.mkdir()
    with base_tree(find_version("main", own, own, [fresh]), own, own, [fresh], []) as tree:
        why = tree.why_lacking(fresh, BENCHMARKS[0])
    assert why.endswith(") has no bench/fresh.py: it is not under version control; commit it, or give a folder")
    with base_tree(find_version(str(empty), repository, own), repository, own, [entry, None], BENCHMARKS) as tree:
        assert tree.why_lacking(entry, BENCHMARKS[0]) == f"{empty} has no bench/entry.py"
        assert (
            tree.why_lacking(None, BENCHMARKS[0]) == f"'{empty}' has neither fixtures/models nor benchmarks/test_a.py"
        )
    assert is_tracked(entry)
    assert not is_tracked(fresh)


def test_options_that_name_code_name_the_other_version_s(own: Path) -> None:
    """Pipelines and a metric of one's own; data is the same for both. A version without one pipeline has no contest."""
    for name in ("slow.py", "quick.py", "metric.py", "labels.csv"):
        (own / name).write_text("load = print")
    given = {"metric": "metric.py:score", "labels": "labels.csv"}
    settings = settings_from({**DEFAULTS, "candidate": ["quick.py"], "baseline_module": "slow.py"}.get, own, lambda: 0)
    with base_tree(find_version("main", own, own, [own / "slow.py"]), own, own, [own / "slow.py"], []) as tree:

        def there(path: Path) -> Path:
            return tree.place_for(path) or path

        top = there(own)
        always = {f"--metric={top / 'metric.py:score'}", f"--labels={own / 'labels.csv'}"}
        assert set(child_arguments(OPTIONS, given.get, own, there)) == always
        assert not any("module" in each for each in suite_options({}.get, settings, tree))
        for name in ("slow.py", "quick.py"):
            (top / name).write_text("")
        modules = {f"--candidate={top / 'quick.py'}", f"--baseline-module={top / 'slow.py'}"}
        assert modules <= set(suite_options({}.get, settings, tree))


def told(side: str, sources: dict[str, str]) -> CaseRun:
    return CaseRun(side, 0, "a", "finished", finished=Finished("a", "passed", "", 1.0, sources=sources))


def test_the_code_of_both_sides_is_told_in_one_line() -> None:
    code = Code()
    assert str(code) == ""
    code.add(told(HEAD, {"/p/bench/a.py": "1", "/p/src/b.py": "2"}))
    assert str(code) == ""  # nothing is known of the other side
    assert not code.is_same
    code.add(told(BASE, {"/p/bench/a.py": "1"}))
    assert str(code) == "the sides differ in 1 file: src/b.py; 1 file the same on both"
    code.add(told(BASE, {"/p/src/b.py": "2"}))
    assert str(code) == "both sides are the same code: 2 files, bench/a.py, src/b.py"
    assert code.files()["src/b.py"] == {BASE: "2", HEAD: "2"}
