"""One run of own models that is killed and then resumed as its user would, and what that lost or left.

It has a copy of the suite, a repository and a temporary folder of its own, so that all that is left is its own.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from fixtures.files.scratch import git
from fixtures.workers.journal import Journal

_ROOT = Path(__file__).parent.parent
_NAMES = ("n0", "n1", "n2")
MODES = {
    "plain": [],
    "isolate": ["--isolate"],
    "processes": ["--processes=2"],
    "against": ["--against=HEAD", "--processes=1"],
}
# Processes in which a mode measures each case.
_MEASURED_IN = {"plain": 1, "isolate": 1, "processes": 2, "against": 2}
_MARK = "KILL_CHECK"
# Kept by torch for the user's next run.
_CACHES_OF_TORCH = "torchinductor_"
_LONGEST_S, _DYING_S = 180.0, 5.0
_MODELS = """
import os, time
from torch import nn

class Net(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.name, self.layer, self.is_noted = name, nn.Linear(8, 8), False

    def forward(self, x):
        if not self.is_noted:
            self.is_noted = True
            with open(os.environ["KILL_CHECK"] + ".log", "a") as log:
                log.write(f"{self.name} {os.getpid()}\\n")
        time.sleep(0.01)
        return self.layer(x[..., :8])

def n0(): return Net("n0")
def n1(): return Net("n1")
def n2(): return Net("n2")
"""


@dataclass
class Trial:
    """One run that was killed.

    Attributes:
        moment_s: from the start of the run.
        victim: the process that the user started, or one of those below it.
        codes: exit codes, of the killed run first.
        finished: results that were there before the signal.
    """

    mode: str
    victim: str
    signal: str
    moment_s: float
    codes: list[int] = field(default_factory=list)
    finished: int = 0
    faults: list[str] = field(default_factory=list)


class Place:
    """Where a trial lies, and what it comes to."""

    def __init__(self, folder: Path, trial: Trial) -> None:
        self.folder, self.trial = folder, trial
        self.suite, self.project, self.temporary = folder / "suite", folder / "project", folder / "tmp"
        self.log, self.json, self.mark = folder / "mark.log", folder / "out.json", str(folder / "mark")
        for name in ("fixtures", "benchmarks"):
            shutil.copytree(_ROOT / name, self.suite / name)
        shutil.copy2(_ROOT / "pytest.ini", self.suite)
        self.project.mkdir()
        self.temporary.mkdir()
        self.log.touch()
        (self.project / "nets.py").write_text(_MODELS, encoding="utf-8")
        for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Models"]):
            git(self.project, "-c", "user.name=check", "-c", "user.email=check@localhost", *words)

    def start(self, *more: str) -> tuple[subprocess.Popen[bytes], Path]:
        """The run, in a session of its own as from another terminal, and the file with its output."""
        output = self.folder / f"output{len(self.trial.codes)}"
        options = [
            "--batch=1",
            "--iters=8",
            "--warmup=1",
            "--imgsz=32",
            "--num-images=2",
            # A line a case, without what -v says of failures at length.
            "--override-ini=verbosity_test_cases=1",
            f"--benchmark-json={self.json}",
        ]
        models = [f"--model=nets.py:{name}" for name in _NAMES]
        test = str(self.suite / "benchmarks" / "test_custom.py")
        command = [sys.executable, "-m", "pytest", test, *models, *options, *MODES[self.trial.mode], *more]
        environment = {**os.environ, "TMPDIR": str(self.temporary), _MARK: self.mark, "PYTHONUNBUFFERED": "1"}
        with output.open("wb") as stream:
            started = subprocess.Popen(  # noqa: S603 - no shell
                command, cwd=self.project, env=environment, stdout=stream, stderr=stream, start_new_session=True
            )
        return started, output

    def end(self, started: subprocess.Popen[bytes], output: Path) -> str:
        """Wait for it; what it printed."""
        try:
            self.trial.codes.append(started.wait(_LONGEST_S))
        except subprocess.TimeoutExpired:
            self.fault("hangs")
            started.kill()
            self.trial.codes.append(started.wait())
        text = output.read_text(encoding="utf-8", errors="replace")
        for word in ("INTERNALERROR", "Traceback (most recent"):
            # Before pytest's first line Python is still starting: its own words, and nothing to keep.
            if word in text and "test session starts" in text:
                self.fault(f"{word}: {text[text.index(word) :][:600]}")
        if self.trial.mode == "against" and (false := re.search(r"^(REGRESSION|improved) .*", text, re.MULTILINE)):
            self.fault(f"verdict on equal code: {false[0]}")
        return text

    def fault(self, text: str) -> None:
        """Note it, without the paths of this machine, since the file is committed."""
        self.trial.faults.append(text.replace(str(self.suite), "…").replace(sys.base_prefix, "…"))

    def journals(self) -> list[Path]:
        return list((self.suite / "results" / "unfinished").glob("*.jsonl"))

    def kept(self) -> Counter[str]:
        """Results in the journal, by model."""
        found: Counter[str] = Counter()
        for path in self.journals():
            with suppress(OSError, ValueError):
                # One that a process ended in is none: where others of its case finished, it is measured anew.
                found.update(_model(run.nodeid) for run in Journal(path).read()[1] if run.finished is not None)
        return found

    def saved(self) -> set[str]:
        content = json.loads(self.json.read_bytes()) if self.json.exists() else {"benchmarks": []}
        return {each["extra_info"]["model"] for each in content["benchmarks"]}

    def measured(self) -> Counter[str]:
        """In how many processes each model has run so far."""
        return Counter(line.split()[0] for line in set(self.log.read_text().splitlines()))

    def marked(self) -> list[psutil.Process]:
        """Processes that were started for this trial and run."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get(_MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found


def _model(nodeid: str) -> str:
    return nodeid.partition("[")[2].partition("-")[0]


def _told(text: str, words: str) -> set[str]:
    return set(re.findall(rf"test_forward\[(n\d)-[^\]]*\] (?:{words})", text))


def _check_left(place: Place) -> None:
    """Nothing may be left once the last run has ended."""
    deadline_s = time.monotonic() + _DYING_S
    while (left := place.marked()) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    for process in left:
        place.fault(f"process left: {process.pid} {process.name()}")
        process.kill()
    worktrees = git(place.project, "worktree", "list", "--porcelain").stdout.count("worktree ")
    if worktrees != 1:
        place.fault(f"worktrees left: {worktrees - 1}")
    mine = [path for path in place.temporary.iterdir() if not path.name.startswith(_CACHES_OF_TORCH)]
    files = [*mine, *place.suite.rglob("*.tmp"), *place.folder.glob(".*"), *place.journals()]
    for path in [*files, *place.project.rglob("*.tmp")]:
        place.fault(f"left: {path.relative_to(place.folder)}")


def _resume(place: Place) -> str:
    """Go on with what is kept, or begin anew where nothing is: what that printed."""
    kept, before = place.kept(), place.measured()
    text = place.end(*place.start(*(["--resume"] if place.journals() else [])))
    for name, count in (place.measured() - before).items():
        if count > _MEASURED_IN[place.trial.mode] - kept[name]:
            place.fault(f"{name} measured twice: in {count} processes, {kept[name]} results were kept")
    return text


def killed(place: Place, rng: random.Random, number: signal.Signals) -> bool:
    """Run, kill, go on, look; False where the run had ended before the signal came."""
    trial = place.trial
    started, output = place.start()
    with suppress(subprocess.TimeoutExpired):
        started.wait(trial.moment_s)
    try:
        parent = psutil.Process(started.pid)
        below = parent.children(recursive=True)
    except psutil.NoSuchProcess:
        return False
    victim = rng.choice(below) if trial.victim == "child" and below else parent
    trial.victim = "child" if victim.pid != started.pid else "parent"
    finished = place.kept() | Counter(_told(output.read_text(errors="replace"), "PASSED"))
    if started.poll() is not None:
        return False
    with suppress(psutil.NoSuchProcess):
        victim.send_signal(number)
    trial.finished = finished.total()
    text = place.end(started, output)
    is_safe = place.kept() | Counter(dict.fromkeys(place.saved(), _MEASURED_IN[trial.mode]))
    for name in finished - is_safe:
        place.fault(f"{name} was finished and is lost")
    if place.journals() or not place.saved() | _told(text, "FAILED|ERROR") >= set(_NAMES):
        text = _resume(place)
    if missing := set(_NAMES) - place.saved() - _told(text, "FAILED|ERROR"):
        place.fault(f"without a result: {sorted(missing)}")
    _check_left(place)
    return True


def undisturbed_s(mode: str) -> float:
    """How long a run takes that nobody kills."""
    with tempfile.TemporaryDirectory(prefix="kill-check-") as name:
        place = Place(Path(name), Trial(mode, "nobody", "none", 0.0))
        began_s = time.monotonic()
        text = place.end(*place.start())
        took_s = time.monotonic() - began_s
        _check_left(place)
        if place.trial.faults or place.saved() != set(_NAMES) or set(place.measured().values()) != {_MEASURED_IN[mode]}:
            raise SystemExit(f"{mode}, undisturbed: {place.trial.faults}, {place.measured()}\n{text[-3000:]}")
    return took_s
