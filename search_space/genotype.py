"""Genotypes: architectures as data, with an exact JSON form, a key, and published text forms."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

_Kind = TypeVar("_Kind")


class GenotypeError(ValueError):
    """A text or record that is not a genotype; the message says what is wrong with it."""


def canonical_json(data: Any) -> str:
    """Return ``data`` as JSON with sorted keys and no spaces: equal data, equal text."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(text: str) -> str:
    """Return the 16 hexadecimal digits that name ``text`` in stores and folders."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")


@dataclass(frozen=True)
class Genotype:
    """An architecture as data: which space can build it and what was chosen. No weights.

    Args:
        space: name of the entry of the spaces shelf that builds it.
        structure: canonical JSON of the choices; use :meth:`of` to make one from plain data.
    """

    space: str
    structure: str

    @classmethod
    def of(cls, space: str, structure: Mapping[str, Any]) -> Genotype:
        """Make a genotype from plain JSON data."""
        return cls(space, canonical_json(structure))

    @property
    def data(self) -> dict[str, Any]:
        """The choices as fresh plain data."""
        return json.loads(self.structure)

    @property
    def key(self) -> str:
        """Digest of the content; what results are joined on."""
        return digest(self.to_json())

    def to_json(self) -> str:
        """Return the canonical JSON form, which :meth:`from_json` reads back exactly."""
        return canonical_json({"space": self.space, "structure": self.data})

    @classmethod
    def from_json(cls, text: str) -> Genotype:
        """Read what :meth:`to_json` wrote. Raises GenotypeError."""
        try:
            record = json.loads(text, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise GenotypeError(f"not JSON: {error}") from None
        if not isinstance(record, dict) or set(record) != {"space", "structure"}:
            raise GenotypeError('a genotype in JSON is {"space": name, "structure": {...}}')
        if not isinstance(record["space"], str) or not isinstance(record["structure"], dict):
            raise GenotypeError('"space" must be a name and "structure" a mapping')
        return cls.of(record["space"], record["structure"])


class Edge(NamedTuple):
    """One input of a node: an operation on an earlier state; ``""`` is the state as it is."""

    operation: str
    source: int


@dataclass(frozen=True)
class Cell:
    """A cell as data: for each node its incoming edges, and the states that are concatenated.

    States are numbered as in DARTS: the inputs come first, then the nodes; node ``i`` is state
    ``i + inputs``. Of two inputs, 0 is the output of the cell before the last, 1 of the last.

    Args:
        nodes: the edges of each node.
        concat: the states that are the cell's output.
        inputs: number of the cell's inputs, 1 or 2.
        joined: the nodes that concatenate their inputs; all others add them.
    """

    nodes: tuple[tuple[Edge, ...], ...]
    concat: tuple[int, ...]
    inputs: int = 2
    joined: tuple[int, ...] = ()

    def to_data(self) -> dict[str, Any]:
        """Return the cell as plain JSON data; what is as in DARTS is not mentioned."""
        data: dict[str, Any] = {
            "nodes": [[list(edge) for edge in node] for node in self.nodes],
            "concat": list(self.concat),
        }
        if self.inputs != 2:
            data["inputs"] = self.inputs
        if self.joined:
            data["joined"] = list(self.joined)
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Cell:
        """Read what :meth:`to_data` wrote. Raises GenotypeError."""
        try:
            nodes = tuple(
                tuple(Edge(_of(str, operation), _of(int, source)) for operation, source in node)
                for node in data["nodes"]
            )
            concat = tuple(_of(int, state) for state in data["concat"])
            inputs = _of(int, data.get("inputs", 2))
            joined = tuple(_of(int, node) for node in data.get("joined", ()))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise GenotypeError(f"not a cell: {type(error).__name__}: {error}") from None
        cell = cls(nodes, concat, inputs, joined)
        cell.check()
        if set(data) != set(cell.to_data()):  # or one cell would have two keys
            raise GenotypeError(
                f"a cell of {sorted(data)}; this one is written as {sorted(cell.to_data())}"
            )
        return cell

    def check(self) -> None:
        """Raise GenotypeError if an edge, the output or ``joined`` names what is not there."""
        if self.inputs not in (1, 2):
            raise GenotypeError(f"a cell has one or two inputs, not {self.inputs}")
        for node, edges in enumerate(self.nodes):
            for edge in edges:
                if not 0 <= edge.source < node + self.inputs:
                    raise GenotypeError(
                        f"node {node} takes state {edge.source}; "
                        f"allowed: 0 to {node + self.inputs - 1}"
                    )
        states = len(self.nodes) + self.inputs
        if not self.concat or not all(0 <= state < states for state in self.concat):
            raise GenotypeError(f"concat {self.concat} must name states 0 to {states - 1}")
        if not all(0 <= node < len(self.nodes) for node in self.joined):
            raise GenotypeError(f"joined {self.joined} must name nodes 0 to {len(self.nodes) - 1}")


def _of(kind: type[_Kind], value: Any) -> _Kind:
    """Return ``value`` if it is a ``kind``: converted values would give one network two keys."""
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


_CELL_NAMES = ("normal", "reduce")
_MOST_STATES = 1000  # of a range in a text, which could name more than memory holds


def parse_cells(text: str) -> dict[str, Cell]:
    """Read the ``Genotype(normal=[...], normal_concat=range(2, 6), ...)`` text of DARTS logs.

    Each node has two edges, listed one node after the other (quark0/darts, genotypes.py). The text
    may stand anywhere in a log line. It is read as a literal and never evaluated.

    Raises:
        GenotypeError: with what could not be read.
    """
    written = _call(text)
    try:
        call = ast.parse(written, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise GenotypeError(f"not a Genotype(...) text: {error}") from None
    if not isinstance(call, ast.Call) or call.args:
        raise GenotypeError("Genotype(...) takes named fields only")
    fields = {keyword.arg: keyword.value for keyword in call.keywords}
    wanted = {f"{cell}{suffix}" for cell in _CELL_NAMES for suffix in ("", "_concat")}
    if set(fields) != wanted:
        raise GenotypeError(f"fields {sorted(map(str, fields))}; wanted {sorted(wanted)}")
    cells = {}
    for name in _CELL_NAMES:
        edges, concat = _literal(fields[name]), _literal(fields[f"{name}_concat"])
        if not isinstance(edges, list) or len(edges) % 2:
            raise GenotypeError(f"{name} must list two edges for each node")
        pairs = [edges[i : i + 2] for i in range(0, len(edges), 2)]
        cells[name] = Cell.from_data({"nodes": pairs, "concat": concat})
    return cells


def print_cells(cells: Mapping[str, Cell]) -> str:
    """Write cells as the text that :func:`parse_cells` and the published DARTS code read.

    Raises:
        GenotypeError: a node does not have exactly two edges, which the form cannot express.
    """
    fields = []
    for name in _CELL_NAMES:
        cell = cells[name]
        if any(len(node) != 2 for node in cell.nodes):
            raise GenotypeError("the text form holds cells with two edges for each node only")
        edges = [tuple(edge) for node in cell.nodes for edge in node]
        first, last = cell.concat[0], cell.concat[-1]
        run = cell.concat == tuple(range(first, last + 1))
        concat = f"range({first}, {last + 1})" if run else repr(list(cell.concat))
        fields += [f"{name}={edges!r}", f"{name}_concat={concat}"]
    return f"Genotype({', '.join(fields)})"


def _call(text: str) -> str:
    """Return the part of ``text`` from ``Genotype(`` to the bracket that closes it."""
    start = text.find("Genotype(")
    if start < 0:
        raise GenotypeError("no Genotype(...) in the text")
    depth = 0
    for end in range(start + len("Genotype"), len(text)):
        depth += (text[end] == "(") - (text[end] == ")")
        if depth == 0:
            return text[start : end + 1]
    raise GenotypeError("the text ends within Genotype(...)")


def _literal(node: ast.expr) -> Any:
    is_range = (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range"
    )
    read: Callable[[ast.expr], Any] = ast.literal_eval
    try:
        if is_range:
            assert isinstance(node, ast.Call)
            states = range(*(read(argument) for argument in node.args))
            if len(states) > _MOST_STATES:
                raise ValueError(f"more than {_MOST_STATES} states")
            return list(states)
        return read(node)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise GenotypeError(f"not a plain value: {ast.unparse(node)} ({error})") from None
