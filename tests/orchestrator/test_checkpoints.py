"""Checkpoints, in a folder and on S3: the newest that can be read, and never a pickle."""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.checkpoints import KEPT, Checkpoints

KEY = "0123456789abcdef"


@pytest.fixture
def checkpoints(store_url: str) -> Checkpoints:
    """Checkpoints of a store that is not there yet."""
    return Checkpoints(store_url)


def names(checkpoints: Checkpoints, key: str = KEY) -> list[str]:
    """Return the files of a job."""
    return checkpoints.folder.names(f"checkpoints/{key}")


def pickled(value: Any) -> bytes:
    """Return what torch writes for any Python object."""
    content = io.BytesIO()
    torch.save(value, content)
    return content.getvalue()


def test_a_state_comes_back_as_it_was(checkpoints: Checkpoints) -> None:
    network, generator = torch.nn.Linear(3, 2), torch.Generator().manual_seed(7)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": generator.get_state(),
        "rows": b"\x00\xff",
        "nested": {"list": [1, 2.5, None, True, "text"], "tuple": (1, (2,))},
        "score": float("nan"),
    }
    checkpoints.save(KEY, 1, state)
    read = checkpoints.load(KEY)
    assert read is not None
    assert torch.equal(read["network"]["weight"], network.weight)
    momentum = read["optimizer"]["state"][0]["momentum_buffer"]
    assert torch.equal(momentum, optimizer.state_dict()["state"][0]["momentum_buffer"])
    assert torch.equal(read["generator"], state["generator"])
    assert read["rows"] == state["rows"]
    assert read["nested"] == state["nested"]
    assert read["score"] != read["score"]


def test_where_nothing_was_saved_nothing_is_loaded(checkpoints: Checkpoints) -> None:
    assert checkpoints.load(KEY) is None
    if checkpoints.folder.local:
        assert not Path(checkpoints.folder.root).exists()


def test_the_newest_state_is_loaded(checkpoints: Checkpoints) -> None:
    # 9 and 10: by number, not by letter.
    for number in (8, 9, 10, 11):
        checkpoints.save(KEY, number, {"number": number})
        assert checkpoints.load(KEY) == {"number": number}


def test_only_the_last_few_are_kept(checkpoints: Checkpoints) -> None:
    assert KEPT == 2
    for number in range(1, 6):
        checkpoints.save(KEY, number, {"number": number})
        assert len(names(checkpoints)) == min(number, KEPT)
    assert [int(name.partition(".")[0]) for name in names(checkpoints)] == [4, 5]


@pytest.mark.parametrize("content", [b"", b"garbage", None], ids=["empty", "garbage", "truncated"])
def test_when_the_newest_is_damaged_the_one_before_is_loaded_and_the_log_says_so(
    content: bytes | None, checkpoints: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2):
        checkpoints.save(KEY, number, {"number": number, "weights": torch.ones(1000)})
    newest = f"checkpoints/{KEY}/{names(checkpoints)[-1]}"
    whole = checkpoints.folder.read(newest)
    checkpoints.folder.write(newest, whole[: len(whole) // 2] if content is None else content)
    with caplog.at_level(logging.WARNING):
        read = checkpoints.load(KEY)
    assert read is not None
    assert read["number"] == 1
    assert newest.rpartition("/")[2] in caplog.text
    assert KEY in caplog.text


def test_after_a_damaged_one_saving_goes_on_and_the_newest_good_one_is_loaded(
    checkpoints: Checkpoints,
) -> None:
    for number in (4, 5):
        checkpoints.save(KEY, number, {"number": number})
    checkpoints.folder.write(f"checkpoints/{KEY}/{names(checkpoints)[-1]}", b"no")
    # The job went back to 4 and is now as far as 5 again, then further.
    for number in (5, 6, 7):
        checkpoints.save(KEY, number, {"number": number})
        assert checkpoints.load(KEY) == {"number": number}


def test_a_damaged_one_never_costs_the_good_one_its_place(checkpoints: Checkpoints) -> None:
    checkpoints.save(KEY, 100, {"number": 100})
    checkpoints.folder.write(f"checkpoints/{KEY}/{names(checkpoints)[-1]}", b"no")
    # Started again from nothing: every number is below that of the damaged file.
    for number in range(1, 6):
        checkpoints.save(KEY, number, {"number": number})
        assert checkpoints.load(KEY) == {"number": number}


def test_when_all_are_damaged_the_job_starts_again(checkpoints: Checkpoints) -> None:
    for number in (1, 2):
        checkpoints.save(KEY, number, {"number": number})
    for name in names(checkpoints):
        checkpoints.folder.write(f"checkpoints/{KEY}/{name}", b"no")
    assert checkpoints.load(KEY) is None


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


def test_what_lies_in_a_bucket_is_never_executed(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.save(KEY, 1, {"number": 1})
    target = tmp_path / "made"
    bomb = pickled({"number": 2, "bomb": Bomb(target)})
    checkpoints.folder.write(f"checkpoints/{KEY}/000000002.pt", bomb)
    assert checkpoints.load(KEY) == {"number": 1}
    assert not target.exists()
    torch.load(io.BytesIO(bomb), weights_only=False)
    assert target.is_dir(), "it is a bomb"


def test_jobs_do_not_see_one_another(checkpoints: Checkpoints) -> None:
    checkpoints.save(KEY, 1, {"number": 1})
    checkpoints.save("f" * 16, 5, {"number": 5})
    checkpoints.forget(KEY)
    assert checkpoints.load(KEY) is None
    assert names(checkpoints) == []
    assert checkpoints.load("f" * 16) == {"number": 5}


def test_what_is_not_there_can_be_forgotten(checkpoints: Checkpoints) -> None:
    checkpoints.forget(KEY)
    checkpoints.save(KEY, 1, {"number": 1})
    checkpoints.forget(KEY)
    checkpoints.forget(KEY)
    assert checkpoints.load(KEY) is None


def test_tensors_of_another_device_load_on_this_one(checkpoints: Checkpoints) -> None:
    checkpoints.save(KEY, 1, {"weights": torch.ones(2, dtype=torch.bfloat16)})
    read = checkpoints.load(KEY)
    assert read is not None
    assert read["weights"].device.type == "cpu"
    assert read["weights"].dtype == torch.bfloat16
