"""Drawings of architectures that are not made of cells."""

from __future__ import annotations

import random
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter

import pytest

from search_space.drawing import colour, draw_cells, render_svg
from search_space.genotype import Cell, Edge, GenotypeError
from search_space.graph import Box, Graph
from search_space.space import SearchSpace
from search_space.spaces import SPACES
from search_space.spaces.block_qnn import BlockQnn
from search_space.spaces.chain import Chain
from search_space.spaces.hierarchical import Hierarchical
from search_space.spaces.multi_branch import MultiBranch

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> Counter[str]:
    """Return the lines that can be read in the picture."""
    found = ElementTree.fromstring(svg).iter(f"{SVG}text")
    return Counter("".join(text.itertext()) for text in found)


def test_every_line_of_every_box_is_written_under_the_name_of_its_graph() -> None:
    graph = Graph((Box("in"), Box("conv 3\nwidth 2", "conv"), Box("a < b & c")), ((0, 1), (1, 2)))
    wanted = Counter(["in", "conv 3", "width 2", "a < b & c", "Chain", "title"])
    assert texts(render_svg({"Chain": graph}, "title")) == wanted


def test_every_arrow_leads_where_it_should_and_has_the_colour_of_its_operation() -> None:
    graph = Graph((Box("in"), Box("1", "conv"), Box("2", "max_pool")), ((0, 1), (0, 2), (1, 2)))
    source = draw_cells({"A graph": graph}, "").source
    arrows = re.findall(r"cell_0_(\d) -> cell_0_(\d)(.*)", source)
    assert [(int(a), int(b)) for a, b, _ in arrows] == list(graph.arrows)
    assert colour("conv") in arrows[2][2]
    for box, name in ((1, "conv"), (2, "max_pool")):
        drawn = re.search(rf"cell_0_{box} \[(.*)\]", source)
        assert drawn
        assert f'fillcolor="{colour(name)}"' in drawn[1]


def test_cells_and_graphs_can_stand_in_one_picture() -> None:
    cell = Cell(((Edge("conv", 0),),), (2,))
    found = texts(render_svg({"normal": cell, "Motif 1": Graph((Box("x"),), ())}, ""))
    assert found["Normal cell"] == found["Motif 1"] == found["x"] == 1


@pytest.mark.parametrize("name", SPACES.names())
def test_every_architecture_can_be_drawn_and_has_a_picture_of_its_own(name: str) -> None:
    space, rng = SPACES.load(name)(), random.Random(0)
    one, other = space.sample(rng), space.sample(rng)
    assert render_svg(space.drawing(one), "") == render_svg(space.drawing(one), "")
    assert render_svg(space.drawing(one), "") != render_svg(space.drawing(other), "")


@pytest.mark.parametrize(
    "space",
    [
        Chain(most_layers=20, widths=(5,), kernels=(7,)),
        MultiBranch(most_layers=12, strides=(3,)),
        Hierarchical(motifs=9, motif_nodes=3, cell_nodes=6),
        BlockQnn(most_layers=30),
    ],
    ids=lambda space: space.name,
)
def test_the_default_space_shows_what_another_one_made(space: SearchSpace) -> None:
    """The command that shows a genotype knows the name of its space and no parameters."""
    default, rng = type(space)(), random.Random(0)
    decisions: list[int] = []
    while count := space.options(decisions):
        decisions.append(min(3, count - 1))  # of the block's types this is not the terminal
    other = space.decode(decisions)
    for genotype in (other, *(space.sample(rng) for _ in range(20))):
        assert default.text(genotype) == space.text(genotype)
        assert default.drawing(genotype) == space.drawing(genotype)
    with pytest.raises(GenotypeError):
        default.check(other)
