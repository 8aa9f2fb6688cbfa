"""docs/options.md and docs/fields.md, made of the option table and of the record: `make docs`. A test compares them."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

from fixtures.files.writing import write_atomically
from fixtures.options import OPTIONS
from fixtures.record.fields import Meaning
from fixtures.record.record import GROUPS, MEANINGS, Record
from fixtures.show.markdown import table

DOCS = Path(__file__).parent.parent / "docs"
_OPTIONS = """# Options

Made by `make docs` of `fixtures/options.py`; `pytest benchmarks --help` shows them under "model benchmarks".

"""
_FIELDS = """# Fields of a record

Made by `make docs` of `fixtures/record/groups.py` and `asked.py`. A record is `extra_info` of each benchmark in the
saved JSON; what was not measured is `null`, and `notes` says why. `--gate`, `--columns`, `--budget`,
`history --metric` and the page take any number here. Kinds: *setting* was chosen; *counted* and *quality* are the same
in every run of the same code and compared exactly; *time* and *rate* follow the machine's speed; *measured* varies with
whatever else; *machine* is of the machine and not of the case; *text* and *bulk* are no numbers.

"""


def options() -> str:
    """A row an option."""
    rows = [(each.name, each.metavar or "", each.help.replace("%%", "%")) for each in OPTIONS]
    headings = ("option", "value", "what it does")
    return f"{_OPTIONS}{table(headings, rows, headings)}\n"


def _row(name: str, kind: str, meaning: Meaning) -> tuple[str, ...]:
    better = meaning.better if meaning.is_number and meaning.kind != "machine" else ""
    return name, kind, meaning.unit, meaning.kind, better, meaning.measured_by


def record_fields() -> str:
    """A table a group."""
    types = {each.name: str(each.type) for each in fields(Record)}
    headings = ("field", "type", "unit", "kind", "better", "measured by")
    parts = []
    for group in GROUPS:
        rows = [_row(name, types[name].replace("|", "or"), MEANINGS[name]) for name in group.names()]
        parts.append(f"## {group.__name__}\n\n{group.__doc__}\n\n{table(headings, rows, headings)}\n")
    return _FIELDS + "\n".join(parts)


def main() -> int:
    """Write both."""
    for name, text in {"options.md": options(), "fields.md": record_fields()}.items():
        write_atomically(DOCS / name, text.encode())
        print(f"wrote {DOCS / name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
