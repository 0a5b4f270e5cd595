"""Genotypes: exact JSON, keys that never change, and the text forms of published code and logs."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from search_space.genotype import (
    Cell,
    Edge,
    Genotype,
    GenotypeError,
    canonical_json,
    parse_cells,
    print_cells,
)
from search_space.spaces.darts import Darts

ROOT = Path(__file__).resolve().parents[2]

# quark0/darts, genotypes.py: found by the first-order and the second-order search on CIFAR-10.
DARTS_V1 = (
    "Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('skip_connect', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)], reduce_concat=[2, 3, 4, 5])"
)
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
    "('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)

ONE_NODE = (
    "Genotype(normal=[('skip_connect', 0), ('skip_connect', 1)], normal_concat=range(2, 3), "
    "reduce=[('skip_connect', 0), ('skip_connect', 1)], reduce_concat=range(2, 3))"
)


def one_node(**fields: str) -> str:
    """Return ONE_NODE with the source text of some fields replaced."""
    edges = "[('skip_connect', 0), ('skip_connect', 1)]"
    concat = "range(2, 3)"
    values = {"normal": edges, "normal_concat": concat, "reduce": edges, "reduce_concat": concat}
    return f"Genotype({', '.join(f'{k}={v}' for k, v in {**values, **fields}.items())})"


def literally(text: str) -> str:
    """Return a published text as the logs write it: the concatenation as a range."""
    return text.replace("[2, 3, 4, 5]", "range(2, 6)")


def test_json_gives_back_the_same_genotype_and_the_same_text() -> None:
    data = {"ä": [1, 2.5, None, True, "x\n\"'\\"], "b": {"z": [], "a": {}}, "large": 2**80}
    genotype = Genotype.of("some_space", data)
    again = Genotype.from_json(genotype.to_json())
    assert again == genotype
    assert again.data == data
    assert again.to_json() == genotype.to_json()
    assert again.key == genotype.key


def test_the_order_of_fields_does_not_change_the_key() -> None:
    a = Genotype.of("s", {"x": 1, "y": {"p": 2, "q": 3}})
    b = Genotype.of("s", {"y": {"q": 3, "p": 2}, "x": 1})
    text = '{ "structure": {"y": {"q": 3, "p": 2}, "x": 1},\n "space": "s" }'
    assert a == b == Genotype.from_json(text)
    assert a.key == b.key == Genotype.from_json(text).key


def test_the_key_is_the_sha256_of_the_canonical_json() -> None:
    genotype = Genotype.of("s", {"b": 1, "a": [2]})
    text = '{"space":"s","structure":{"a":[2],"b":1}}'
    assert genotype.to_json() == text
    assert genotype.key == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_other_structures_and_other_spaces_have_other_keys() -> None:
    genotypes = [Genotype.of("s", {"a": 1}), Genotype.of("s", {"a": 2}), Genotype.of("t", {"a": 1})]
    assert len({genotype.key for genotype in genotypes}) == 3


@pytest.mark.parametrize("seed", ["0", "1"])
def test_the_key_is_the_same_in_another_process(seed: str) -> None:
    genotype = Genotype.of("darts", {"b": ["x", 1], "a": {"z": None}})
    code = (
        "from search_space.genotype import Genotype\n"
        f"print(Genotype.from_json({genotype.to_json()!r}).key)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == genotype.key


def test_a_genotype_cannot_be_changed_through_its_data() -> None:
    genotype = Genotype.of("s", {"a": [1]})
    genotype.data["a"].append(2)
    assert genotype.data == {"a": [1]}


def test_canonical_json_refuses_numbers_that_json_does_not_have() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ('{"space": "darts", "structure": {"normal"', "not JSON"),
        ("[]", "a genotype in JSON is"),
        ('{"space": "darts"}', "a genotype in JSON is"),
        ('{"space": "darts", "structure": {}, "more": 1}', "a genotype in JSON is"),
        ('{"space": 3, "structure": {}}', "must be a name"),
        ('{"space": "darts", "structure": []}', "must be a name"),
    ],
)
def test_json_that_is_no_genotype_is_refused_with_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(GenotypeError, match=says):
        Genotype.from_json(text)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_json_with_a_number_that_json_does_not_have_is_no_genotype(number: str) -> None:
    with pytest.raises(GenotypeError):
        Genotype.from_json(f'{{"space": "darts", "structure": {{"a": {number}}}}}')


def test_json_of_another_space_is_refused_with_both_names() -> None:
    text = Genotype.of("elsewhere", {"normal": {}, "reduce": {}}).to_json()
    with pytest.raises(GenotypeError, match=r"'elsewhere'.*'darts'"):
        Darts().parse(text)


def test_a_cell_comes_back_from_its_plain_data() -> None:
    cell = Cell(((Edge("a", 0), Edge("b", 1)), (Edge("c", 2),), ()), (4, 2))
    assert Cell.from_data(cell.to_data()) == cell
    assert set(cell.to_data()) == {"nodes", "concat"}
    other = Cell(((Edge("a", 0), Edge("", 0)), (Edge("c", 1),)), (2,), inputs=1, joined=(0,))
    assert Cell.from_data(other.to_data()) == other


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"inputs": 0}, "one or two inputs, not 0"),
        ({"inputs": 3}, "one or two inputs, not 3"),
        ({"inputs": 1}, "node 0 takes state 1; allowed: 0 to 0"),
        ({"inputs": "2"}, "not a cell"),
        ({"joined": [1]}, "must name nodes 0 to 0"),
        ({"joined": 0}, "not a cell"),
        ({"inputs": 2}, r"written as \['concat', 'nodes'\]"),
        ({"joined": []}, r"written as \['concat', 'nodes'\]"),
        ({"more": 1}, r"a cell of \['concat', 'more', 'nodes'\]"),
    ],
)
def test_inputs_and_joins_that_are_not_there_are_refused(change: dict, says: str) -> None:
    with pytest.raises(GenotypeError, match=says):
        Cell.from_data({"nodes": [[["a", 1]]], "concat": [2], **change})


def test_a_darts_cell_has_two_inputs_and_nodes_that_add() -> None:
    data = Darts().parse(DARTS_V2).data
    data["reduce"]["joined"] = [1]
    with pytest.raises(GenotypeError, match="the reduce cell must have two inputs"):
        Darts().encode(Genotype.of("darts", data))


@pytest.mark.parametrize(
    "data",
    [
        {"nodes": [[["a", 2]]], "concat": [2]},
        {"nodes": [[["a", 0]], [["a", 3]]], "concat": [2]},
        {"nodes": [[["a", -1]]], "concat": [2]},
    ],
)
def test_an_edge_from_a_state_that_is_not_there_yet_is_refused(data: dict) -> None:
    with pytest.raises(GenotypeError, match=r"takes state -?\d; allowed: 0 to"):
        Cell.from_data(data)


@pytest.mark.parametrize("concat", [[], [3], [-1], [2, 7]])
def test_a_concatenation_of_states_that_are_not_there_is_refused(concat: list[int]) -> None:
    with pytest.raises(GenotypeError, match="must name states 0 to 2"):
        Cell.from_data({"nodes": [[["a", 0]]], "concat": concat})


@pytest.mark.parametrize(
    "data",
    [
        {"concat": [2]},
        {"nodes": 3, "concat": [2]},
        {"nodes": [[["a"]]], "concat": [2]},
        {"nodes": [[["a", "first"]]], "concat": [2]},
        {"nodes": [[["a", None]]], "concat": [2]},
        {"nodes": [[["a", 0]]], "concat": None},
    ],
)
def test_data_of_the_wrong_form_is_no_cell(data: dict) -> None:
    with pytest.raises(GenotypeError, match="not a cell"):
        Cell.from_data(data)


@pytest.mark.parametrize(
    "data",
    [
        {"nodes": [[["a", 0.9]]], "concat": [2]},
        {"nodes": [[["a", "0"]]], "concat": [2]},
        {"nodes": [[["a", False]]], "concat": [2]},
        {"nodes": [[[5, 0]]], "concat": [2]},
        {"nodes": [[["a", 0]]], "concat": "2"},
        {"nodes": [[["a", 0]]], "concat": [2.5]},
    ],
)
def test_data_of_the_wrong_type_is_refused_and_not_converted(data: dict) -> None:
    # Two genotypes that build the same network must not have two keys.
    with pytest.raises(GenotypeError):
        Cell.from_data(data)


def test_the_published_second_order_genotype_is_read_edge_by_edge() -> None:
    cells = parse_cells(DARTS_V2)
    assert list(cells) == ["normal", "reduce"]
    assert cells["normal"].nodes[2] == (Edge("sep_conv_3x3", 1), Edge("skip_connect", 0))
    assert cells["reduce"].nodes[3] == (Edge("skip_connect", 2), Edge("max_pool_3x3", 1))
    assert cells["normal"].concat == cells["reduce"].concat == (2, 3, 4, 5)
    assert [len(cell.nodes) for cell in cells.values()] == [4, 4]


@pytest.mark.parametrize("text", [DARTS_V1, DARTS_V2])
def test_published_genotypes_print_as_the_code_that_found_them_prints(text: str) -> None:
    assert print_cells(parse_cells(text)) == literally(text)
    assert parse_cells(literally(text)) == parse_cells(text)


@pytest.mark.parametrize("text", [DARTS_V1, DARTS_V2])
def test_a_published_genotype_keeps_its_text_through_json(text: str) -> None:
    space = Darts()
    genotype = space.parse(text)
    assert space.parse(genotype.to_json()) == genotype
    assert space.text(genotype) == literally(text)


def test_a_concatenation_with_gaps_is_printed_as_a_list_and_read_back() -> None:
    text = one_node().replace("normal=[", "normal=[('a', 0), ('b', 0), ")
    text = text.replace("normal_concat=range(2, 3)", "normal_concat=[1, 3]")
    assert print_cells(parse_cells(text)) == text


def test_every_genotype_of_the_real_logs_prints_back_to_the_identical_text(
    data_root: Path,
) -> None:
    space = Darts()
    lines = [
        line
        for path in sorted((data_root / "darts_logs").rglob("*"))
        if path.name == "log.txt"
        for line in path.read_text("utf-8").splitlines()
        if "genotype = Genotype(" in line
    ]
    lines += [path.read_text("utf-8") for path in (data_root / "darts_logs").rglob("*.arch")]
    assert len(lines) >= 51
    for line in lines:
        written = line[line.index("Genotype(") :].strip()
        assert space.text(space.parse(line)) == written


def test_a_text_may_stand_anywhere_in_a_log_line() -> None:
    line = f"2019-10-14 13:10:31,569 (gpu 3) genotype = {ONE_NODE} (epoch 0)\n"
    assert print_cells(parse_cells(line)) == ONE_NODE


def test_what_a_text_calls_is_never_called(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    call = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    texts = [one_node(normal=call), one_node(normal=f"[({call}, 0), ('a', 1)]")]
    texts += [one_node(normal_concat=f"range({call}, 3)"), one_node(reduce=f"range({call})")]
    texts += [one_node(normal=f"[x for x in [{call}]]"), one_node(reduce=f"(lambda: {call})()")]
    for text in texts:
        with pytest.raises(GenotypeError, match="not a plain value"):
            parse_cells(text)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"no Genotype\(\.\.\.\)"),
        ("epoch 3 valid_acc 97.1", r"no Genotype\(\.\.\.\)"),
        (DARTS_V2[:200], r"Genotype\(\.\.\.\)"),
        (DARTS_V2[:-1], r"Genotype\(\.\.\.\)"),
        (one_node(normal="[('a', 0), ('b', 1)"), r"Genotype\(\.\.\.\)"),
        ("Genotype([], [2], [], [2])", "named fields only"),
        ("Genotype(normal=[], normal_concat=[0], reduce=[])", "wanted .*'reduce_concat'"),
        (one_node(third="[]"), "wanted"),
        (one_node(normal="[('a', 0)]"), "two edges for each node"),
        (one_node(normal="{'a': 0}"), "two edges for each node"),
        (one_node(normal="[('a', 0), 'b']"), "not a cell"),
        (one_node(normal="[('a', 0), ('b', 1, 2)]"), "not a cell"),
        (one_node(normal="[('a', 0), ('b', x)]"), "not a plain value"),
        (one_node(normal="[('a', 0), ('b', 2)]"), "takes state 2; allowed: 0 to 1"),
        (one_node(normal_concat="range(2, 9)"), "must name states"),
        (one_node(normal_concat="range(2, 3, 0)"), "not a plain value"),
        (one_node(normal_concat="range()"), "not a plain value"),
        (one_node(normal_concat="range('a')"), "not a plain value"),
        (one_node(normal_concat="2"), "not a cell"),
    ],
)
def test_a_text_that_is_no_genotype_is_refused_with_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(GenotypeError, match=says):
        parse_cells(text)


@pytest.mark.parametrize(
    "text",
    [
        one_node(normal="\0"),
        one_node(normal="-" * 20000 + "1"),
        one_node(normal="(" * 500 + ")" * 500),
        one_node(normal_concat="range(4611686018427387904)"),
    ],
    ids=["null byte", "long chain", "deep nesting", "endless range"],
)
def test_a_text_made_to_break_the_reader_is_refused_like_any_other(text: str) -> None:
    with pytest.raises(GenotypeError):
        parse_cells(text)


def test_cells_that_the_text_form_cannot_express_are_refused() -> None:
    cell = Cell(((Edge("a", 0), Edge("b", 1), Edge("c", 1)),), (2,))
    with pytest.raises(GenotypeError, match="two edges for each node"):
        print_cells({"normal": cell, "reduce": cell})


def test_an_unknown_operation_is_named_with_the_nearest_one() -> None:
    with pytest.raises(GenotypeError, match=r"'sep_conv_3x' in the normal .* 'sep_conv_3x3'"):
        Darts().parse(DARTS_V2.replace("sep_conv_3x3", "sep_conv_3x", 1))


def test_none_is_no_operation_of_a_finished_network() -> None:
    with pytest.raises(GenotypeError, match="unknown operation 'none'"):
        Darts().parse(DARTS_V2.replace("skip_connect", "none", 1))


def test_a_source_out_of_range_is_named_with_what_is_allowed() -> None:
    with pytest.raises(GenotypeError, match="node 3 takes state 5; allowed: 0 to 4"):
        Darts().parse(DARTS_V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', 5)"))


def test_two_edges_from_one_state_are_not_of_the_darts_space() -> None:
    with pytest.raises(GenotypeError, match=r"node 0 of the normal cell takes the states \[1, 1\]"):
        Darts().parse(DARTS_V2.replace("('sep_conv_3x3', 0)", "('sep_conv_3x3', 1)", 1))


def test_another_number_of_nodes_is_not_of_the_space() -> None:
    with pytest.raises(GenotypeError, match="has 1 nodes, not 4"):
        Darts().parse(ONE_NODE)


def test_a_concatenation_of_some_nodes_only_is_not_of_the_darts_space() -> None:
    # Its decisions could not say so: they would build another network.
    with pytest.raises(GenotypeError, match="concat"):
        Darts().parse(DARTS_V2.replace("normal_concat=[2, 3, 4, 5]", "normal_concat=[4, 5]"))


@pytest.mark.parametrize("cells", [{}, {"normal": {}}, {"normal": [], "reduce": []}])
def test_data_without_both_cells_is_not_of_the_darts_space(cells: dict) -> None:
    with pytest.raises(GenotypeError):
        Darts().check(Genotype.of("darts", cells))
