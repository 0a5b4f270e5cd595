"""Downloads of data sets, from a server on this machine."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, MNIST

from orchestrator.tasks import cifar10, graphene_kirigami, mnist, plasticc
from orchestrator.tasks._files import MissingDataError, Remote, digest, fetch
from search_space.task import DataError


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def copyfile(self, source, outputfile) -> None:
        """Send what the header announces, but only half of a file called "half"."""
        data = source.read()
        outputfile.write(data[: len(data) // 2] if self.path == "/half" else data)


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of this machine, if it has one, does not know the server."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address under which its files can be downloaded."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_file_is_downloaded_whole_and_nothing_else_is_left(tmp_path, served):
    folder, address = served
    (folder / "a").write_bytes(b"content")
    path = tmp_path / "root" / "task" / "a"
    assert fetch(Remote((f"{address}a",), f"md5:{_md5(b'content')}"), path) == path
    assert path.read_bytes() == b"content"
    assert _everything(tmp_path / "root") == {"task", "task/a"}


def test_the_next_address_is_tried_where_one_fails(tmp_path, served):
    folder, address = served
    (folder / "wrong").write_bytes(b"other")
    (folder / "a").write_bytes(b"content")
    names = ("missing", "wrong", "a")
    remote = Remote(tuple(address + name for name in names), f"md5:{_md5(b'content')}")
    assert fetch(remote, tmp_path / "a").read_bytes() == b"content"


def test_gits_digest_is_that_of_git(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"hello\n")  # $ echo hello | git hash-object --stdin
    assert digest(path, "git") == "git:ce013625030ba8dba906f756967f9e9ca394464a"
    assert digest(path, "md5") == "md5:b1946ac92492d2347c6235b4d2611184"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "HTTP Error 404"),
        ("wrong", "5 bytes with md5:.*, expected md5:"),
        ("half", "3 bytes with md5:.*, expected md5:"),
    ],
)
def test_a_failed_download_leaves_nothing_and_says_what_to_put_where(
    tmp_path, served, name, reason
):
    folder, address = served
    (folder / "wrong").write_bytes(b"other")
    (folder / "half").write_bytes(b"content")
    path = tmp_path / "root" / "a"
    remote = Remote((address + name,), f"md5:{_md5(b'content')}")
    with pytest.raises(MissingDataError, match=reason) as caught:
        fetch(remote, path)
    assert f"download {address}{name} by hand and put it at {path}" in str(caught.value)
    assert _everything(tmp_path / "root") <= set()


def test_no_server_and_no_place_are_one_clear_error_each(tmp_path, served):
    folder, address = served
    (folder / "a").write_bytes(b"content")
    with pytest.raises(MissingDataError, match="refused"):
        fetch(Remote(("http://127.0.0.1:9/a",), "md5:0"), tmp_path / "a")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MissingDataError, match=r"could not be downloaded.*file"):
        fetch(Remote((f"{address}a",), f"md5:{_md5(b'content')}"), tmp_path / "file" / "a")


def test_several_processes_may_download_to_one_place_at_once(tmp_path, served):
    folder, address = served
    data = bytes(3 << 20)
    (folder / "a").write_bytes(data)
    remote = Remote((f"{address}a",), f"md5:{_md5(data)}")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: fetch(remote, tmp_path / "root" / "a"), range(8)))
    assert _everything(tmp_path / "root") == {"a"}
    assert (tmp_path / "root" / "a").read_bytes() == data


def test_kirigami_is_downloaded_as_the_authors_file_and_then_used_as_it_is(
    tmp_path, served, monkeypatch
):
    folder, address = served
    rows = np.arange(2**15)[:, None] >> np.arange(15) & 1
    rows = rows[(rows.reshape(-1, 3, 5).sum(axis=2) > 0).all(axis=1)]
    rows = np.column_stack([rows, np.linspace(0.1, 2, len(rows)), rows[:, 0] + 1, rows[:, 1] + 1])
    np.savetxt(folder / "kirigami", rows, fmt="%.6g")
    remote = Remote((f"{address}kirigami",), digest(folder / "kirigami", "git"))
    monkeypatch.setattr(graphene_kirigami, "REMOTE", remote)
    task = graphene_kirigami.load(tmp_path / "root")
    assert len(task.train) + len(task.valid) + len(task.test) == 29_791
    assert _everything(tmp_path / "root") == {
        "graphene_kirigami",
        "graphene_kirigami/15grid_shuffled.dat",
    }
    (folder / "kirigami").unlink()
    assert graphene_kirigami.load(tmp_path / "root").fingerprint() == task.fingerprint()


def test_the_address_of_the_kirigami_file_is_the_authors():
    (address,) = graphene_kirigami.REMOTE.addresses
    assert address.startswith("https://github.com/phanakata/ML_for_kirigami_design/raw/master/")
    assert graphene_kirigami.REMOTE.digest == "git:bc4e427076b37ae737c3f1570b6c36a0c1efa99e"


def test_plasticc_is_downloaded_as_zenodos_files_and_then_used_as_it_is(
    tmp_path, served, monkeypatch
):
    folder, address = served
    names = ("plasticc_train_lightcurves.csv.gz", "plasticc_train_metadata.csv.gz")
    numbers = range(4 * len(plasticc.CLASSES))
    curves = ["object_id,mjd,passband,flux,flux_err,detected_bool"]
    curves += [f"{n},{59_600 + n},{n % 6},{n - 9.5},1.5,0" for n in numbers]
    metadata = ["object_id,ddf_bool,hostgal_photoz,hostgal_photoz_err,distmod,mwebv,target"]
    metadata += [f"{n},0,0.000,0.000,-9.000,0.1,{plasticc.CLASSES[n // 4]}" for n in numbers]
    for which, name, lines in zip(("CURVES", "METADATA"), names, (curves, metadata), strict=True):
        (folder / name).write_bytes(gzip.compress("\n".join(lines).encode()))
        monkeypatch.setattr(
            plasticc, which, Remote((address + name,), digest(folder / name, "md5"))
        )
    task = plasticc.load(tmp_path / "root")
    assert len(task.train) + len(task.valid) + len(task.test) == 56
    assert _everything(tmp_path / "root") == {"plasticc", *(f"plasticc/{name}" for name in names)}
    for name in names:
        (folder / name).unlink()
    assert plasticc.load(tmp_path / "root").fingerprint() == task.fingerprint()


def test_mnist_is_downloaded_where_torchvision_keeps_it(tmp_path, served, monkeypatch):
    folder, address = served
    labels, images = np.arange(40) % 10, np.zeros((40, 28, 28))
    resources = []
    for name, _ in MNIST.resources:
        array = images if "images" in name else labels
        sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
        data = gzip.compress(
            bytes((0, 0, 8, array.ndim)) + sizes + array.astype(np.uint8).tobytes()
        )
        (folder / name).write_bytes(data)
        resources.append((name, _md5(data)))
    monkeypatch.setattr(MNIST, "mirrors", [f"{address}nothing/", address])
    monkeypatch.setattr(MNIST, "resources", resources)
    task = mnist.load(tmp_path / "root")
    assert torch.bincount(task.test.targets).tolist() == [4] * 10
    raw = tmp_path / "root" / "MNIST" / "raw"
    assert _everything(raw) == {name for name, _ in resources}


def _small_cifar10(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a small archive and make torchvision take it for the published one."""
    source = folder / "cifar-10-batches-py"
    source.mkdir()
    rng = np.random.default_rng(0)
    sums = {}
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch", "batches.meta"]:
        pixels = rng.integers(0, 256, (20, 3072), dtype=np.uint8)
        pixels[:, 1024] = labels = np.arange(20) % 10  # the first green pixel
        batch = {"data": pixels, "labels": labels.tolist(), "label_names": list("abcdefghij")}
        data = pickle.dumps(batch)
        (source / name).write_bytes(data)
        sums[name] = _md5(data)
    archive = folder / CIFAR10.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source, source.name)
    train = [[f"data_batch_{i}", sums[f"data_batch_{i}"]] for i in range(1, 6)]
    monkeypatch.setattr(CIFAR10, "train_list", train)
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": sums["batches.meta"]})
    monkeypatch.setattr(CIFAR10, "tgz_md5", _md5(archive.read_bytes()))


def test_cifar10_is_downloaded_unpacked_and_then_used_as_it_is(tmp_path, served, monkeypatch):
    folder, address = served
    _small_cifar10(folder, monkeypatch)
    monkeypatch.setattr(CIFAR10, "url", address + CIFAR10.filename)
    root = tmp_path / "root"
    task = cifar10.load(root)
    assert task.name == "cifar10(train=100, test=20)"
    assert torch.equal(task.train.inputs[:, 1, 0, 0].long(), task.train.targets)
    assert {path.name for path in root.iterdir()} == {"cifar-10-batches-py", CIFAR10.filename}
    (root / CIFAR10.filename).unlink()
    (folder / CIFAR10.filename).unlink()
    assert cifar10.load(root).fingerprint() == task.fingerprint()


def test_a_cifar10_archive_with_another_checksum_is_not_unpacked(tmp_path):
    (tmp_path / CIFAR10.filename).write_bytes(b"no archive")
    with pytest.raises(DataError, match="differs from the published file"):
        cifar10.load(tmp_path)
    assert _everything(tmp_path) == {CIFAR10.filename}
