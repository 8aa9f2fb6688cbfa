"""Tables on narrow terminals: what cannot fold is never cut."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.table import Table

from fixtures.record.record import Record
from fixtures.show.table import flag_letters, table_text
from fixtures.show.terminal import printed

FLAGS = ("throttled", "host_busy", "drift", "unstable")


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
def test_numbers_stand_whole_and_what_is_long_folds(width: int) -> None:
    table = Table(title="a title [red]", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("case", "p50\nms", "why", "flags"):
        table.add_column(heading)
    table.add_row("image_encoder[clip-vit-b32-fp32-b1-224]", "14598.28", "the machine was busy :smile:", "TFQBDU")
    lines = printed(table, {"case": 6, "why": 4}, width).splitlines()
    assert max(map(len, lines)) <= max(width, 6 + 8 + 4 + 6 + 4)
    assert any("14598.28" in line and line.endswith("TFQBDU") for line in lines)
    joined = "".join("".join(lines).split())
    assert "[red]" in joined
    assert all(character in joined for character in "image_encoder[clip-vit-b32-fp32-b1-224]")


@pytest.mark.parametrize("width", range(60, 160))
def test_flags_and_their_heading_stand_whole_in_every_width(record: Record, width: int) -> None:
    flagged = replace(record, flags=FLAGS, runtime="onnxruntime", workload="non_max_suppression")
    lines = table_text([record, flagged], width).splitlines()
    assert any(line.endswith(" flags") for line in lines)
    assert any(line.endswith(f" {flag_letters(flagged.told_flags)}") for line in lines)


def test_a_narrow_terminal_still_tells_rows_apart(record: Record) -> None:
    """At 80 columns what identifies a row stays, and less needed numbers go."""
    text = table_text([record, replace(record, precision="fp16", imgsz=320)], 80)
    assert "fp16" in text
    assert " 320 " in text
