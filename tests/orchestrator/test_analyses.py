"""Analyses: contracts over the shelf, and numbers against counts by hand."""

from __future__ import annotations

import inspect
import io
import itertools
import json
import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from command_runs import Run, one_line
from orchestrator.analyses import ANALYSES
from orchestrator.analyses.agreement import interval, kendall
from orchestrator.errors import StoreError
from orchestrator.store import Store
from scored import ScoredStore

NAN = math.nan


@pytest.mark.parametrize("name", ANALYSES.names())
class TestEveryAnalysis:
    def test_of_an_empty_store_is_an_empty_table_and_a_picture(self, name, tmp_path):
        analysis, store = ANALYSES.load(name), Store(str(tmp_path / "none"))
        found = analysis.table(store)
        assert found.empty
        assert list(found.columns)
        assert ElementTree.fromstring(analysis.figure(store)).tag.endswith("svg")
        assert not (tmp_path / "none").exists()

    def test_table_and_figure_take_the_same_parameters_with_defaults(self, name):
        analysis = ANALYSES.load(name)
        table, figure = (
            inspect.signature(function).parameters for function in (analysis.table, analysis.figure)
        )
        assert list(table) == list(figure)
        assert next(iter(table)) == "store"
        for key in list(table)[1:]:
            assert table[key].default == figure[key].default != inspect.Parameter.empty

    def test_its_command_prints_and_draws(self, name, run: Run, tmp_path: Path):
        code, out, err = run("analyse", name, "--svg", tmp_path / "new" / "a.svg")
        assert (code, err) == (0, "")
        assert "Nothing in" in out
        assert ElementTree.parse(tmp_path / "new" / "a.svg").getroot() is not None

    def test_says_in_one_line_what_it_is(self, name):
        assert ANALYSES.describe(name).endswith(".")


def tau_b(a, b):
    """Kendall's tau-b by its definition, over all pairs."""
    pairs = list(itertools.combinations(range(len(a)), 2))
    signs = [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i, j in pairs]
    untied = [sum(s[k] != 0 for s in signs) for k in (0, 1)]
    return sum(x * y for x, y in signs) / math.sqrt(untied[0] * untied[1])


SCORES = [0.1, 0.5, 0.3, 0.9, 0.5, 0.2, 0.7]
TESTS = [0.2, 0.4, 0.5, 0.8, 0.9, 0.1, 0.6]


def fill(made: ScoredStore, scores=SCORES, tests=TESTS) -> Store:
    for number, (score, test) in enumerate(zip(scores, tests, strict=True)):
        made.candidate(number, score)
        for seed, shift in enumerate((-0.01, 0.01)):
            made.evaluation(number, test + shift, seed)
    return made.store


def agreement(store: Store, **params):
    return ANALYSES.load("agreement").table(store, **{"resamples": 50, **params})


def test_agreement_is_that_of_all_pairs_with_a_bootstrap_interval(tmp_path):
    made = ScoredStore(tmp_path)
    store = fill(made)
    made.candidate(100, 0.99)  # has no evaluation
    made.evaluation(101, 0.99)  # nor this one a score
    (row,) = agreement(store).to_dict("records")
    assert (row["task"], row["space"]) == ("digits", "nasbench201")
    assert (row["estimator"], row["against"]) == ("training", "evaluate")
    assert row["candidates"] == 7
    assert row["kendall"] == pytest.approx(tau_b(SCORES, TESTS))
    ranks = [pd.Series(values).rank() for values in (SCORES, TESTS)]
    assert row["spearman"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
    for name in ("kendall", "spearman"):
        assert -1 <= row[f"{name}_low"] < row[name] < row[f"{name}_high"] <= 1
    assert row["seconds"] == 2.0


@pytest.mark.parametrize("higher", [True, False])
def test_agreement_is_good_when_it_is_whichever_way_the_metric_points(tmp_path, higher):
    row = agreement(fill(ScoredStore(tmp_path, higher), SCORES, SCORES)).iloc[0]
    assert row[["kendall", "kendall_low", "kendall_high"]].tolist() == pytest.approx([1, 1, 1])
    assert row["spearman"] == pytest.approx(1)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_of_a_few_candidates_there_is_no_interval_and_of_one_no_row(tmp_path, count):
    found = agreement(fill(ScoredStore(tmp_path), SCORES[:count], SCORES[:count]))
    assert len(found) == (count > 1)
    for row in found.to_dict("records"):
        assert [row["kendall"], row["spearman"]] == pytest.approx([1, 1])
        assert math.isnan(row["kendall_low"])


@pytest.mark.parametrize("higher", [True, False])
def test_what_diverged_ranks_last(tmp_path, higher):
    worst = -9.0 if higher else 9.0
    found = []
    for name, value in (("a", NAN), ("b", worst)):
        store = fill(ScoredStore(tmp_path / name, higher), [value, *SCORES[1:]])
        found.append(agreement(store).iloc[0]["kendall"])
    assert found[0] == pytest.approx(found[1])


def test_networks_trained_by_another_recipe_are_another_reference(tmp_path):
    made = ScoredStore(tmp_path)
    fill(made)
    for number, score in enumerate(SCORES):
        made.evaluation(number, score, epochs=3)
    rows = agreement(made.store).set_index("against")
    assert list(rows.index) == ["evaluate", "evaluate(epochs=3)"]
    assert rows.loc["evaluate(epochs=3)", "kendall"] == pytest.approx(1)


def test_an_estimator_can_be_held_against_another(tmp_path):
    made = ScoredStore(tmp_path)
    for number, (score, test) in enumerate(zip(SCORES, TESTS, strict=True)):
        made.candidate(number, test)
        made.candidate(number, score, {"name": "training", "epochs": 1, "examples": 0.5})
        made.candidate(number, -score, "learning_curve")
    rows = agreement(made.store, against="training").set_index("estimator")
    assert set(rows.index) == {"training(epochs=1, examples=0.5)", "learning_curve"}
    tau = tau_b(SCORES, TESTS)
    assert rows.loc["training(epochs=1, examples=0.5)", "kendall"] == pytest.approx(tau)
    assert rows.loc["learning_curve", "kendall"] == pytest.approx(-tau)
    assert agreement(made.store).empty
    rows = agreement(made.store, against="learning_curve").set_index("estimator")
    assert set(rows.index) == {"training", "training(epochs=1, examples=0.5)"}
    with pytest.raises(StoreError, match=r"no estimator 'trainin'.*did you mean 'training'"):
        agreement(made.store, against="trainin")


def test_every_proxy_of_a_search_that_scored_its_candidates_itself_has_its_own_row(tmp_path):
    made = ScoredStore(tmp_path, higher_is_better=False)
    # The metric is better when lower: the score is minus the proxy.
    scores = {number: -score for number, score in enumerate(SCORES)}
    measured = {n: {"synflow": -scores[n], "snip": -test} for n, test in enumerate(TESTS)}
    made.search(scores, {"name": "zero_cost", "proxies": ["synflow", "snip"]}, measured)
    for number, test in enumerate(TESTS):
        made.evaluation(number, test)
    rows = agreement(made.store).set_index("estimator")
    label = "zero_cost(proxies=synflow+snip)"
    assert set(rows.index) == {label, f"{label}: snip"}
    assert rows.loc[f"{label}: snip", "kendall"] == pytest.approx(1)
    assert rows.loc[label, "kendall"] == pytest.approx(-tau_b(SCORES, TESTS))
    assert (rows["candidates"] == 7).all()
    assert rows["seconds"].tolist() == pytest.approx([2 / 7] * 2)


def test_the_bootstrap_interval_covers_the_true_rank_correlation():
    # For a bivariate normal tau is 2 / pi asin(r) (Kendall, Gibbons 1990, equation 10.10).
    rng, inside = np.random.default_rng(3), 0
    r = 0.7
    for _ in range(60):
        a, noise = rng.normal(size=(2, 40))
        _, low, high = interval(kendall, a, r * a + math.sqrt(1 - r * r) * noise, 100, 0.9)
        inside += low <= 2 / math.pi * math.asin(r) <= high
    # Binomial(60, 0.9) is below 44 less than once in 5,000; percentile intervals are a bit short.
    assert inside >= 44


def test_constant_scores_order_nothing():
    a, b = np.array([1.0, 1.0, 1.0, 1.0, 1.0]), np.arange(5.0)
    assert all(math.isnan(value) for value in interval(kendall, a, b, 10, 0.9))


def test_early_stopping_is_counted_from_what_candidates_told(tmp_path):
    made = ScoredStore(tmp_path)
    estimator = {"name": "learning_curve", "epochs": 20}
    made.candidate(0, 0.5, estimator)  # before anything could be predicted
    for number in range(1, 13):
        hopeless, control = number > 4, number > 9
        job = made.candidate(number, 0.5, estimator)
        told = {"mean": 0.4, "deviation": 0.02 if number % 2 else 0.2, "chance": 0.01}
        stopped = float(hopeless and not control)
        made.measure(job, "extrapolation", 10, **told, hopeless=float(hopeless), stopped=stopped)
        if control:
            made.measure(job, "extrapolation", 20, wrong=0.0)
    (row,) = ANALYSES.load("early_stopping").table(made.store).to_dict("records")
    assert row["estimator"] == "learning_curve(epochs=20)"
    counts = {"candidates": 13, "predicted": 12, "hopeless": 8, "stopped": 5, "controls": 3}
    assert {key: row[key] for key in counts} == counts
    assert (row["wrong"], row["wrong_share"], row["wrong_low"]) == (0, 0.0, 0.0)
    assert row["wrong_high"] == pytest.approx(1 - 0.025 ** (1 / 3))  # of no case in three
    assert row["error"] == pytest.approx(0.1)
    # Of 1, 2, 3, 4, 10, 11 and 12, which were trained to the end, the even ones were unsure enough.
    assert row["inside"] == pytest.approx(4 / 7)


def test_the_command_gives_tables_for_people_and_for_programs(run: Run, tmp_path):
    fill(ScoredStore(tmp_path / "results"))
    _, out, _ = run("analyse", "agreement", "--set", "resamples=20")
    assert "evaluate" in out
    _, text, _ = run("analyse", "agreement", "--format", "csv", "--set", "resamples=20")
    (record,) = json.loads(
        run("analyse", "agreement", "--format", "json", "--set", "resamples=20")[1]
    )
    assert pd.read_csv(io.StringIO(text)).iloc[0]["kendall"] == pytest.approx(record["kendall"])
    svg = tmp_path / "a.svg"
    run("analyse", "agreement", "--svg", str(svg))
    circles = [e for e in ElementTree.parse(svg).iter() if e.tag.endswith("circle")]
    assert len(circles) == 7


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["agreemnt"], "did you mean 'agreement'"),
        (["agreement", "--set", "agains=x"], "no parameter 'agains'; did you mean 'against'"),
        (["agreement", "--set", "resamples=many"], "--set resamples: "),
        (["agreement", "--set", "against=x"], "no estimator 'x' in the store"),
    ],
)
def test_what_an_analysis_cannot_be_given_is_one_line(arguments, fault, run: Run):
    assert fault in one_line(run("analyse", *arguments))
