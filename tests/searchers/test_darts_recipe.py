"""The recipe of DARTS: the paper's numbers, and what is chosen where nothing is."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from searchers.darts import Darts
from small_darts import CPU, search, small_space


class TestThePapersNumbers:
    """Liu et al. 2019, section A.1; quark0/darts, train_search.py, where the paper is silent."""

    def test_the_network_has_8_cells_of_16_initial_channels(self) -> None:
        params = Darts.Params(**Darts.PAPER)
        assert (params.layers, params.channels) == (8, 16)

    def test_50_epochs_in_batches_of_64_on_half_of_the_training_data(self) -> None:
        params = Darts.Params(**Darts.PAPER)
        assert (params.epochs, params.batch_size, params.train_portion) == (50, 64, 0.5)

    def test_weights_by_sgd_from_0_025_with_momentum_0_9_and_decay_3e_4(self) -> None:
        params = Darts.Params(**Darts.PAPER)
        assert (params.learning_rate, params.momentum, params.weight_decay) == (0.025, 0.9, 3e-4)
        assert (params.learning_rate_min, params.clip) == (0.001, 5.0)  # train_search.py

    def test_architecture_by_adam_of_3e_4_with_momenta_0_5_and_0_999_and_decay_1e_3(
        self, make_task
    ) -> None:
        program = search(make_task((1, 4, 4)))
        optimizer = program.alternation.architecture_optimizer
        (group,) = optimizer.param_groups
        assert isinstance(optimizer, torch.optim.Adam)
        assert (group["lr"], group["betas"], group["weight_decay"]) == (3e-4, (0.5, 0.999), 1e-3)
        assert [tuple(alpha.shape) for alpha in group["params"]] == [(5, 3), (5, 3)]

    def test_first_order_unless_the_second_is_asked_for(self) -> None:
        params = Darts.Params()
        assert (params.order, params.second_order) == (1, "finite_difference")
        assert params.gradient == "first"
        assert Darts.Params(order=2).gradient == "finite_difference"
        assert Darts.Params(order=2, second_order="exact").gradient == "exact"

    def test_plain_unless_something_is_chosen(self) -> None:
        params = Darts.Params()
        assert (params.relaxation.name, params.penalty, params.partial) == ("softmax", None, 1)
        assert params.warmup == 0

    @pytest.mark.parametrize(
        "chosen",
        [
            {"relaxation": "gumbel"},
            {"partial": 2},
            {"epochs": 1},
            {"stopping": "skip_count"},
            {"stages": [{"layers": 2}, {"layers": 3, "keep": 4}]},
        ],
    )
    def test_it_prunes_unless_something_is_chosen_that_leaves_nothing_to_prune(
        self, chosen: dict[str, Any]
    ) -> None:
        assert Darts.Params().selection.name == "prune"
        assert Darts.Params(relaxation="sparsemax", order=2).selection.name == "prune"
        assert Darts.Params(**chosen).selection.name == "argmax"

    def test_a_search_by_them_uses_them_as_they_are(self, make_task) -> None:
        given = Darts.Params(**Darts.PAPER)
        program = Darts(small_space(), make_task((1, 4, 4)), given, seed=0, device=CPU)
        assert program.params == given
        assert program.rate == 0.025
