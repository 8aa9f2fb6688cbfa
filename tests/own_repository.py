"""A repository of a user's own: a package in a `src` layout, model files beside it, two commits that differ in it."""

from __future__ import annotations

import subprocess
from pathlib import Path

WIDTHS = (100, 110)  # of the older and the newer commit
_ENTRY = """
from torch import nn

import near
from pkg.net import WIDTH

class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(4, width)

    def forward(self, x):
        return self.linear(x[..., :4])

def net():
    return Net(WIDTH)
"""
# As setuptools writes it for `pip install -e .`, without what it does for namespaces and resources.
_FINDER = """
import sys
from importlib.util import spec_from_file_location
from pathlib import Path

MAPPING = {{"pkg": {package!r}}}

class _EditableFinder:
    @classmethod
    def find_spec(cls, fullname, _path=None, _target=None):
        if fullname in MAPPING:
            return spec_from_file_location(fullname, Path(MAPPING[fullname], "__init__.py"))
        return None

def install():
    if not any(finder == _EditableFinder for finder in sys.meta_path):
        sys.meta_path.append(_EditableFinder)
"""


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, files: dict[str, str], message: str) -> None:
    """Write these and commit them; makes the repository first, if need be."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", message)


def own_repository(folder: Path) -> Path:
    """`bench/entry.py:net` imports its neighbour and `src/pkg`, whose layer got a tenth wider."""
    for width in WIDTHS:
        files = {
            "src/pkg/__init__.py": "",
            "src/pkg/net.py": f"WIDTH = {width}\n",
            "bench/near.py": "",
            ".gitignore": "__pycache__/\n",
        }
        commit(folder, {**files, "bench/entry.py": _ENTRY}, f"{width} wide")
    return folder


def installed_editable(repository: Path, site: Path, finder: bool) -> None:
    """What an editable install of the repository leaves in a site-packages: a finder, or a line with its path."""
    site.mkdir(parents=True, exist_ok=True)
    line = str(repository / "src")
    if finder:
        line = "import __editable___pkg_finder; __editable___pkg_finder.install()"
        (site / "__editable___pkg_finder.py").write_text(_FINDER.format(package=str(repository / "src" / "pkg")))
    (site / "__editable__.pkg.pth").write_text(line + "\n")
