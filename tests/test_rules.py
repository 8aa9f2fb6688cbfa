"""The gate's rules: every form, every mistake, globs."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.judge.rules import Rule, RuleError, check_globs, parse_rule, read_rules, rules_of, told

CASE = "benchmarks/test_custom.py::test_forward[net-fp32-b1-224]"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("latency_p50_ms:5%", Rule("latency_p50_ms", share=0.05)),
        ("latency_p50_ms:2", Rule("latency_p50_ms", amount=2.0)),
        ("latency_p50_ms", Rule("latency_p50_ms")),
        ("peak_host_bytes<=2e9", Rule("peak_host_bytes", ceiling=2e9)),
        ("throughput_p50_per_s >= 30", Rule("throughput_p50_per_s", floor=30.0)),
        ("load_s:.5%", Rule("load_s", share=0.005)),
    ],
)
def test_every_form_is_read(text: str, rule: Rule) -> None:
    assert parse_rule(text) == rule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latency_p50:5%", "no record has a measured field 'latency_p50'; did you mean latency_p50_ms"),
        ("latency_p50_ms:five", "expected FIELD:5% (relative), FIELD:2 (absolute, in the field's unit)"),
        ("latency_p50_ms:-5%", "got 'latency_p50_ms:-5%'"),
        ("latency_p50_ms<50", "got 'latency_p50_ms<50'"),
        ("", "got ''"),
        ("batch:5%", "no record has a measured field 'batch'"),
        ("model:5%", "no record has a measured field 'model'"),
        ("canary_copy_ms:5%", "no record has a measured field 'canary_copy_ms'"),
        ("throughput_p50_per_s:100%", "never fails"),
    ],
)
def test_a_rule_that_cannot_be_used_says_what_can(text: str, message: str) -> None:
    with pytest.raises(RuleError) as error:
        parse_rule(text)
    assert message in str(error.value)


@pytest.mark.parametrize("cases", ["*net*", CASE, "test_forward[net-fp32-b1-224]", "benchmarks/test_custom.py::*"])
def test_globs_match_whole_ids_and_what_follows_the_file(cases: str) -> None:
    """An id holds brackets, which a glob would take for a set of letters: the id itself matches all the same."""
    assert Rule("latency_p50_ms", cases=cases).applies(CASE)
    check_globs([Rule("latency_p50_ms", cases=cases)], [CASE])


def test_of_two_rules_of_a_field_the_later_holds_and_a_ceiling_stands_beside_it() -> None:
    wide, narrow = Rule("latency_p50_ms", share=0.1), Rule("latency_p50_ms", share=0.02, cases="*net*")
    ceiling = Rule("latency_p50_ms", ceiling=50.0)
    assert rules_of(CASE, [wide, ceiling, narrow]) == [narrow, ceiling]
    assert rules_of("benchmarks/test_clip.py::test_pair[clip]", [wide, ceiling, narrow]) == [wide, ceiling]


def test_a_file_of_rules(tmp_path: Path) -> None:
    file = tmp_path / "gates.toml"
    file.write_text('[cases]\n"*clip*" = ["latency_p50_ms:5%", "params"]\n"*" = ["output_x<=1"]\n')
    with pytest.raises(RuleError) as error:
        read_rules(file)
    assert "'*' in gates.toml: no record has a measured field 'output_x'" in str(error.value)
    file.write_text('[cases]\n"*clip*" = ["latency_p50_ms:5%", "params"]\n')
    assert read_rules(file) == [
        Rule("latency_p50_ms", share=0.05, cases="*clip*"),
        Rule("params", cases="*clip*"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[cases\n", "is not TOML"),
        ("", "has no [cases] table"),
        ('[rules]\n"*" = ["params"]\n', "does not know rules"),
        ('[cases]\n"*" = "params"\n', "must be a list of rules"),
        ('[cases]\n"*" = []\n', "must be a list of rules"),
    ],
)
def test_a_file_that_is_none_says_how_one_looks(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "gates.toml"
    file.write_text(content)
    with pytest.raises(RuleError) as error:
        read_rules(file)
    assert message in str(error.value)


def test_a_missing_file_and_a_glob_without_a_case_are_errors(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="cannot be read"):
        read_rules(tmp_path / "none.toml")
    with pytest.raises(RuleError) as error:
        check_globs([Rule("params", cases="*clpi*")], [CASE])
    assert f"'*clpi*' matches no case; a case is {CASE!r}" in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latency_p50_ms:5", "latency_p50_ms: worse by 5 ms at most (for a share write latency_p50_ms:5%)"),
        ("latency_p50_ms:5%", "latency_p50_ms: worse by 5 % at most"),
        ("latency_p50_ms", "latency_p50_ms: worse by the default limit at most"),
        ("params", "params: the same"),
        ("power_mean_w<=5", "power_mean_w<=5 W"),
        ("mfu>=0.3", "mfu>=0.3"),
    ],
)
def test_five_per_cent_is_told_from_five_milliseconds(text: str, said: str) -> None:
    assert told(parse_rule(text)) == said


def test_what_begins_a_field_suggests_its_median_first() -> None:
    with pytest.raises(RuleError, match="did you mean latency_p50_ms or "):
        parse_rule("latency:5%")
