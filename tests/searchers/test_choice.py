"""Choices within a method: how a plan writes them, what of them names a job, and their faults."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import pydantic
import pytest
from ray import cloudpickle

from search_space.shelf import Shelf
from searchers import StrictParams
from searchers._choice import Choice, FromShelf
from searchers.penalties import PENALTIES, Penalty
from searchers.relaxations import RELAXATIONS, Relaxation
from searchers.relaxations.gumbel import Gumbel
from searchers.relaxations.softmax import Softmax


class Method(StrictParams):
    """A method that has one choice to make and one that it may make."""

    epochs: int = pydantic.Field(3, ge=1)
    relaxation: Annotated[Choice[Relaxation], FromShelf(RELAXATIONS)] = pydantic.Field(
        "softmax", validate_default=True
    )
    penalty: Annotated[Choice[Penalty] | None, FromShelf(PENALTIES)] = None


ENTRIES = [
    (field, shelf, name)
    for field, shelf in (("relaxation", RELAXATIONS), ("penalty", PENALTIES))
    for name in shelf.names()
]


def faults(**params: Any) -> list[tuple[str, str]]:
    with pytest.raises(pydantic.ValidationError) as info:
        Method.model_validate(params)
    return [(".".join(map(str, e["loc"])), e["msg"]) for e in info.value.errors()]


@pytest.mark.parametrize(("field", "shelf", "name"), ENTRIES)
class TestEveryEntry:
    def test_is_chosen_by_name_with_its_defaults(self, field: str, shelf: Shelf, name: str) -> None:
        choice = getattr(Method.model_validate({field: name}), field)
        assert choice == getattr(Method.model_validate({field: {"name": name}}), field)
        entry = choice.make()
        assert type(entry) is shelf.load(name)
        assert entry.params == shelf.load(name).Params()

    def test_is_dumped_with_all_parameters_and_read_back(
        self, field: str, shelf: Shelf, name: str
    ) -> None:
        method = Method.model_validate({field: name})
        dumped = method.model_dump(mode="json")
        assert set(dumped[field]) == {"name", *shelf.load(name).Params.model_fields}
        assert Method.model_validate(json.loads(json.dumps(dumped))) == method
        assert Method.model_validate(dumped).model_dump(mode="json") == dumped
        assert Method.model_validate(method.model_dump()) == method
        assert Method.model_validate_json(method.model_dump_json()) == method

    def test_has_no_parameter_that_is_called_name(
        self, field: str, shelf: Shelf, name: str
    ) -> None:
        assert "name" not in shelf.load(name).Params.model_fields


class TestAChoice:
    def test_that_is_left_out_is_the_default(self) -> None:
        method = Method()
        assert isinstance(method.relaxation.make(), Softmax)
        assert method.penalty is None
        assert method.model_dump() == {
            "epochs": 3,
            "relaxation": {"name": "softmax"},
            "penalty": None,
        }

    def test_takes_parameters_beside_its_name(self) -> None:
        written = {"name": "gumbel", "temperature_end": 0.2}
        method = Method.model_validate({"relaxation": written})
        gumbel = method.relaxation.make()
        assert isinstance(gumbel, Gumbel)
        assert gumbel.temperature(1.0) == pytest.approx(0.2)
        assert method.model_dump()["relaxation"] == {
            "name": "gumbel",
            "temperature_start": 10.0,
            "temperature_end": 0.2,
        }
        assert written == {"name": "gumbel", "temperature_end": 0.2}

    @pytest.mark.parametrize("nothing", [None, "none"])
    def test_that_is_optional_may_be_none(self, nothing: str | None) -> None:
        method = Method.model_validate({"penalty": nothing})
        assert method.penalty is None
        assert method.model_dump_json() == Method().model_dump_json()

    def test_is_equal_and_dumped_alike_however_it_was_written(self) -> None:
        short = Method.model_validate({"relaxation": "gumbel"})
        spelled = {"name": "gumbel", "temperature_end": 0.1, "temperature_start": 10}
        long = Method.model_validate({"relaxation": spelled})
        assert short == long
        assert short.model_dump_json() == long.model_dump_json()
        assert short != Method()

    def test_is_taken_as_it_is_from_another_model(self) -> None:
        method = Method.model_validate({"relaxation": "gumbel", "penalty": "beta"})
        other = Method(relaxation=method.relaxation, penalty=method.penalty)
        assert other == method
        assert copy.deepcopy(method) == method

    def test_is_the_same_in_another_process(self) -> None:
        choice = Method().relaxation
        there = cloudpickle.loads(cloudpickle.dumps(choice))
        assert there == choice
        assert Method(relaxation=there).relaxation.make().params == Softmax.Params()

    def test_is_frozen(self) -> None:
        choice = Method().relaxation
        with pytest.raises(AttributeError, match="name"):
            choice.name = "gumbel"  # type: ignore[misc]


class TestFaults:
    def test_an_unknown_name_gets_the_nearest_ones(self) -> None:
        assert faults(relaxation="gumble") == [
            (
                "relaxation",
                "Value error, no relaxation named 'gumble'; did you mean 'gumbel'? "
                f"(all: {', '.join(RELAXATIONS.names())})",
            )
        ]
        assert faults(relaxation={"name": "gumble"}) == faults(relaxation="gumble")

    def test_none_is_offered_just_where_it_is_allowed(self) -> None:
        ((path, message),) = faults(penalty="xyzxyz")
        assert path == "penalty"
        assert "none" in message.partition("allowed: ")[2].split(", ")
        ((path, message),) = faults(relaxation="none")
        assert path == "relaxation"
        assert "none" not in message.partition("; ")[2]
        assert faults(relaxation=None)[0][0] == "relaxation"

    def test_all_faults_stand_at_their_own_paths_at_once(self) -> None:
        found = faults(
            epochs=0,
            relaxation={"name": "gumbel", "temperature_end": -1, "temprature_start": 3},
            penalty={"name": "beta", "strength": "strong", "schedule": "steps"},
        )
        assert [path for path, _ in found] == [
            "epochs",
            "relaxation.temperature_end",
            "relaxation.temprature_start",
            "penalty.strength",
            "penalty.schedule",
        ]
        assert found[1][1] == "Input should be greater than 0"
        assert found[2][1] == "Extra inputs are not permitted"

    @pytest.mark.parametrize("value", [3, ["gumbel"], {}, {"temperature_end": 1}, True])
    def test_what_is_no_choice_is_told_how_to_write_one(self, value: Any) -> None:
        assert faults(relaxation=value) == [
            (
                "relaxation",
                "Value error, a relaxation is a name, or a mapping of `name` and its parameters",
            )
        ]

    @pytest.mark.parametrize("name", [3, None, ["gumbel"]])
    def test_a_name_that_is_no_text_is_an_unknown_one(self, name: Any) -> None:
        ((path, message),) = faults(relaxation={"name": name})
        assert path == "relaxation"
        assert f"no relaxation named {name!r}" in message

    def test_an_entry_of_another_shelf_is_refused(self) -> None:
        with pytest.raises(ValueError, match="penalty"):
            Method(penalty=Method().relaxation)

    def test_an_entry_that_is_broken_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package = tmp_path / "shelf_with_a_broken_entry"
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "torn.py").write_text("import a_library_that_nobody_has\n")
        monkeypatch.syspath_prepend(tmp_path)
        shelf = Shelf(package.name, "thing")
        with pytest.raises(ValueError, match="thing 'torn' cannot be used: ModuleNotFoundError"):
            FromShelf(shelf).read("torn")
        sys.modules.pop(package.name)
