"""`--group-seeds`: training seeds of one model are replicas, with a mean, an sd and a place between models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scipy import stats

from fixtures.config.weights import WeightsError, parse_weights
from fixtures.exits import Exit
from fixtures.judge.seeds import Spread, place, seed_groups
from fixtures.measure import recording
from fixtures.record.record import Record
from fixtures.record.saved import read_saved
from fixtures.report.contents import contents
from fixtures.report.decisions import pareto, ranking
from fixtures.report.findings import rankings
from fixtures.show import seeds
from fixtures.show.__main__ import main
from tests.conftest import Run, Saved, no_traceback
from tests.record import RECORD
from tests.reports import all_tables, report_on
from tests.saved import save, timed
from tests.test_weights import weights_file

# Their means are 10, 11 and 10.1 ms, their sds 0.1, 0.1 and 2; of quality 0.5, 0.4 and 0.45 with 0.01, 0.01 and 0.1.
P50_MS = {"eca": (9.9, 10.0, 10.1), "base": (10.9, 11.0, 11.1), "wild": (8.1, 10.1, 12.1)}
MAP = {"eca": (0.49, 0.5, 0.51), "base": (0.39, 0.4, 0.41), "wild": (0.35, 0.45, 0.55)}


def replicas(name: str, **changes: Any) -> list[Record]:
    return [
        timed(
            p50_ms, model=f"{name}-seed{seed}", seed_group=name, batch=1, quality_data="coco", map50_95=found, **changes
        )
        for seed, (p50_ms, found) in enumerate(zip(P50_MS[name], MAP[name], strict=True))
    ]


def of_all() -> list[Record]:
    return [record for name in P50_MS for record in replicas(name)]


def rows_of(records: list[Record]) -> dict[str, dict[str, str]]:
    shown = seeds.table_for(records)
    assert shown is not None
    return {row[0]: dict(zip(shown.headings, row, strict=True)) for row in shown.rows}


@pytest.mark.parametrize(
    ("path", "name", "group"),
    [
        ("runs/eca/seed0/weights/best.pt", "eca-seed0", "eca"),
        ("runs/seed_12/eca/weights/best.pt", "eca-seed_12", "eca"),
        ("runs/eca-seed0/weights/best.pt", "eca-seed0", "eca"),
        ("runs/eca/weights/best.pt", "eca", "eca"),
        ("runs/bird-seed/weights/best.pt", "bird-seed", "bird-seed"),
        ("net_Seed3.pt", "net_Seed3", "net"),
        ("mine-seed4=best.pt", "mine-seed4", "mine"),
        ("mine=runs/eca/seed0/best.pt", "mine", "mine"),
    ],
)
def test_a_group_is_named_without_the_seed_and_a_replica_with_it(
    tmp_path: Path, path: str, name: str, group: str
) -> None:
    """A child process is given names: what a name says of the group has to be what the path said."""
    file = weights_file(tmp_path, path.rpartition("=")[2])
    (found,) = parse_weights([path], tmp_path, group_seeds=True)
    assert (found.name, found.seed_group) == (name, group)
    (again,) = parse_weights([f"{found.name}={file}"], tmp_path, group_seeds=True)
    assert again == found


def test_without_the_option_nothing_is_grouped_and_a_clash_names_it(tmp_path: Path) -> None:
    for seed in range(2):
        weights_file(tmp_path, f"eca/seed{seed}/best.pt")
    (found,) = parse_weights(["eca/seed0/best.pt"], tmp_path)
    assert (found.name, found.seed_group) == ("eca", None)
    with pytest.raises(WeightsError, match=r"'eca' would name several .*NAME=PATH, or training seeds a group: --group"):
        parse_weights(["eca/*/best.pt"], tmp_path)
    assert [w.name for w in parse_weights(["eca/*/best.pt"], tmp_path, True)] == ["eca-seed0", "eca-seed1"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "--group-seeds: groups what --weights names, which was not given; for example --weights='runs"),
        (["*/eca/seed0/best.pt"], r"'eca-seed0' would name several models \(.*a/eca.*b/eca.*--weights=NAME-seedN=PATH"),
        (["eca-seed0=a/eca/seed0/best.pt", "eca_seed0=b/eca/seed0/best.pt"], "'eca-seed0' would name several models"),
    ],
)
def test_seeds_that_cannot_be_told_apart_are_an_error(tmp_path: Path, texts: list[str], message: str) -> None:
    for folder in "ab":
        weights_file(tmp_path, f"{folder}/eca/seed0/best.pt")
    with pytest.raises(WeightsError, match=message):
        parse_weights(texts, tmp_path, group_seeds=True)


def test_mean_and_sd_over_seeds_are_those_of_the_sample() -> None:
    first, *_ = seed_groups(of_all())
    assert first.name == "eca"
    p50 = first.spread("latency_p50_ms")
    assert p50 is not None
    assert (p50.mean, p50.sd, p50.count) == (10.0, pytest.approx(0.1, abs=1e-12), 3)
    per_s = first.spread("throughput_mean_per_s")
    known = stats.tstd([1e3 / 9.9, 100.0, 1e3 / 10.1])
    assert per_s is not None
    assert per_s.sd == pytest.approx(known, abs=1e-12)
    assert first.spread("top1_accuracy") is None


def test_a_row_a_group_with_n_and_every_quality_that_all_seeds_have() -> None:
    records = [replace(record, map50=0.7) for record in replicas("eca")]
    records[2] = replace(records[2], map50=None)
    assert rows_of(records) == {
        "eca": {
            "group": "eca",
            "workload": "forward",
            "batch": "1",
            "imgsz": "224",
            "prec": "fp32",
            "n": "3",
            "p50 ms": "10.00 ± 0.10 (1)",
            "items/s": "100.0 ± 1.0 (1)",
            "map50_95": "0.5000 ± 0.010 (1)",
            "params M": "25.56",
        }
    }


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (9999.4, 4, "9999"),
        (9999.9, 4, "10000"),
        (25_557.3, 4, "25557"),
        (123.4, 2, "123"),
        (15.0, 2, "15"),
        (0, 2, "0.0"),
    ],
)
def test_a_large_number_is_written_out(value: float, digits: int, shown: str) -> None:
    """`2.556e+04 ± 1.2e+02` is nothing that people compare."""
    assert seeds._rounded(value, digits) == shown


def test_every_batch_size_precision_variant_and_workload_is_a_row_of_its_own() -> None:
    changes: list[dict[str, Any]] = [
        {"imgsz": 320},
        {"precision": "bf16"},
        {"runtime": "compile"},
        {"workload": "end_to_end"},
    ]
    groups = seed_groups([record for each in [{}, *changes] for record in replicas("eca", **each)])
    assert [len(group.replicas) for group in groups] == [3] * 5
    larger = [replace(record, batch=8) for record in replicas("eca")]
    assert [group.case.batch for group in seed_groups([*replicas("eca"), *larger])] == [1, 8]


def test_a_replica_measured_twice_counts_once() -> None:
    (group,) = seed_groups([*replicas("eca"), timed(99.0, replicas("eca")[0])])
    assert sorted(record.latency_p50_ms for record in group.replicas) == [10.0, 10.1, 99.0]


def test_ahead_is_only_what_lies_outside_welchs_interval() -> None:
    """`wild` has the second best means, and so wide a spread that it shares the first place."""
    rows = rows_of(of_all())
    assert list(rows) == ["eca", "wild", "base"]
    assert {name: (row["p50 ms"], row["map50_95"]) for name, row in rows.items()} == {
        "eca": ("10.00 ± 0.10 (1)", "0.5000 ± 0.010 (1)"),
        "wild": ("10.10 ± 2.0 (1)", "0.4500 ± 0.10 (1)"),
        "base": ("11.00 ± 0.10 (2)", "0.4000 ± 0.010 (2)"),
    }


@pytest.mark.parametrize("second", [(10.3, 10.4, 10.2), (10.2, 10.1, 10.3), (10.0, 10.9), (10.0, 12.0, 14.0, 10.5)])
def test_welchs_interval_is_scipys(second: tuple[float, ...]) -> None:
    first = (9.9, 10.0, 10.1)
    low, high = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    one, two = (Spread(float(stats.tmean(each)), float(stats.tstd(each)), len(each)) for each in (first, second))
    assert one.differs(two) == two.differs(one) == (low > 0 or high < 0)


@pytest.mark.parametrize(("other", "differs"), [(0.5, False), (0.6, True)])
def test_seeds_that_agree_to_the_last_digit_differ_where_their_means_do(other: float, differs: bool) -> None:
    assert Spread(0.5, 0.0, 3).differs(Spread(other, 0.0, 3)) is differs


def test_places_are_among_equal_work_on_the_same_data_only() -> None:
    eca, wild, base = seed_groups(of_all())
    for change in ({"imgsz": 320}, {"threads": 4}, {"quality_data": "other"}, {"task": "segmentation"}):
        (other,) = seed_groups([replace(record, **change) for record in base.replicas])
        assert place(other, [eca, wild, other], "map50_95") == 1
    assert place(base, [eca, wild, base], "map50_95") == 2


def test_a_group_of_one_has_no_sd_and_no_place_and_is_told() -> None:
    shown = seeds.table_for([*replicas("eca"), replicas("base")[0]])
    assert shown is not None
    assert shown.rows[1][5:8] == ("1", "10.90", "91.74")
    assert shown.notes[-1] == "base: n = 1, so no sd and no place"


def test_a_variant_of_other_outputs_has_no_place() -> None:
    broken = [replace(record, precision="int8", agreement_cosine_min=0.2) for record in replicas("eca")]
    shown = seeds.table_for([*replicas("base"), *broken])
    assert shown is not None
    assert {row[4]: row[6] for row in shown.rows} == {"int8": "10.00 ± 0.10", "fp32": "11.00 ± 0.10 (1)"}
    assert shown.notes[-1].startswith("eca int8: no place")


def test_seeds_of_unequal_architecture_have_no_row_and_are_named_once() -> None:
    first, second, third = replicas("eca")
    mixed = [first, second, replace(third, params=3_000_000)]
    larger = [replace(record, batch=8) for record in mixed]
    shown = seeds.table_for([*mixed, *larger, *replicas("base")])
    assert shown is not None
    assert [row[0] for row in shown.rows] == ["base"]
    assert shown.refused == (
        "eca: no row, its seeds are not of one architecture: eca-seed0 has 25557032 parameters and eca-seed2 3000000; "
        "name them apart, --weights=NAME=PATH",
    )
    alone = seeds.table_for(mixed)
    assert alone is not None
    assert seeds.text(alone, 400) == shown.refused[0]


def test_a_saved_file_is_shown_with_its_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = save(tmp_path / "run.json", of_all())
    assert main([str(file)]) == 0
    text = capsys.readouterr().out
    assert "mean ± sd over training seeds" in text
    assert "10.00 ± 0.10 (1)" in text
    assert "of latency and throughput it is the machine's noise" in text
    assert main([str(file), "--markdown"]) == 0
    assert "| eca | forward | 1 | 224 | fp32 | 3 | 10.00 ± 0.10 (1) |" in capsys.readouterr().out
    assert main([str(save(tmp_path / "plain.json", [RECORD]))]) == 0
    assert "seeds" not in capsys.readouterr().out


def test_a_report_sets_groups_against_each_other_and_no_replicas(tmp_path: Path) -> None:
    others = [timed(ms, model=name, batch=1) for name, ms in (("a", 5.0), ("b", 9.0))]
    report = contents([read_saved(save(tmp_path / "run.json", [*of_all(), *others]))])
    (ranked,) = rankings(report.placed)
    assert [each.case.record.model for each in ranked] == ["a", "b"]
    assert not any("seed0" in str(section(report).tables) for section in (ranking, pareto))
    grouped = contents([read_saved(save(tmp_path / "grouped.json", of_all()))])
    assert [len(section(grouped).tables) for section in (ranking, pareto)] == [0, 0]
    assert ranking(grouped).lines == pareto(grouped).lines
    assert "the groups have them, under Training seeds" in ranking(grouped).lines[0]


def test_a_report_of_several_runs_has_one_group_of_their_seeds(tmp_path: Path) -> None:
    """Two seeds today and one tomorrow are three."""
    first, *later = replicas("eca")
    save(tmp_path / "a.json", [first, *replicas("base")])
    save(tmp_path / "b.json", later, taken="2026-11-21T13:22:24+00:00")
    (rows,) = all_tables(report_on(tmp_path))["Training seeds"]
    assert [(row["group"], row["n"], row["p50 ms"]) for row in rows] == [
        ("eca", "3", "10.00 ± 0.10 (1)"),
        ("base", "3", "11.00 ± 0.10 (2)"),
    ]


# As small as a detector of ultralytics can be; `width` tells architectures apart.
_DETECTOR = "nc: 2\nbackbone:\n  - [-1, 1, Conv, [{width}, 3, 8]]\nhead:\n  - [[0], 1, Detect, [nc]]\n"


def detector(folder: Path, path: str, width: int = 8) -> None:
    weights_file(folder, path).write_text(_DETECTOR.format(width=width))


def test_a_run_tells_and_saves_its_groups_and_refuses_unequal_seeds(
    project: pytest.Pytester, run: Run, saved: Saved
) -> None:
    for path, width in (("eca/seed0", 8), ("eca/seed1", 8), ("odd/seed0", 8), ("odd/seed1", 16)):
        detector(project.path, f"runs/{path}/model.yaml", width)
    arguments = ("-k", "yolo and forward", "--batch=1", "--imgsz=64", "--iters=3", "--benchmark-json=out.json")
    result = run(*arguments, "--weights=runs/*/seed*/model.yaml", "--group-seeds")
    no_traceback(result)
    result.assert_outcomes(passed=4)
    assert result.ret == Exit.INVALID
    result.stdout.fnmatch_lines(["*mean ± sd over training seeds*", "eca *forward *1 *64 *fp32 *2 * ± *"])
    result.stdout.fnmatch_lines(["odd: no row, its seeds are not of one architecture: odd-seed0 has * and odd-seed1 *"])
    found = {case["extra_info"]["model"]: case["extra_info"]["seed_group"] for case in saved().values()}
    assert found == {"eca-seed0": "eca", "eca-seed1": "eca", "odd-seed0": "odd", "odd-seed1": "odd"}


def test_groups_of_nothing_are_a_usage_error(run: Run) -> None:
    result = run("--group-seeds")
    no_traceback(result)
    assert result.ret == Exit.USAGE
    result.stderr.fnmatch_lines(["*--group-seeds: groups what --weights names, which was not given; for example *"])


def test_only_a_model_of_the_weights_is_in_a_group() -> None:
    measured: Any = SimpleNamespace(
        case=SimpleNamespace(spec=SimpleNamespace(name="eca-seed0")),
        settings=SimpleNamespace(weights=[SimpleNamespace(name="eca-seed0", seed_group="eca")]),
    )
    assert recording._seed_group(measured) == "eca"
    measured.case.spec.name = "clip"
    assert recording._seed_group(measured) is None
