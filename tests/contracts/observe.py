"""What every reading command says of the committed saved files; `python -m tests.contracts.observe` pins it anew.

Run it only where an answer of today is wrong, and say why in that commit.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from fixtures import gate
from fixtures.history import __main__ as history
from fixtures.judge.gating import judge_saved
from fixtures.judge.rules import parse_rule
from fixtures.record.saved import read_saved
from fixtures.report import __main__ as report
from fixtures.show import __main__ as show

HERE = Path(__file__).parent
EXPECTED = HERE / "expected"
ROOT = HERE.parent.parent
_JSON_TYPES = {
    str: "text",
    bool: "bool",
    int: "number",
    float: "number",
    type(None): "null",
    list: "list",
    dict: "object",
}
_RULES = (
    "latency_p50_ms:5%",
    "params",
    "gflops",
    "peak_host_bytes:10%",
    "throughput_p50_per_s:5%",
    "latency_p50_ms<=50",
)


def committed() -> dict[str, Path]:
    """Every JSON of results/ and those beside this file, by the name under which it is pinned."""
    files = [
        *(ROOT / "results").glob("*.json"),
        *(ROOT / "results" / "variants").glob("*.json"),
        *(HERE / "saved").rglob("*.json"),
    ]
    return {file.stem if file.parent.name != "history" else f"history-{file.stem}": file for file in sorted(files)}


def saved_runs() -> dict[str, Path]:
    """Those of them that pytest-benchmark saved."""
    return {name: file for name, file in committed().items() if "benchmarks" in json.loads(file.read_bytes())}


def _said(main: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> str:
    """Exit code, standard output and standard error of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    text = f"exit code {code}\n--- stdout\n{out.getvalue()}--- stderr\n{err.getvalue()}"
    return text.replace(f"{ROOT}/", "")


def _ids_and_fields(file: Path) -> str:
    """Test ids, and of every field of their records the JSON types that its values have."""
    content = json.loads(file.read_bytes())
    types: dict[str, set[str]] = {}
    for each in content["benchmarks"]:
        for name, value in each["extra_info"].items():
            types.setdefault(name, set()).add(_JSON_TYPES[type(value)])
    ids = [each["fullname"] for each in content["benchmarks"]]
    fields = {name: " or ".join(sorted(found)) for name, found in sorted(types.items())}
    return json.dumps({"keys": sorted(content), "ids": ids, "fields": fields}, indent=1) + "\n"


def _pytest(*arguments: str) -> list[str]:
    """What pytest prints in this checkout."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env={**environment, "COLUMNS": "100"}, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def _options() -> str:
    """Names of the suite's options, as --help lists them."""
    lines = _pytest("benchmarks", "--help")
    own = lines[next(i for i, line in enumerate(lines) if line.startswith("model benchmarks")) + 1 :]
    own = own[: next(i for i, line in enumerate(own) if line and not line.startswith(" "))]
    return "".join(f"{found[1]}\n" for line in own if (found := re.match(r"  (--[a-z0-9-]+)", line)))


def _collected(*arguments: str) -> str:
    lines = _pytest("benchmarks", "--collect-only", "-q", "--device=cpu", *arguments)
    return "".join(f"{line}\n" for line in lines if "::" in line)


def _csv(file: Path) -> str:
    with TemporaryDirectory() as folder:
        target = Path(folder, "out.csv")
        said = _said(show.main, [str(file), "--csv", str(target)])
        return said + target.read_text(encoding="utf-8")


def _gate_json(base: Path, head: Path) -> str:
    """As a run writes it into its own file."""
    ours = read_saved(head)
    rules = [parse_rule(text) for text in _RULES]
    judged = judge_saved([read_saved(base)], ours.records, ours.environment, rules, failed=ours.failed)
    verdicts = [{**asdict(verdict), "rule": str(verdict.rule)} for verdict in judged.verdicts]
    return json.dumps({"method": asdict(judged.method), "verdicts": verdicts}, indent=1) + "\n"


def _gated(base: Path, head: Path) -> str:
    with TemporaryDirectory() as folder:
        target = Path(folder, "summary.md")
        rules = [f"--gate={rule}" for rule in _RULES]
        said = _said(gate.main, [str(base), str(head), *rules, f"--gate-summary={target}"])
        summary = target.read_text(encoding="utf-8") if target.exists() else ""
        return f"{said}--- summary\n{summary}"


def _history(*arguments: str) -> str:
    return _said(history.main, list(arguments))


def _report_csv(folder: Path, form: str) -> str:
    with TemporaryDirectory() as out:
        said = _said(report.main, [str(folder), f"--export={form}={out}/x"])
        written = [path for path in sorted(Path(out).rglob("*")) if path.is_file()]
        files = "".join(f"--- {path.relative_to(out)}\n{path.read_text(encoding='utf-8')}" for path in written)
        return said.replace(out, "OUT") + files


def observations() -> Iterator[tuple[str, Callable[[], str]]]:
    """Names of what is pinned, and how to see it."""
    runs, others = saved_runs(), committed()
    for name, file in runs.items():
        yield f"{name}.fields.json", lambda file=file: _ids_and_fields(file)
        yield f"{name}.show.md", lambda file=file: _said(show.main, [str(file), "--markdown"])
        yield f"{name}.csv", lambda file=file: _csv(file)
    for name in ("pooled", "budgets", "speedups"):
        yield f"{name}.gate.txt", lambda file=runs[name]: _gated(file, file)
    for name in sorted(others.keys() - runs.keys()):
        yield f"{name}.show.md", lambda file=others[name]: _said(show.main, [str(file), "--markdown"])
        yield f"{name}.gate.txt", lambda file=others[name]: _gated(file, file)
    for name in ("speedups", "speedup-yolov8n"):
        yield f"{name}.speedup.md", lambda file=runs[name]: _said(show.main, [str(file), "--speedup", "--markdown"])
        yield f"{name}.speedup.txt", lambda file=runs[name]: _said(show.main, [str(file), "--speedup"])
    epyc, xeon = (runs[name] for name in sorted(runs) if name.endswith(("20261120", "20261121")))
    pairs = {
        "two-machines": (epyc, xeon),
        "two-runs": (runs["history-0003"], runs["budgets"]),
        "processes": (runs["pooled"], runs["history-0001"]),
        "missing": (runs["budgets"], runs["history-0002"]),
    }
    for name, (base, head) in pairs.items():
        yield f"{name}.gate.txt", lambda base=base, head=head: _gated(base, head)
        yield f"{name}.gate.json", lambda base=base, head=head: _gate_json(base, head)
    yield "no-file.gate.txt", lambda: _gated(Path("nowhere.json"), epyc)
    yield "no-file.show.md", lambda: _said(show.main, ["nowhere.json"])
    folder = str(HERE / "saved" / "history")
    yield "history.txt", lambda: _history(folder)
    yield "history-trend.txt", lambda: _history(folder, "--case=forward", "--metric=latency_p50_ms")
    yield "history-mistake.txt", lambda: _history(folder, "--metric=latency")
    yield "options.txt", _options
    yield "collected.txt", _collected
    variants = ("--batch=2", "--runtime=eager,compile,onnxruntime", "--prune=0,0.5")
    yield "collected-variants.txt", lambda: _collected(*variants)
    for form in ("bench", "bencher", "github-action-benchmark", "csv"):
        yield f"export-{form}.txt", lambda form=form: _report_csv(HERE / "saved" / "history", form)


def main() -> None:
    """Write what is seen now as what is expected."""
    EXPECTED.mkdir(exist_ok=True)
    names = set()
    for name, see in observations():
        (EXPECTED / name).write_text(see(), encoding="utf-8")
        names.add(name)
    for stale in EXPECTED.iterdir():
        if stale.name not in names:
            stale.unlink()


if __name__ == "__main__":
    main()
