"""Reports for tests: made of a folder of saved runs, and their tables read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

from selenium.webdriver import Chrome

from fixtures.report.__main__ import main


def all_tables(text: str) -> dict[str, list[list[dict[str, str]]]]:
    """Rows by heading, of every table of each section."""
    found = {}
    for part in text.split("\n## ")[1:]:
        title, *blocks = part.strip().split("\n\n")
        found[title] = [_rows(block.splitlines()) for block in blocks if block.startswith("| ")]
    return found


def _rows(lines: list[str]) -> list[dict[str, str]]:
    headings, _, *rows = ([cell.strip() for cell in line.strip("|").split(" | ")] for line in lines)
    return [dict(zip(headings, row, strict=True)) for row in rows]


def markdown_tables(text: str) -> dict[str, list[dict[str, str]]]:
    """The same of the first table of each section, which has no rows where there is none."""
    return {title: tables[0] if tables else [] for title, tables in all_tables(text).items()}


def report_on(folder: Path, *options: str) -> str:
    """The text of a report, whose charts nobody draws: they take longer than all the rest."""
    with patch("fixtures.report.build._charts", lambda report: iter(())):
        assert main([str(folder), "--out", str(folder / "out"), *options]) == 0
    return (folder / "out" / "report.md").read_text()


def shown(page: Chrome, table: str = "table") -> list[dict[str, Any]]:
    """Rows of a table as they stand there, filtered and sorted."""
    return page.execute_script(f"return window.report.{table}.getData('active')")
