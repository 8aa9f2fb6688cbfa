"""What a check measured, against what it may be at most: printed, saved, and shown in the README."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fixtures.devices.host import describe_host


@dataclass(frozen=True)
class Finding:
    """One number, what it may be at most, and how it was taken."""

    name: str
    value: float
    limit: float
    unit: str
    detail: str

    @property
    def passed(self) -> bool:
        return self.value <= self.limit


def conclude(findings: Sequence[Finding], title: str, path: Path) -> int:
    """Print and save them; 0 when every limit holds, else 1."""
    table = Table("what", "measured", "limit", "", "how", title=title)
    for finding in findings:
        verdict = "[green]ok[/]" if finding.passed else "[red]over[/]"
        numbers = (f"{finding.value:.3g} {finding.unit}", f"{finding.limit:g} {finding.unit}")
        table.add_row(finding.name, *numbers, verdict, finding.detail)
    console = Console()
    console.print(table)
    saved = {"machine": describe_host(), "findings": [asdict(finding) for finding in findings]}
    partial = path.with_suffix(".tmp")
    partial.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
    console.print(f"Wrote {path}")
    return 0 if all(finding.passed for finding in findings) else 1


def findings_markdown(path: Path) -> str:
    """What was saved last as a Markdown table."""
    rows = [Finding(**finding) for finding in json.loads(path.read_text(encoding="utf-8"))["findings"]]
    lines = [f"| {r.name} | {r.value:.3g} {r.unit} | {r.limit:g} {r.unit} | {r.detail} |" for r in rows]
    return "\n".join(["| what | measured | limit | how |", "|---|---:|---:|---|", *lines])
