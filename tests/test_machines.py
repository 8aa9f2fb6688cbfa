"""What somebody says of machines: prices an hour or over a life, watts where no meter tells, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.config.machines import StatedMachine, read_machines, stated_machine
from fixtures.config.prices import Price
from fixtures.judge.budgets import built_in, find_budget
from fixtures.judge.fit import fit
from fixtures.judge.limits import BudgetError
from fixtures.judge.pairs import Pair
from fixtures.judge.rules import parse_rule
from fixtures.measure import extras
from fixtures.measure.energy import stated_energy
from fixtures.progress import Progress
from fixtures.record.notes import Note
from fixtures.record.record import Record
from fixtures.report.__main__ import main
from tests.conftest import OWN, Run, Saved, info_of, no_traceback
from tests.reports import markdown_tables, report_on
from tests.saved import save, timed
from tests.test_budgets import verdict
from tests.test_verdicts import one

TABLE = """
[machines.edge-box]
purchase_price = "1200:EUR"
life_years = 4
watts = 65
measured_on = "AMD EPYC"

[machines.cloud]
price_per_hour = 2.5

[machines.silent]
watts = 3
"""


def said(folder: Path, **options: Any) -> StatedMachine:
    return stated_machine(options.get, folder)


def test_a_price_is_spread_over_the_life_of_a_machine(tmp_path: Path) -> None:
    """Four years are 35,064 hours, leap day included."""
    (tmp_path / "machines.toml").write_text(TABLE)
    found = said(tmp_path, machine="edge-box")
    assert found.price == Price(pytest.approx(1200 / 35_064), "EUR", "1200 EUR over 4 years")  # type: ignore[arg-type]
    assert (found.watts, found.measured_on) == (65, "AMD EPYC")
    assert said(tmp_path, machine="cloud").price == Price(2.5, "USD")
    assert said(tmp_path, machine="silent").price is None
    same = said(tmp_path, purchase_price="1200:EUR", life_years="4", watts="65")
    assert (same.price, same.watts) == (found.price, found.watts)
    assert said(tmp_path) == StatedMachine()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"purchase_price": "9"}, "--purchase-price: needs --life-years too"),
        ({"life_years": "4"}, "--life-years: needs --purchase-price too"),
        (
            {"purchase_price": "9", "life_years": "4", "price_per_hour": "1"},
            "--purchase-price: there is a price an hour",
        ),
        ({"purchase_price": "-9", "life_years": "4"}, "--purchase-price: expected a price above 0"),
        ({"purchase_price": "0:EUR", "life_years": "4"}, "--purchase-price: expected a price above 0"),
        ({"purchase_price": "9", "life_years": "0"}, "--life-years: expected a number of years above 0, got '0'"),
        ({"purchase_price": "9", "life_years": "1e-320"}, "--life-years: expected a number of years above 0"),
        ({"watts": "1e300"}, "--watts: expected a number of watts above 0"),
        ({"watts": "-5"}, "--watts: expected a number of watts above 0, got '-5'"),
        ({"price_per_hour": "2:XYZ"}, "--price-per-hour: XYZ is no currency of ISO 4217, such as USD or EUR"),
        ({"machine": "edge-bx"}, "--machine: no machine 'edge-bx' in machines.toml; did you mean edge-box?"),
        ({"machine": "cloud", "watts": "5"}, "--machine: says that already; leave out --watts"),
        ({"machine_table": "machines.toml"}, "--machine-table: which of its machines is this? Give --machine=NAME too"),
        ({"machine": "cloud", "machine_table": "none.toml"}, "--machine-table: "),
    ],
)
def test_what_cannot_be_is_told(options: dict[str, str], message: str, tmp_path: Path) -> None:
    (tmp_path / "machines.toml").write_text(TABLE)
    with pytest.raises(ValueError, match="--") as error:
        said(tmp_path, **options)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[machines.a]\nprice_per_hour = -1", "[machines.a] price_per_hour: expected a price above 0"),
        ("[machines.a]\nprice_per_hour = 0", "[machines.a] price_per_hour: expected a price above 0"),
        ("[machines.a]\npurchase_price = 9", "[machines.a] purchase_price: needs life_years too"),
        ('[machines.a]\nprice_per_hour = "1:ABC"', "[machines.a] price_per_hour: ABC is no currency of ISO 4217"),
        ("[machines.a]\nwatt = 5", "[machines.a]: Object contains unknown field `watt`"),
        ('[machines.a]\nwatts = "5"', "[machines.a]: Expected `float | null`, got `str` - at `$.watts`"),
        ("[machines]\na = 5", "[machines.a]: Expected `object`, got `int`"),
        ("[machines.a]\nwatts = -5", "[machines.a] watts: expected a number of watts above 0"),
        ("[machines.a]\nwatts = inf", "[machines.a] watts: expected a number of watts above 0"),
        ("[machine.a]\nwatts = 5", "unknown field `machine`"),
        ("[machines]", "no machine in it"),
        ("machines = 5", "Expected `object`"),
        ("[machines.a", "is not TOML"),
    ],
)
def test_a_table_that_cannot_be_is_told_with_its_key(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(content)
    with pytest.raises(ValueError, match="--machine-table: ") as error:
        read_machines("m.toml", tmp_path)
    assert "m.toml" in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_energy_of_a_stated_power() -> None:
    """65 W for 20 ms are 1.3 J, of four samples."""
    found = stated_energy(65.0, 0.02, 4)
    assert (found.energy_source, found.energy_window_s, found.power_idle_w) == ("stated", None, None)
    assert (found.power_mean_w, found.energy_per_batch_mj) == (pytest.approx(65), pytest.approx(1300))
    assert (found.energy_per_sample_mj, found.samples_per_joule) == (pytest.approx(325), pytest.approx(4 / 1.3))


def test_a_run_says_what_was_stated(run: Run, saved: Saved, project: pytest.Pytester) -> None:
    """No meter can be read here: without --watts power stays unknown for ever."""
    (project.path / "machines.toml").write_text(TABLE)
    result = run(*OWN, "--machine=edge-box", "--budget=edge-device", "--benchmark-json=out.json")
    info = info_of(saved)
    assert (info["energy_source"], info["power_mean_w"]) == ("stated", 65.0)
    assert info["energy_per_batch_mj"] == pytest.approx(65 * info["wall_p50_ms"])
    assert info["price_source"] == "1200 EUR over 4 years"
    assert info["cost_per_day"] == pytest.approx(24 * 1200 / 35_064)
    assert any("stated by --machine=edge-box (65 W), not measured: " in note for note in info["notes"])
    result.stdout.fnmatch_lines(
        [
            *("*energy_source *stated*", "*power_mean_w *65 stated*", "*power (must)*violated*stated, not measured*"),
            "FAILED *budget edge-device: power < 10 W, stated 65 W*",
        ]
    )


def test_a_meter_that_can_be_read_goes_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a stated figure would hide a measured one, or nobody would know that it was not used."""
    read = replace(stated_energy(7.0, 0.02, 1), energy_source="rapl", power_idle_w=1.0)
    monkeypatch.setattr(extras, "measure_energy", lambda *_: read)
    monkeypatch.setattr(extras, "_repeated", lambda *_: None)
    asked = SimpleNamespace(energy=False, machine=StatedMachine(watts=65.0))
    measured: Any = SimpleNamespace(
        settings=SimpleNamespace(extras=asked),
        progress=Progress(None),
        case=SimpleNamespace(every_ms=None, batch=1),
        device=SimpleNamespace(energy_meter=lambda: None),
    )
    passes: Any = None
    assert extras.energy(measured, passes) == [read, Note(("energy_source",), "rapl measures, --watts=65 is not used")]
    asked.energy, asked.machine = True, StatedMachine()
    assert extras.energy(measured, passes) == [read]


def test_a_stated_power_keeps_or_violates_a_limit_and_says_so(record: Record) -> None:
    stated = replace(record, energy_source="stated", power_mean_w=5.0)
    assert (verdict("power", "< 10 W", stated).verdict, verdict("power", "< 10 W", stated).note) == (
        *("met", "stated, not measured"),
    )
    assert verdict("power", "< 2 W", stated).verdict == "violated"
    assert verdict("power", "< 10 W", replace(stated, energy_source="rapl")).note == ""


def test_a_rule_on_what_was_stated_is_refused(record: Record) -> None:
    """Passed or inconclusive it would leave exit code 0, as if power had been looked at."""
    stated = replace(record, energy_source="stated", energy_per_batch_mj=500.0)
    more = replace(stated, energy_per_batch_mj=900.0)
    found = one(Pair("case", parse_rule("energy_per_batch_mj:5%"), stated, more))
    assert (found.status, found.why) == (
        *("invalid", "energy_per_batch_mj: stated, not measured; it only follows latency, gate that instead"),
    )
    assert (
        one(Pair("case", parse_rule("power_mean_w<=10"), None, replace(stated, power_mean_w=5.0))).status == "invalid"
    )


def test_a_budget_names_what_it_ignores(tmp_path: Path, record: Record) -> None:
    (tmp_path / "b.toml").write_text('ignore = ["power", "bleu"]\n[must]\nlatency = "< 1 s"\npower = "< 2 W"\n')
    budget = find_budget("b.toml", tmp_path)
    assert [each.name for each in budget.limits] == ["latency"]
    assert "bleu loss" not in {each.name for each in budget.losses}
    assert {each.limit.name for each in fit("", record, budget, [record]).checks} == {"latency"}
    assert built_in()["edge-device"].limits[0].name == "power"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('ignore = ["powr"]', "ignore names 'powr', which is no metric; did you mean power"),
        ('ignore = "power"', "ignore must be a list of metrics"),
        ('ignore = ["latency"]', "no limit in it"),
    ],
)
def test_what_cannot_be_ignored_is_told(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text(f'{line}\n[must]\nlatency = "< 1 s"\n')
    with pytest.raises(BudgetError) as error:
        find_budget("b.toml", tmp_path)
    assert message in str(error.value)


def test_a_report_tells_what_an_asked_rate_costs(tmp_path: Path) -> None:
    """Two models on a machine that the table prices: of each the batch that yields most, and whole machines."""
    slow, quick = timed(40.0, model="slow", batch=1), timed(10.0, model="quick", batch=1)
    save(tmp_path / "0001_a.json", [slow, quick, timed(50.0, model="quick", batch=8)])
    (tmp_path / "m.toml").write_text(TABLE)
    text = report_on(tmp_path, f"--machine-table={tmp_path / 'm.toml'}", "--rate=250")
    rows = {row["model"]: row for row in markdown_tables(text)["What it costs"]}
    an_hour = 1200 / 35_064
    for model, per_s, work in (("slow", 1e3 / 40.4, "forward b1 224"), ("quick", 8e3 / 50.5, "forward b8 224")):
        row, machines = rows[model], math.ceil(250 / per_s)
        assert (row["machine"], row["work"], row["machines"]) == ("edge-box", work, str(machines))
        assert row["1,000,000"] == f"{an_hour / 3600 * 1e6 / per_s:.4g} EUR"
        assert row["a day"] == f"{24 * an_hour * machines:.4g} EUR"
    assert "What it costs" not in report_on(tmp_path)


def test_what_a_model_costs_is_of_the_size_and_the_terms_that_stand_for_it(tmp_path: Path) -> None:
    """A smaller image is served sooner: its throughput is no price of the other, whatever the batch."""
    sizes = {"imgsz_native": 640, "model": "net"}
    own, small = timed(40.0, batch=1, imgsz=640, **sizes), timed(20.0, batch=8, imgsz=320, **sizes)
    save(tmp_path / "0001_a.json", [own, small])
    (tmp_path / "m.toml").write_text(TABLE)
    text = report_on(tmp_path, f"--machine-table={tmp_path / 'm.toml'}")
    (row,) = markdown_tables(text)["What it costs"]
    assert (row["work"], row["samples/s"]) == ("forward b1 640", f"{1e3 / 40.4:.4g}")


@pytest.mark.parametrize(
    "other",
    [
        {"every_ms": 100.0},
        {"precision": "int8", "baseline": "fp32-eager", "agreement_cosine_min": 0.9999},
        {"baseline": "bf16-eager", "speedup_unequal": ("images",)},
    ],
)
def test_what_yields_more_and_is_other_work_is_no_price_of_it(tmp_path: Path, other: dict[str, Any]) -> None:
    save(tmp_path / "0001_a.json", [timed(40.0, model="net", batch=1), timed(50.0, model="net", batch=8, **other)])
    (tmp_path / "m.toml").write_text(TABLE)
    text = report_on(tmp_path, f"--machine-table={tmp_path / 'm.toml'}")
    assert markdown_tables(text)["What it costs"][0]["samples/s"] == f"{1e3 / 40.4:.4g}"


def test_a_call_every_so_often_yields_no_more_than_come(tmp_path: Path) -> None:
    save(tmp_path / "0001_a.json", [timed(40.0, model="net", batch=1, every_ms=100.0)])
    (tmp_path / "m.toml").write_text(TABLE)
    text = report_on(tmp_path, f"--machine-table={tmp_path / 'm.toml'}")
    assert markdown_tables(text)["What it costs"][0]["samples/s"] == "10"


def test_a_table_of_other_machines_says_which_were_measured(tmp_path: Path) -> None:
    save(tmp_path / "0001_a.json", [timed(40.0)])
    (tmp_path / "m.toml").write_text('[machines.a]\nprice_per_hour = 1\nmeasured_on = "Other"\n')
    text = report_on(tmp_path, f"--machine-table={tmp_path / 'm.toml'}")
    assert "No machine of the table was measured here: measured_on must be one of AMD EPYC" in text


@pytest.mark.parametrize("options", [["--rate=5"], ["--machine-table=none.toml"]])
def test_a_report_without_its_table_is_a_mistake(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "0001_a.json", [timed(40.0)])
    assert main([str(tmp_path), "--out", str(tmp_path / "out"), *options]) == 2
    assert "--machine-table" in capsys.readouterr().err


def test_a_mistake_is_told_before_anything_runs(run: Run) -> None:
    result = run(*OWN, "--machine=none")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--machine-table: *machines.toml' cannot be read*"])
    no_traceback(result)
