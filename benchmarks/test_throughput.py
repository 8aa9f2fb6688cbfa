"""Throughput: what a model does in ten seconds at a given batch, and the batch that pays most.

Run when this file is named, or with --throughput. Add a shape: --batch / --imgsz. Nothing else changes.
"""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.opt_in("throughput"), pytest.mark.family("clip", "sam", "blip2", "yolo", "custom")]

WINDOW_S = 10.0


def test_window(main_call, main_batches, measure) -> None:
    """Calls one after another, not waited for one by one: `qps_window_per_s`."""
    measure(main_call, main_batches, window_s=WINDOW_S)


def test_best_batch(main_call, main_batches_of, find_best_batch, measure) -> None:
    """The batch is doubled until memory runs out or that gains less than 3 %, then refined; measured at the best."""
    found = find_best_batch(main_call, main_batches_of)
    batch = found[0].best_batch
    measure(main_call, main_batches_of(batch), batch=batch, found=lambda: found)
