"""The record is complete against the contract, and comes back from JSON as it went."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

from fixtures.record.decoding import RecordError, record_from
from fixtures.record.groups import RECORD_VERSION
from fixtures.record.record import MEANINGS, Record

# Field names are contracts: CI scripts and saved baselines rely on them.
_FIELDS = """
model family task weights record_version batch imgsz precision device runtime threads seed inputs_digest inputs_count
warmup iters params params_trainable weights_bytes gmacs gflops flops_counter flops_uncounted_ops
latency_mean_ms latency_std_ms latency_min_ms latency_max_ms latency_p50_ms latency_p90_ms latency_p95_ms
latency_p99_ms latency_per_sample_ms latency_clock wall_p50_ms enqueue_p50_ms launch_bound
throughput_mean_per_s throughput_p50_per_s throughput_unit
device_before_load_bytes device_model_bytes device_allocated_bytes device_reserved_bytes
peak_device_allocated_bytes peak_device_reserved_bytes host_before_bytes peak_host_bytes load_s first_call_ms
flags output_digest output_finite
"""
CONTRACT = _FIELDS.split()


def test_every_field_of_the_contract_is_there() -> None:
    assert set(CONTRACT) <= {field.name for field in fields(Record)}


def test_a_record_survives_json(record: Record) -> None:
    record = replace(record, flags=("drift",), gflops=None, notes=("gflops: not countable",))
    assert record_from(json.loads(json.dumps(record.extra_info()))) == record


MAY_BE_NULL = [each.name for each in fields(Record) if each.type in ("int | None", "float | None")]


@pytest.mark.parametrize("name", MAY_BE_NULL)
def test_a_number_that_cannot_be_is_not_written(record: Record, name: str) -> None:
    """A difference of two measurements came out below zero, and the file of the whole run was unreadable."""
    info = replace(record, **{name: -5}).extra_info()
    assert info[name] == (-5 if MEANINGS[name].sign == "any" else None)
    assert (f"{name}: cannot be (-5)" in info["notes"]) is (info[name] is None)
    assert getattr(record_from(json.loads(json.dumps(info))), name) == info[name]


def test_plain_pytest_benchmark_has_no_record() -> None:
    with pytest.raises(RecordError, match="no record"):
        record_from({})


def test_a_newer_record_is_refused(record: Record) -> None:
    info = {**record.extra_info(), "record_version": RECORD_VERSION + 1}
    with pytest.raises(RecordError, match=f"record version {RECORD_VERSION + 1} is newer than {RECORD_VERSION}"):
        record_from(info)


def test_a_damaged_record_is_refused(record: Record) -> None:
    with pytest.raises(RecordError, match=r"damaged record: .*latency_p50_ms"):
        record_from({**record.extra_info(), "latency_p50_ms": "fast"})


def test_peak_is_the_devices_where_it_has_memory(record: Record) -> None:
    assert record.peak_bytes == 700 * 2**20
    assert replace(record, peak_device_allocated_bytes=5).peak_bytes == 5
