"""Networks as directed acyclic graphs: without identities, and numbered in one way only.

Vertex 0 is the input; vertices that nobody takes are the output. Two graphs build the same network
if one is the other with its vertices numbered differently.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Vertex(NamedTuple):
    """What a vertex computes, and of what.

    Args:
        label: anything that can be compared with the labels of the other vertices.
        sources: numbers of vertices; 0 is the input.
        ordered: whether the order of the sources counts.
    """

    label: tuple[Any, ...]
    sources: tuple[int, ...]
    ordered: bool = False


Vertices = Mapping[int, Vertex]  # by number


def takers(graph: Vertices) -> dict[int, set[int]]:
    """Return for every vertex, the input too, those that take it."""
    found: dict[int, set[int]] = {number: set() for number in (0, *graph)}
    for number, vertex in graph.items():
        for source in vertex.sources:
            found[source].add(number)
    return found


def without_identities(
    graph: Vertices, is_identity: Callable[[Vertex], bool], *, repeats: bool
) -> dict[int, Vertex]:
    """Return the graph without the vertices that hand on their single source as it is.

    Where a vertex, or the output, takes the same thing more than once, so many copies of it have
    to be there; no more are left, and all take the first ones.

    Args:
        graph: numbered so that sources come before those that take them.
        is_identity: tells which vertices hand on what they take.
        repeats: whether a vertex can take the same source more than once.
    """
    origin = {0: 0}
    for number, vertex in sorted(graph.items()):
        copies = is_identity(vertex) and len(vertex.sources) == 1
        origin[number] = origin[vertex.sources[0]] if copies else number
    kept = {number: vertex for number, vertex in graph.items() if origin[number] == number}
    loose = Counter(origin[n] for n, taken in takers(graph).items() if not taken and n in graph)
    taken = {
        number: [origin[source] for source in vertex.sources] for number, vertex in kept.items()
    }
    most: dict[int, int] = defaultdict(int)
    for sources in taken.values():
        for source, count in Counter(sources).items():
            most[source] = max(most[source], 1 if repeats else count)
    result, fresh = dict(kept), max(graph) + 1
    copies_of: dict[int, list[int]] = {}
    for number in (0, *kept):
        ends = loose[number]
        # A vertex that nobody takes is an output without a copy; the input never is one.
        spare = 0 if not most[number] and ends == 1 and number else ends
        count = max(most[number] - 1, 0) + spare
        copies_of[number] = [number, *range(fresh, fresh + count)]
        for copy in copies_of[number][1:]:
            result[copy] = Vertex(_identity(graph, is_identity).label, (number,))
        fresh += count
    for number, sources in taken.items():
        met: Counter[int] = Counter()
        renamed = []
        for source in sources:
            renamed.append(copies_of[source][0 if repeats else met[source]])
            met[source] += 1
        result[number] = kept[number]._replace(sources=tuple(renamed))
    return result


def in_order(graph: Vertices) -> list[Vertex]:
    """Return the vertices 1, 2, ... of the graph in a numbering that depends on nothing else.

    The next vertex is always the one whose sources were numbered last, then the one with the least
    label. Where several are alike in this, all ways to go on are followed, and what they lead to
    decides; ways that have the same rest before them are one.
    """
    after = takers(graph)
    ways: list[dict[int, int]] = [{0: 0}]
    for _ in graph:
        best: tuple | None = None
        longer: dict[object, dict[int, int]] = {}
        for way in ways:
            for number, vertex in graph.items():
                if number in way or any(source not in way for source in vertex.sources):
                    continue
                rank = _rank(vertex, way)
                if best is None or rank < best:
                    best, longer = rank, {}
                if rank == best:
                    step = {**way, number: len(way)}
                    longer.setdefault(_rest(step, after), step)
        ways = list(longer.values())
    place = ways[0]
    ordered = sorted(graph, key=lambda number: place[number])
    return [_renumbered(graph[number], place) for number in ordered]


def _identity(graph: Vertices, is_identity: Callable[[Vertex], bool]) -> Vertex:
    return next(v for v in graph.values() if is_identity(v) and len(v.sources) == 1)


def _renumbered(vertex: Vertex, place: Mapping[int, int]) -> Vertex:
    sources = tuple(place[source] for source in vertex.sources)
    return vertex._replace(sources=sources if vertex.ordered else tuple(sorted(sources)))


def _rank(vertex: Vertex, place: Mapping[int, int]) -> tuple:
    sources = _renumbered(vertex, place).sources
    # Latest sources first: branches are followed to their ends, which tells them apart early.
    falling = sources if vertex.ordered else sources[::-1]
    return tuple(-source for source in falling), vertex.label, vertex.ordered


def _rest(way: Mapping[int, int], after: Mapping[int, set[int]]) -> object:
    """Return all of a way that what follows depends on: who can still be taken, as which number."""
    still = frozenset(
        (number, place) for number, place in way.items() if any(t not in way for t in after[number])
    )
    return frozenset(way), still
