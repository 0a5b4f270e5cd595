"""The contract of every search space, and the numbers of the DARTS space."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import torch
from scipy.stats import chi2

from search_space.genotype import Genotype, GenotypeError
from search_space.space import SearchSpace
from search_space.spaces import SPACES
from search_space.spaces.darts import Darts
from search_space.task import Task

MakeTask = Callable[..., Task]

TINY = Darts(nodes=1, operations=("none", "skip_connect", "max_pool_3x3"))


@pytest.fixture(scope="module", params=SPACES.names())
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return SPACES.load(request.param)()


def samples(space: SearchSpace, n: int, seed: int = 0) -> list[Genotype]:
    rng = random.Random(seed)
    return [space.sample(rng) for _ in range(n)]


def sequences(space: SearchSpace) -> Iterator[tuple[int, ...]]:
    """Yield every complete sequence of decisions, found by trying all options of each."""
    open_ends: list[tuple[int, ...]] = [()]
    while open_ends:
        start = open_ends.pop()
        count = space.options(start)
        if count == 0:
            yield start
        open_ends += [(*start, option) for option in range(count)]


def test_a_space_has_the_name_of_its_file(space: SearchSpace) -> None:
    assert space.name in SPACES.names()
    assert all(genotype.space == space.name for genotype in samples(space, 3))


def test_decisions_come_back_to_the_same_genotype(space: SearchSpace) -> None:
    for genotype in samples(space, 50):
        assert space.decode(space.encode(genotype)) == genotype


def test_a_sample_is_a_complete_sequence_of_allowed_options(space: SearchSpace) -> None:
    for genotype in samples(space, 20):
        space.check(genotype)
        decisions = space.encode(genotype)
        assert space.options(decisions) == 0
        for place, option in enumerate(decisions):
            assert 0 <= option < space.options(decisions[:place])


def test_the_same_seed_gives_the_same_stream(space: SearchSpace) -> None:
    def stream(seed: int) -> list[Genotype]:
        rng = random.Random(seed)
        drawn = [space.sample(rng) for _ in range(5)]
        return drawn + [space.mutate(genotype, rng) for genotype in drawn]

    assert stream(1) == stream(1)
    assert stream(1) != stream(2)


def test_chance_comes_from_the_given_generator_only(space: SearchSpace) -> None:
    torch.manual_seed(0)
    random.seed(0)
    before = (torch.get_rng_state(), random.getstate())
    rng = random.Random(1)
    space.mutate(space.sample(rng), rng)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()


def test_a_mutation_changes_one_decision_and_later_ones_only_where_it_must(
    space: SearchSpace,
) -> None:
    rng = random.Random(3)
    for genotype in samples(space, 10):
        old = space.encode(genotype)
        for _ in range(10):
            mutant = space.mutate(genotype, rng)
            assert mutant != genotype
            new = space.encode(mutant)
            place = next(i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
            for later in range(place + 1, min(len(old), len(new))):
                was_possible = old[later] < space.options(new[:later])
                assert new[later] == old[later] or not was_possible


def test_a_mutation_reaches_every_decision(space: SearchSpace) -> None:
    genotype = samples(space, 1)[0]
    old = space.encode(genotype)
    free = {i for i in range(len(old)) if space.options(old[:i]) > 1}
    rng, reached = random.Random(0), set()
    for _ in range(60 * len(free)):
        new = space.encode(space.mutate(genotype, rng))
        reached.add(next(i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b))
    assert reached == free


def test_the_neighbours_are_all_architectures_one_decision_away(space: SearchSpace) -> None:
    genotype = samples(space, 1)[0]
    decisions = space.encode(genotype)
    found = list(space.neighbours(genotype))
    assert len(found) == sum(space.options(decisions[:i]) - 1 for i in range(len(decisions)))
    assert len({*found, genotype}) == len(found) + 1
    for neighbour in found:
        space.check(neighbour)
    assert found == list(space.neighbours(genotype))


def test_a_representative_is_of_the_space_and_represents_itself(space: SearchSpace) -> None:
    for genotype in samples(space, 20):
        representative = space.canonical(genotype)
        space.check(representative)
        assert space.canonical(representative) == representative


def test_a_genotype_comes_back_from_its_text_and_from_json(space: SearchSpace) -> None:
    for genotype in samples(space, 20):
        assert space.parse(space.text(genotype)) == genotype
        assert space.parse(genotype.to_json()) == genotype


def test_a_genotype_of_another_space_is_refused(space: SearchSpace) -> None:
    foreign = Genotype.of("elsewhere", samples(space, 1)[0].data)
    with pytest.raises(GenotypeError, match="elsewhere"):
        space.encode(foreign)
    with pytest.raises(GenotypeError, match="elsewhere"):
        space.parse(foreign.to_json())


def test_a_text_that_is_no_genotype_is_refused(space: SearchSpace) -> None:
    empty = Genotype.of(space.name, {}).to_json()
    for text in ("", "no genotype", "Genotype(", "{}", "[1]", empty):
        with pytest.raises(GenotypeError):
            space.parse(text)


def test_every_sampled_genotype_builds_a_network_of_the_right_output(
    space: SearchSpace, make_task: MakeTask
) -> None:
    task = make_task((2, 9, 6), "classes")
    x = torch.randn(2, *task.shape)
    for genotype in samples(space, 8):
        network = space.build(genotype, task, channels=4, layers=3)
        assert network(x).shape == (2, 3)


@pytest.mark.parametrize("kind", ["classes", "multilabel", "regression", "dense"])
@pytest.mark.parametrize("shape", [(2, 19), (1, 12, 7)], ids=["1-D", "not square"])
def test_a_training_step_lowers_the_loss_on_its_batch(
    space: SearchSpace, make_task: MakeTask, kind: str, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    task = make_task(shape, kind)
    genotype = samples(space, 1)[0]
    network = space.build(genotype, task, channels=4, layers=3)
    inputs, targets = task.batch(task.train, torch.arange(len(task.train)))
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
    before = task.loss(network(inputs), targets)
    before.backward()
    optimiser.step()
    after = task.loss(network(inputs), targets)
    assert torch.isfinite(before)
    assert after < before


def test_a_build_depends_on_torchs_seed_and_on_nothing_else(
    space: SearchSpace, make_task: MakeTask
) -> None:
    task, genotype = make_task((1, 8, 8), "classes"), samples(space, 1)[0]

    def weights(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        return list(space.build(genotype, task, channels=4, layers=3).parameters())

    one, same, other = weights(0), weights(0), weights(1)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_supernet_finds_an_architecture_of_its_own_space_or_is_refused_by_name(
    space: SearchSpace, make_task: MakeTask
) -> None:
    task = make_task((1, 8, 8), "classes")
    if type(space).supernet is SearchSpace.supernet:
        with pytest.raises(TypeError, match=space.name):
            space.supernet(task, channels=4, layers=3)
    else:
        mixtures = space.supernet(task, channels=4, layers=3).uniform()
        weights = {kind: mixture.weights for kind, mixture in mixtures.items()}
        space.check(space.discretise(weights))
        space.check(space.continuous(weights))


def test_the_size_is_the_number_of_sequences_of_a_tiny_space() -> None:
    complete = list(sequences(TINY))
    assert TINY.size() == len(complete) == len(set(complete)) == 16
    assert len({TINY.decode(decisions) for decisions in complete}) == 16


def test_every_sequence_of_a_tiny_space_is_what_its_genotype_encodes_to() -> None:
    for decisions in sequences(TINY):
        assert TINY.encode(TINY.decode(decisions)) == decisions


def test_the_neighbours_of_a_tiny_space_are_the_sequences_at_distance_one() -> None:
    complete = list(sequences(TINY))
    for decisions in complete:
        wanted = {
            TINY.decode(other)
            for other in complete
            if sum(a != b for a, b in zip(decisions, other, strict=True)) == 1
        }
        assert set(TINY.neighbours(TINY.decode(decisions))) == wanted


def test_sampling_is_uniform_over_a_tiny_space() -> None:
    # Pearson's chi-square with 15 degrees of freedom; significance 0.001 at a fixed seed.
    n, counts = 4800, Counter(samples(TINY, 4800))
    expected = n / 16
    statistic = sum((count - expected) ** 2 / expected for count in counts.values())
    assert len(counts) == 16
    assert statistic < chi2.ppf(0.999, df=15)


def test_mutation_is_uniform_over_the_neighbours_of_a_tiny_space() -> None:
    # Every free decision has two options, so all neighbours are equally likely; 0.001 as above.
    genotype, rng, n = samples(TINY, 1)[0], random.Random(1), 2000
    counts = Counter(TINY.mutate(genotype, rng) for _ in range(n))
    neighbours = set(TINY.neighbours(genotype))
    expected = n / len(neighbours)
    statistic = sum((count - expected) ** 2 / expected for count in counts.values())
    assert set(counts) == neighbours
    assert statistic < chi2.ppf(0.999, df=len(neighbours) - 1)


def test_the_darts_space_is_as_large_as_the_paper_says() -> None:
    # Liu et al. 2019, appendix on search complexity: the product over k = 1 to 4 of
    # (k + 1) k / 2 x 7^2, for each of two cells; about 10^18.
    cell = 1
    for k in range(1, 5):
        cell *= (k + 1) * k // 2 * 7**2
    assert Darts().size() == cell**2
    assert 1e18 < cell**2 < 1.1e18


def test_a_space_of_one_architecture_cannot_be_mutated() -> None:
    single = Darts(nodes=1, operations=("skip_connect",))
    genotype = samples(single, 1)[0]
    assert single.size() == 1
    assert list(single.neighbours(genotype)) == []
    with pytest.raises(ValueError, match="single architecture"):
        single.mutate(genotype, random.Random(0))


def test_the_order_of_a_nodes_edges_does_not_change_its_decisions() -> None:
    space = Darts(nodes=2)
    for genotype in samples(space, 5):
        data = genotype.data
        for cell in data.values():
            cell["nodes"] = [list(reversed(node)) for node in cell["nodes"]]
        assert space.encode(Genotype.of("darts", data)) == space.encode(genotype)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"nodes": 0}, "at least 1"),
        ({"operations": ("sep_conv_3x",)}, r"'sep_conv_3x'.*did you mean 'sep_conv_3x3'"),
        ({"operations": ("none",)}, "at least one other than 'none'"),
        ({"operations": ("skip_connect", "skip_connect")}, "must be different"),
        ({"operations": ()}, "at least one"),
    ],
)
def test_parameters_without_a_meaning_are_refused(parameters: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Darts(**parameters)


def test_all_pairs_of_earlier_states_can_be_chosen() -> None:
    space = Darts(nodes=3, operations=("skip_connect",))
    pairs = {
        tuple(edge.source for edge in space.cells(space.decode(decisions))["normal"].nodes[2])
        for decisions in itertools.islice(sequences(space), 200)
    }
    assert pairs == set(itertools.combinations(range(4), 2))
