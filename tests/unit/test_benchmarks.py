"""The benchmarks run and say what they promise to. How fast anything is, is no matter here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as program
from benchmarks import report
from benchmarks.figures import Bar, figure

ROOT = Path(__file__).parents[2]
PROMISED = {"bench", "metric", "value", "unit", "baseline", "ratio"}


@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("captures", {"tps"}),
        ("idle", {"queries/s", "% of a core", "bytes/s"}),
        ("latency", {"ms"}),
        ("peers", {"deliveries/s"}),
        ("writers", {"tps", "µs/row"}),
    ],
)
def test_a_bench_runs_and_prints_an_object_per_line(name: str, units: set[str]):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", name, "--tiny", "--json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    figures = [json.loads(line) for line in done.stdout.splitlines()]
    assert figures
    for found in figures:
        assert found.keys() >= PROMISED
        assert found["bench"] == name
        assert isinstance(found["value"], float)
        assert isinstance(found["baseline"], float)
        assert found["verdict"] in ("met", "missed", None)
        assert (found["verdict"] is None) == (found["bar"] is None)
    assert {found["unit"] for found in figures} == units


def test_every_bench_has_its_place_in_the_docs():
    text = report.DOCS.read_text("utf-8")
    for name in program.BENCHES:
        assert f"<!-- figures: {name} -->\n" in text
        assert f"<!-- end: {name} -->" in text


def test_the_ratio_is_the_median_of_each_rounds_own():
    found = figure("b", "m", "tps", [90.0, 40.0, 10.0], "other", [100.0, 50.0, 10.0])
    assert (found.value, found.baseline) == (40.0, 50.0)
    assert (found.ratio, found.ratio_low, found.ratio_high) == (0.9, 0.8, 1.0)


def test_the_spread_is_extremes_of_few_rounds_and_quartiles_of_many():
    few, many = (figure("b", "m", "tps", [float(value) for value in range(rounds)]) for rounds in (6, 9))
    assert (few.low, few.high) == (0.0, 5.0)
    assert (many.low, many.high) == (2.0, 6.0)


def test_without_a_baseline_or_against_nothing_there_is_no_ratio():
    assert figure("b", "m", "bytes/s", [3.0]).ratio is None
    assert figure("b", "m", "bytes/s", [3.0], "silence", [0.0]).ratio is None


@pytest.mark.parametrize(
    ("bar", "verdict"),
    [
        (Bar("value", "<=", 20.0), "met"),
        (Bar("value", "<", 20.0), "missed"),
        (Bar("ratio", ">=", 0.5), "met"),
        (Bar("ratio", ">=", 0.51), "missed"),
        (None, ""),
    ],
)
def test_verdict_on_both_sides_of_the_bar(bar: Bar | None, verdict: str):
    assert figure("b", "m", "ms", [20.0], "other", [40.0], bar).verdict == verdict


def test_docs_are_rewritten_between_the_markers_of_one_bench(tmp_path: Path):
    docs = tmp_path / "performance.md"
    docs.write_text("before\n<!-- figures: b -->\nold\n<!-- end: b -->\nafter\n")
    for _ in range(2):
        report.to_docs(
            "b", [figure("b", "speed", "tps", [1234.0], "other", [1000.0])], "a machine", "python -m benchmarks b", docs
        )
    text = docs.read_text()
    assert text.startswith("before\n<!-- figures: b -->\n`python -m benchmarks b`, ")
    assert text.endswith("<!-- end: b -->\nafter\n")
    assert "old" not in text
    assert text.count("| speed | other | 1,234 | tps | 1,000 | 1.23 |") == 1
    with pytest.raises(ValueError, match="figures: c"):
        report.to_docs("c", [], "a machine", "", docs)


def test_a_bench_that_fails_is_exit_1_and_the_others_still_run(monkeypatch, capsys):
    def broken(*_: object) -> list[object]:
        raise RuntimeError("no luck")

    missed = figure("b", "speed", "tps", [1.0], "other", [2.0], Bar("ratio", ">=", 0.9))
    monkeypatch.setattr(program, "BENCHES", {"broken": broken, "slow": lambda *_: [missed]})
    assert program.main(["--json"]) == 1
    assert json.loads(capsys.readouterr().out)["verdict"] == "missed"
    assert program.main(["slow", "--json"]) == 0


def test_an_unknown_name_is_a_users_mistake(capsys):
    with pytest.raises(SystemExit) as ended:
        program.main(["speed"])
    assert ended.value.code == 2
    assert ", ".join(program.BENCHES) in capsys.readouterr().err
