"""Drawings: a genotype as a picture, each operation always in the same colour."""

from __future__ import annotations

import colorsys
import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence

import graphviz

from search_space.genotype import Cell, digest
from search_space.graph import Graph

# Families by hue, kernel sizes by lightness. Those of DARTS were chosen by search over sRGB:
# contrast with white at least 4.6 (WCAG AA asks 4.5 for text), CIEDE2000 distance between any two
# about 14, also as seen with no red or no green cones, about 11 with no blue ones (Machado et al.
# 2009). The others have that contrast and the hue of their family, or a new one; there is no room
# for that distance.
COLOURS: Mapping[str, str] = {
    "none": "#262626",
    "skip_connect": "#757575",
    "max_pool_3x3": "#235d46",
    "avg_pool_3x3": "#2e4600",
    "sep_conv_3x3": "#5168e8",
    "sep_conv_5x5": "#233ab9",
    "dil_conv_3x3": "#ae5d0c",
    "dil_conv_5x5": "#80005d",
    "max_pool_5x5": "#1a4433",
    "max_pool_7x7": "#2f7d60",
    "sep_conv_7x7": "#141a66",
    "conv_1x1": "#c0405c",
    "conv_3x3": "#9c1f3f",
    "conv_5x5": "#6b0f28",
    "nor_conv_1x1": "#b5475f",
    "nor_conv_3x3": "#8c2b45",
    "conv_3x1_1x3": "#8656be",
    "conv_7x1_1x7": "#5f2f99",
}
"""Operation name -> colour, ``#rrggbb``. :func:`colour` knows one for any other name too."""

# Graphviz has metrics for it, so labels fit their boxes, and writes "Helvetica,sans-Serif" into
# the SVG, which every browser can show.
_FONT = "Helvetica"
_INK, _FAINT, _PAPER = "#202020", "#8c8c8c", "#ffffff"
_CELL_TITLES = {
    "normal": "Normal cell",
    "reduce": "Reduction cell",
    "cell": "Cell",
    "network": "Network",
}
_ENDS = {1: ("input", "output"), 2: ("c_{k-2}", "c_{k-1}", "c_{k}")}
"""Number of a cell's inputs -> what they and its output are called."""
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class MissingProgramError(RuntimeError):
    """No program that lays graphs out is installed; the message says what to install."""


def colour(operation: str) -> str:
    """Return the colour of ``operation`` as ``#rrggbb``: the same name, the same colour, always."""
    if operation in COLOURS:
        return COLOURS[operation]
    rest, hue = divmod(int(digest(operation), 16), 360)
    strong, dark = divmod(rest, 7)
    # The lightest and strongest, 0.27 and 0.75, contrast 4.6 with white in yellow, the worst hue.
    lightness, saturation = 0.27 - 0.01 * dark, 0.75 - 0.01 * (strong % 21)
    rgb = colorsys.hls_to_rgb(hue / 360, lightness, saturation)
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)


def draw_cell(cell: Cell, title: str) -> graphviz.Digraph:
    """Return one cell as a graph from left to right.

    Circles are the nodes 0, 1, ..., rings those that concatenate their inputs instead of adding
    them. ``c_{k-2}`` and ``c_{k-1}`` are the outputs of the two cells before, ``c_{k}`` that of the
    cell; where there is one input it is node 0. Thin lines lead to what is concatenated to the
    output. Operations are boxes on the edges: a label beside an edge is ambiguous where edges run
    close to each other. An edge without an operation is an arrow.
    """
    return _picture([(title, cell)], "")


def draw_cells(cells: Mapping[str, Cell | Graph], title: str) -> graphviz.Digraph:
    """Return all ``cells`` below each other in one graph, in the order of the mapping.

    Graphs of architectures that are not made of cells stand under their names as they are.
    """
    titled = [
        (_CELL_TITLES.get(name, f"{name} cell") if isinstance(cell, Cell) else name, cell)
        for name, cell in cells.items()
    ]
    return _picture(titled, title)


def render_svg(cells: Mapping[str, Cell | Graph], title: str) -> str:
    """Return one SVG picture of ``cells``, such as the normal and the reduction cell.

    It starts with ``<svg``: it can be written to a file or put into an HTML page as it is. The
    same cells and title give the same text with the same version of the program.

    Raises:
        MissingProgramError: neither Graphviz nor graphviz-pure is installed.
    """
    text = render(draw_cells(cells, title), "svg").decode()
    return text[text.index("<svg") :]


def render(graph: graphviz.Digraph, format: str) -> bytes:
    """Return ``graph`` as a picture in ``format``: "svg" or "png".

    Raises:
        MissingProgramError: neither Graphviz nor graphviz-pure is installed.
        RuntimeError: the program failed; holds what it wrote.
    """
    # graphviz.Digraph.pipe() runs a program called "dot" only, hence not used here.
    command = [_program(), "-Kdot", f"-T{format}"]
    run = subprocess.run(command, input=graph.source.encode(), capture_output=True, check=False)
    if run.returncode:
        wrote = run.stderr.decode(errors="replace").strip()
        raise RuntimeError(f"{' '.join(command)} failed with status {run.returncode}: {wrote}")
    return run.stdout


def _program() -> str:
    scripts = sysconfig.get_path("scripts")
    path = os.pathsep.join((scripts, os.environ.get("PATH", os.defpath)))
    found = shutil.which("dot") or shutil.which("graphviz-pure", path=path)
    if found is None:
        raise MissingProgramError(
            f"drawing a cell needs Graphviz; there is neither 'dot' nor 'graphviz-pure' on PATH "
            f"or in {scripts}. Install one: `pip install graphviz-pure`, or your system's "
            "graphviz package (apt install graphviz, brew install graphviz)"
        )
    return found


def _picture(cells: Sequence[tuple[str, Cell | Graph]], title: str) -> graphviz.Digraph:
    graph = graphviz.Digraph()
    _style(graph, title, "15")
    # A second pass over the crossings of edges would forget that c_{k-2} stands above c_{k-1}.
    graph.attr(rankdir="LR", nodesep="0.13", ranksep="0.3", remincross="false")
    # From left to right, Graphviz stacks clusters from the bottom up.
    for number, (name, cell) in reversed(list(enumerate(cells))):
        with graph.subgraph(name=f"cluster_{number}") as part:
            _style(part, name, "13")
            part.attr(labeljust="l", color="none")
            if isinstance(cell, Cell):
                _draw(part, cell, f"cell_{number}")
            else:
                _draw_graph(part, cell, f"cell_{number}")
    return graph


def _draw(graph: graphviz.Digraph, cell: Cell, prefix: str) -> None:
    """Add ``cell`` to ``graph``; all its names start with ``prefix``."""
    *names, output = _ENDS[cell.inputs]
    with graph.subgraph() as inputs:
        inputs.attr(rank="same")
        for number, label in enumerate(names):
            inputs.node(f"{prefix}_{number}", label=label)
        if cell.inputs == 2:
            inputs.edge(f"{prefix}_1", f"{prefix}_0", style="invis")  # keeps 0 above 1
    for node, edges in enumerate(cell.nodes):
        state = f"{prefix}_{node + cell.inputs}"
        shape = "doublecircle" if node in cell.joined else "circle"
        label = str(node if cell.inputs == 2 else node + cell.inputs)
        graph.node(state, label=label, shape=shape, width="0.34", margin="0")
        for place, edge in enumerate(edges):
            if not edge.operation:
                # Of no weight, so that what does compute is drawn straight.
                graph.edge(f"{prefix}_{edge.source}", state, color=_FAINT, weight="0")
                continue
            box, tint, label = f"{state}_{place}", colour(edge.operation), _escape(edge.operation)
            graph.node(box, label, **_filled(tint))
            graph.edge(f"{prefix}_{edge.source}", f"{box}:w", color=tint, arrowhead="none")
            graph.edge(f"{box}:e", state, color=tint)
    graph.node(f"{prefix}_output", label=output)
    for source in cell.concat:
        faint = {"color": _FAINT, "penwidth": "0.8", "arrowsize": "0.5"}
        graph.edge(f"{prefix}_{source}", f"{prefix}_output", **faint)


def _draw_graph(graph: graphviz.Digraph, drawn: Graph, prefix: str) -> None:
    """Add ``drawn`` to ``graph``; an arrow has the colour of the operation that it leads from."""
    for number, box in enumerate(drawn.boxes):
        tint = {} if box.operation is None else _filled(colour(box.operation))
        graph.node(f"{prefix}_{number}", _escape(box.label), **tint)
    for start, end in drawn.arrows:
        operation = drawn.boxes[start].operation
        tint = {} if operation is None else {"color": colour(operation)}
        graph.edge(f"{prefix}_{start}", f"{prefix}_{end}", **tint)


def _filled(tint: str) -> dict[str, str]:
    return {"fillcolor": tint, "color": tint, "fontcolor": _PAPER, "fontsize": "11"}


def _style(graph: graphviz.Digraph, title: str, size: str) -> None:
    font = {"fontname": _FONT, "fontcolor": _INK}
    graph.attr(label=_escape(title), labelloc="t", fontsize=size, **font)
    node = {"width": "0", "height": "0.26", "margin": "0.09,0.04", "fontsize": "12", **font}
    graph.attr("node", shape="box", style="rounded,filled", fillcolor=_PAPER, color=_INK, **node)
    graph.attr("edge", arrowsize="0.6", penwidth="1.4")


def _escape(text: str) -> str:
    """Return a label that shows ``text`` as it is: no markup, entities or escapes of Graphviz."""
    return graphviz.escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text).replace("&", "&amp;"))
