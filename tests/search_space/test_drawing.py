"""Drawings: what stands in the picture, in which colour, and what happens without a program."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import pytest

from search_space import drawing
from search_space.drawing import (
    MissingProgramError,
    colour,
    draw_cell,
    draw_cells,
    render,
    render_svg,
)
from search_space.genotype import Cell, Edge
from search_space.operations import OPERATIONS
from search_space.spaces.darts import Darts

SVG = "{http://www.w3.org/2000/svg}"

# The published second-order genotype (quark0/darts, genotypes.py), whose cells are dense.
V2 = Darts().cells(
    Darts().parse(
        "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
        "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
        "('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
        "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
        "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], "
        "reduce_concat=[2, 3, 4, 5])"
    )
)
EVERY = Cell((tuple(Edge(name, i % 2) for i, name in enumerate(OPERATIONS)),), (2,))


def sampled(seed: int) -> dict[str, Cell]:
    space = Darts()
    return space.cells(space.sample(random.Random(seed)))


def texts(svg: str) -> list[str]:
    """Return what can be read in the picture."""
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def places(svg: str) -> dict[str, list[tuple[float, float]]]:
    """Return text -> where it stands, x to the right and y downwards."""
    found: dict[str, list[tuple[float, float]]] = {}
    for text in ElementTree.fromstring(svg).iter(f"{SVG}text"):
        place = (float(text.attrib["x"]), float(text.attrib["y"]))
        found.setdefault("".join(text.itertext()), []).append(place)
    return found


def luminance(rgb: str) -> float:
    """Relative luminance of ``#rrggbb`` (WCAG 2.2)."""
    parts = [int(rgb[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("cells", [V2, *map(sampled, range(3))], ids=["V2", "0", "1", "2"])
def test_every_operation_is_written_as_often_as_edges_have_it(cells: dict[str, Cell]) -> None:
    edges = [edge for cell in cells.values() for node in cell.nodes for edge in node]
    wanted = Counter(edge.operation for edge in edges)
    wanted.update({"c_{k-2}": 2, "c_{k-1}": 2, "c_{k}": 2, **{str(node): 2 for node in range(4)}})
    wanted.update(["A title", "Normal cell", "Reduction cell"])
    assert Counter(texts(render_svg(cells, "A title"))) == wanted


def test_every_edge_and_every_concatenated_state_is_drawn_where_it_leads() -> None:
    cell = Cell(((Edge("a", 0), Edge("b", 1), Edge("c", 1)), (Edge("d", 2),), ()), (3, 1))
    source = draw_cell(cell, "cell").source
    arrows = re.findall(r"cell_0_(\w+)(?::\w)? -> cell_0_(\w+)(?::\w)? \[(?!style=invis)", source)
    wanted = [("0", "2_0"), ("1", "2_1"), ("1", "2_2"), ("2", "3_0")]  # to the operations
    wanted += [(box, box[0]) for _, box in wanted]  # and on to the nodes
    assert sorted(arrows) == sorted([*wanted, ("3", "output"), ("1", "output")])


def test_a_cell_of_one_input_counts_it_as_its_first_node() -> None:
    cell = Cell(((Edge("a", 0),), (Edge("b", 0), Edge("c", 1))), (2,), inputs=1)
    svg = render_svg({"cell": cell}, "title")
    assert Counter(texts(svg)) == Counter(
        ["title", "Cell", "input", "output", "1", "2", "a", "b", "c"]
    )
    assert "cell_0_2 -> cell_0_output" in draw_cell(cell, "cell").source


def test_an_edge_without_an_operation_is_an_arrow_without_a_box() -> None:
    cell = Cell(((Edge("a", 0),), (Edge("b", 1), Edge("", 0))), (2,), inputs=1)
    source = draw_cell(cell, "cell").source
    assert "cell_0_0 -> cell_0_2 [" in source
    assert "cell_0_2_1" not in source
    assert "" not in texts(render_svg({"cell": cell}, "title"))


def test_nodes_that_concatenate_are_rings() -> None:
    def ellipses(joined: tuple[int, ...]) -> int:
        cell = Cell(V2["normal"].nodes, (2, 3, 4, 5), joined=joined)
        svg = ElementTree.fromstring(render_svg({"normal": cell}, "title"))
        return sum(1 for _ in svg.iter(f"{SVG}ellipse"))

    assert ellipses(()) == 4
    assert ellipses((1, 3)) == 6


def test_the_same_cells_give_the_same_bytes_in_this_and_another_process() -> None:
    svg = render_svg(V2, "title")
    assert render_svg(V2, "title") == svg
    code = (
        "import json, sys\n"
        "from search_space.drawing import render_svg\n"
        "from search_space.genotype import Cell\n"
        "cells = {k: Cell.from_data(v) for k, v in json.load(sys.stdin).items()}\n"
        "sys.stdout.buffer.write(render_svg(cells, 'title').encode())"
    )
    data = json.dumps({name: cell.to_data() for name, cell in V2.items()})
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    environment["PYTHONPATH"] = str(Path(drawing.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", code],
        input=data.encode(),
        env=environment,
        capture_output=True,
        check=True,
    )
    assert run.stdout.decode() == svg


def test_other_cells_give_another_picture() -> None:
    assert render_svg(V2, "title") != render_svg(sampled(0), "title")


def test_a_picture_can_stand_in_a_page_and_in_a_file(tmp_path: Path) -> None:
    svg = render_svg(V2, "Größe")
    assert svg.startswith("<svg")
    assert svg.rstrip().endswith("</svg>")
    (tmp_path / "cells.svg").write_text(svg, "utf-8")
    root = ElementTree.parse(tmp_path / "cells.svg").getroot()
    assert root.tag == f"{SVG}svg"
    assert "Größe" in texts(svg)


@pytest.mark.parametrize(
    "title",
    [
        "<script>alert(1)</script>",
        "<b>bold</b>",
        "a < b & c > d",
        "R&amp;D &lt;",
        'quote " and \\N and \\"',
        "ends with \\",
        "digraph { a -> b }",
        "µ 中 🙂",
    ],
)
def test_a_title_or_operation_is_shown_as_it_is_and_never_understood(title: str) -> None:
    cell = Cell(((Edge(title, 0),),), (2,))
    svg = render_svg({"normal": cell}, title)
    assert Counter(texts(svg))[title] == 2
    tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(svg).iter()}
    assert tags <= {"svg", "g", "title", "text", "polygon", "path", "ellipse", "polyline"}
    assert "<script" not in svg


def test_characters_that_xml_cannot_hold_are_replaced() -> None:
    svg = render_svg(V2, "nul \0 escape \x1b surrogate \ud800 end")
    assert "nul \ufffd escape \ufffd surrogate \ufffd end" in texts(svg)


def test_cells_are_titled_by_their_names_in_their_order_from_the_top() -> None:
    cells = {"normal": V2["normal"], "reduce": V2["reduce"], "third:": EVERY}
    at = places(render_svg(cells, "title"))
    heights = [at[text][0][1] for text in ("title", "Normal cell", "Reduction cell", "third: cell")]
    assert heights == sorted(heights)


@pytest.mark.parametrize("seed", range(4))
def test_a_cell_runs_from_left_to_right_with_the_older_input_on_top(seed: int) -> None:
    cells = sampled(seed)
    for cell in cells.values():
        at = places(render(draw_cell(cell, "title"), "svg").decode())
        (left, above), (also_left, below) = at["c_{k-2}"][0], at["c_{k-1}"][0]
        assert above < below
        right = at["c_{k}"][0][0]
        xs = [x for found in at.values() for x, _ in found]
        assert max(xs) == right
        assert max(left, also_left) < min(at[str(node)][0][0] for node in range(4))


@pytest.mark.parametrize("cells", [V2, *map(sampled, range(6))])
def test_no_two_labels_touch(cells: dict[str, Cell]) -> None:
    svg = ElementTree.fromstring(render_svg(cells, "title"))
    boxes = []
    for group in svg.iter(f"{SVG}g"):
        if group.get("class") == "node":
            shape = group.find(f"{SVG}path")
            if shape is not None:
                numbers = [float(n) for n in re.findall(r"-?\d+\.?\d*", shape.attrib["d"])]
                boxes.append((numbers[0::2], numbers[1::2]))
    assert len(boxes) == 16 + 6
    for (x1, y1), (x2, y2) in itertools.combinations(boxes, 2):
        apart = max(x1) < min(x2) or max(x2) < min(x1) or max(y1) < min(y2) or max(y2) < min(y1)
        assert apart


def test_every_operation_has_a_colour_of_its_own_that_text_can_be_read_on() -> None:
    colours = {name: colour(name) for name in OPERATIONS}
    assert len(set(colours.values())) == len(OPERATIONS)
    for name, rgb in colours.items():
        assert re.fullmatch("#[0-9a-f]{6}", rgb), name
        assert 1.05 / (luminance(rgb) + 0.05) >= 4.5, name  # WCAG AA, text on white or white on it


def test_any_other_operation_has_a_readable_colour_that_its_name_decides() -> None:
    names = [f"operation_{i}" for i in range(2000)]
    colours = [colour(name) for name in names]
    assert [colour(name) for name in names] == colours
    assert min(1.05 / (luminance(rgb) + 0.05) for rgb in colours) >= 4.5
    assert len(set(colours)) > 1900
    assert colour("operation_0") == "#325b15"  # as it was when this was written, and will be


def test_an_operation_has_its_colour_in_every_picture() -> None:
    for cells in ({"normal": EVERY}, V2):
        for group in ElementTree.fromstring(render_svg(cells, "")).iter(f"{SVG}g"):
            label, shape = group.find(f"{SVG}text"), group.find(f"{SVG}path")
            if group.get("class") == "node" and label is not None and label.text in OPERATIONS:
                assert shape is not None
                assert shape.attrib["fill"] == colour(label.text)
                assert label.get("fill") == "#ffffff" or label.get("fill") == "white"


def test_a_picture_can_be_a_png() -> None:
    assert render(draw_cells(V2, "title"), "png").startswith(b"\x89PNG\r\n")


def test_a_program_beside_the_interpreter_is_found_without_a_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert render_svg(V2, "title").startswith("<svg")


def test_without_a_program_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(drawing.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(MissingProgramError, match="pip install graphviz-pure") as caught:
        render_svg(V2, "title")
    assert str(tmp_path) in str(caught.value)


def test_a_program_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\necho it went wrong >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(RuntimeError, match=r"dot .*failed with status 3: it went wrong"):
        render_svg(V2, "title")
