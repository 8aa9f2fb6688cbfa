"""The history: what is in it is what was saved, whoever writes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fixtures.history.__main__ import main
from fixtures.history.series import Series, read_history, series_of
from fixtures.report.charts.trend import trend_figure
from tests.saved import H200, detectors, save, timed

P50 = ["latency_p50_ms"]
DAY = datetime(2026, 1, 1, tzinfo=UTC)


def save_day(folder: Path, day: int, p50_ms: float, **changes: object) -> None:
    record = timed(p50_ms, replace(detectors()[0], **changes))  # type: ignore[arg-type]
    taken = (DAY + timedelta(days=day)).isoformat()
    save(folder / f"{day + 1:04}_run.json", [record], taken=taken, commit=f"{day:08x}" + "0" * 32, rounds=10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve runs of one case, from the ninth on 20 % slower and with other parameters."""
    for day in range(12):
        late = day >= 8
        save_day(
            tmp_path, day, (48.0 if late else 40.0) * (1 + 0.002 * (day % 3)), params=2_100_000 if late else 2_000_000
        )
    return tmp_path


def test_shifts_are_listed_with_the_commits_between_which_they_came(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder)]) == 0
    out = capsys.readouterr().out
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert any(
        row.startswith("2026-01-09 00000007..00000008 forward[small-fp32-b1-640] AMD EPYC latency_p50_ms 40.08 48.1")
        and row.endswith("8, 4")
        for row in rows
    )
    assert any("params 2,000,000 2,100,000 +5.0 %" in row for row in rows)
    assert rows[-1].startswith("2 shifts of at least 2 % in 5 series of 12 runs")


def test_a_trend_is_shown_and_drawn(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(folder), "--case=small"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert out.count("_run") == 12
    assert "+20." in out
    assert main([*arguments, f"--chart={folder / 'trend.svg'}"]) == 0
    assert (folder / "trend.svg").read_text().startswith("<?xml")
    (found,) = series_in(folder)
    (axes,) = trend_figure(found).axes
    levels = [list(line.get_ydata()) for line in axes.lines if line.get_linewidth() == 2 and line.get_marker() != "o"]  # type: ignore[arg-type]
    assert levels == [pytest.approx([40.08] * 2), pytest.approx([48.096] * 2, rel=1e-3)]
    assert [text.get_text() for text in axes.texts] == ["+20.1 %"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metric=latency"], "--metric: no number of a record is called 'latency'; did you mean latency_"),
        (["--last=-3"], "--last: expected 1 or more, --least: 0 or more, got -3 and 2"),
        (["--least=nan"], "--last: expected 1 or more, --least: 0 or more, got 20 and nan"),
        (
            ["--case=small", "--metric=latency_p99_ms"],
            "--case: no case of 12 runs contains 'small', or none of them has latency_p99_ms",
        ),
        (["--case=nothing"], "--case: no case of 12 runs contains 'nothing'"),
        (["--chart=x.svg"], "--chart: say of which case, with --case=TEXT"),
        (["--case=small", "--chart=x.gif"], "--chart: expected a file that ends in .svg or .png, got 'x.gif'"),
        (
            ["--case=small", "--metric=params", "--metric=gflops", "--chart=x.svg"],
            "--chart: one series is drawn, and 2 match",
        ),
    ],
)
def test_mistakes_are_said(
    folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder), *arguments]) == 2
    assert f"history: {message}" in capsys.readouterr().err


def test_a_folder_that_is_not_there_or_holds_no_run_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nothere")]) == 2
    assert "no folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty")]) == 2
    assert "no saved run in" in capsys.readouterr().err


def series_in(folder: Path) -> list[Series]:
    return series_of(read_history([folder], P50)[0], P50)


def values(folder: Path) -> dict[str, list[float]]:
    return {series.case + series.machine: list(series.values) for series in series_in(folder)}


def test_it_follows_the_files(folder: Path) -> None:
    ((case, before),) = values(folder).items()
    assert len(before) == 12
    (folder / "0001_run.json").unlink()
    assert values(folder) == {case: before[1:]}  # nothing new, one gone
    save_day(folder, 11, 99.0, params=2_100_000)
    save_day(folder, 12, 77.0, params=2_100_000)
    assert values(folder) == {case: [*before[1:11], 99.0, 77.0]}
    size = (folder / "0013_run.json").stat().st_size
    save_day(folder, 12, 78.0, params=2_100_000)
    while (folder / "0013_run.json").stat().st_size < size:  # another value, the same number of bytes
        with (folder / "0013_run.json").open("a") as stream:
            stream.write(" ")
    assert values(folder) == {case: [*before[1:11], 99.0, 78.0]}
    (folder / "0002_run.json").rename(folder / "zzz.json")  # the order is that of time
    assert values(folder) == {case: [*before[1:11], 99.0, 78.0]}
    assert len(read_history([folder], P50)[0]) == 12


def test_a_series_is_of_one_machine_with_equal_inputs_weights_and_threads(folder: Path) -> None:
    save_day(folder, 12, 40.0, device_name="Intel Xeon")
    save_day(folder, 13, 40.0, threads=1)
    save_day(folder, 14, 40.0, weights="file:best.pt:0123456789ab")
    assert sorted(len(series.values) for series in series_in(folder)) == [1, 1, 1, 12]
    gpu = replace(detectors()[0], device="cuda:0", device_name="NVIDIA H200")
    for capability in ("9.0", "9.1"):
        save(folder / f"{capability}.json", [gpu], machine={**H200, "gpu_capability": capability})
    assert sorted(len(series.values) for series in series_in(folder)) == [1, 1, 1, 1, 1, 12]


def test_series_are_in_the_order_of_cases_then_machines_then_metrics(tmp_path: Path) -> None:
    small, *_, large = sorted(detectors(), key=lambda record: record.model)
    for day, (record, machine) in enumerate(((large, "B"), (small, "B"), (large, "A"), (small, "A"))):
        save(tmp_path / f"{day}.json", [replace(record, device_name=machine)], taken=f"2026-01-0{day + 1}")
    found = series_of(read_history([tmp_path], ["latency_p50_ms", "params"])[0], ["params", "latency_p50_ms"])
    order = [(each.case, each.machine, each.metric) for each in found]
    assert len(order) == 8
    assert order == sorted(order, key=lambda each: (each[0], each[1], each[2] != "params"))


def test_a_series_goes_on_where_the_code_that_makes_the_weights_changed(tmp_path: Path) -> None:
    """Their digest changes with every layer; other files are other models."""
    for day, weights in enumerate(("file:mine.py:0a", "file:mine.py:0b", "file:mine.py:0c", "file:other.py:0c")):
        save_day(tmp_path, day, 40.0, weights=weights)
    assert sorted(len(series.values) for series in series_in(tmp_path)) == [1, 3]


def test_a_run_that_was_saved_twice_counts_once(folder: Path) -> None:
    before = values(folder)
    (folder / "copy.json").write_bytes((folder / "0003_run.json").read_bytes())
    assert values(folder) == before


def test_a_truncated_run_is_left_out_until_it_is_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (folder / "0012_run.json").read_bytes()
    (folder / "0012_run.json").write_bytes(whole[:200])
    (folder / "foreign.json").write_text("{}")
    (folder / "gone.json").symlink_to(folder / "nowhere.json")
    arguments = [str(folder)]
    assert main(arguments) == 6
    read = capsys.readouterr()
    assert "of 11 runs" in read.out
    assert "history: left out: saved run" in read.err
    assert "foreign" not in read.err
    assert "gone.json" in read.err
    (folder / "0012_run.json").write_bytes(whole)
    (folder / "gone.json").unlink()
    assert main(arguments) == 0
    assert "of 12 runs" in capsys.readouterr().out
