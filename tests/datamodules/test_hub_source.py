import hashlib
import io
import json
import random
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from datamodules import InputError
from datamodules.corpus import ExampleRules
from datamodules.sources import HubSource, SDPOSource, hub
from datamodules.store import read_store
from lightning_modules.cli import main

CONFIGS_README = Path(__file__).parents[2] / "configs/README.md"
SIZES = {"train": 60, "val": 20, "test": 20}
REVISION = "0123456789abcdef0123456789abcdef01234567"
ROWS = [{"historyList": "A::B", "itemList": ["C", "D"], "trueSelection": "C"}]


def zipped(path: Path, *members: tuple[str, bytes], link: bool = False) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o120777 if link else 0o100644) << 16
            archive.writestr(info, content)
    return path


def tarred(path: Path, name: str, kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, "/etc/passwd", 1 if kind == tarfile.REGTYPE else 0
        archive.addfile(info, io.BytesIO(b"x"))
    return path


def source(folder: Path, **files: str) -> HubSource:
    reader = SDPOSource(*(str(folder / "data" / f"{name}.json") for name in ("train", "test", "val")))
    return HubSource(
        "joyliao7777/LLaRA", REVISION, {f"{n}.zip": c for n, c in files.items()}, str(folder / "data"), reader
    )


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_archive_is_checked_unpacked_once_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = json.dumps(ROWS).encode()
    archive = zipped(
        tmp_path / "lastfm.zip", *((f"{name}.json", content) for name in ("train", "test", "val"))
    )
    fetched = []

    def download(repo: str, name: str, repo_type: str, revision: str) -> str:
        fetched.append((repo, name, repo_type, revision))
        return str(archive)

    monkeypatch.setattr(hub, "hf_hub_download", download)  # the network is what stands in here
    reader = source(tmp_path, lastfm=digest(archive))
    reader.prepare(tmp_path)
    reader.prepare(tmp_path)
    assert fetched == [("joyliao7777/LLaRA", "lastfm.zip", "dataset", REVISION)]
    assert len(reader.load(tmp_path, ExampleRules(1, 3, 0)).examples) == 3
    with pytest.raises(InputError, match=f"lastfm.zip has SHA-256 {digest(archive)}, not {'0' * 64}"):
        source(tmp_path, lastfm="0" * 64).prepare(tmp_path)


def test_a_hub_out_of_reach_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real client, told to stay offline."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        InputError, match=r"joyliao7777/LLaRA@0123456789ab/a.zip cannot be fetched \(.*use the reader"
    ) as caught:
        source(tmp_path, a="0" * 64).prepare(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("revision", ["main", "0123", REVISION.upper()])
def test_a_revision_that_can_move_is_refused(revision: str) -> None:
    with pytest.raises(ValueError, match="must be a commit"):
        HubSource("a/b", revision, {"a.zip": "0" * 64}, "data", SDPOSource("a", "b"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: zipped(p, ("good.json", b"x"), ("../evil", b"x")), "'../evil', which lies outside"),
        (lambda p: zipped(p, ("/evil", b"x")), "'/evil', which lies outside"),
        (lambda p: zipped(p, ("a\\..\\..\\evil", b"x")), "which lies outside"),
        (lambda p: zipped(p, ("evil", b"/etc/passwd"), link=True), "'evil', a link or device"),
        (lambda p: tarred(p, "../evil"), "'../evil', which lies outside"),
        (lambda p: tarred(p, "/evil"), "'/evil', which lies outside"),
        (lambda p: tarred(p, "evil", tarfile.SYMTYPE), "'evil', a link or device"),
        (lambda p: tarred(p, "evil", tarfile.LNKTYPE), "'evil', a link or device"),
        (lambda p: tarred(p, "evil", tarfile.FIFOTYPE), "'evil', a link or device"),
    ],
)
def test_an_unsafe_archive_leaves_nothing_behind(tmp_path: Path, make, message: str) -> None:
    folder = tmp_path / "inner" / "folder"
    folder.mkdir(parents=True)
    with pytest.raises(InputError, match=f"archive holds .*{message}"):
        hub.unpack(make(tmp_path / "archive"), folder)
    assert list(folder.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "inner"]


def test_safe_archives_are_unpacked_and_truncated_ones_refused(tmp_path: Path) -> None:
    for archive in (
        zipped(tmp_path / "a.zip", ("sub/a.json", b"x")),
        tarred(tmp_path / "b.tgz", "sub/b.json"),
    ):
        hub.unpack(archive, tmp_path)
    assert {path.name for path in (tmp_path / "sub").iterdir()} == {"a.json", "b.json"}
    broken = tmp_path / "c.tgz"
    broken.write_bytes((tmp_path / "b.tgz").read_bytes()[:-20])
    with pytest.raises(InputError, match=r"c.tgz cannot be unpacked .*: fetch it again"):
        hub.unpack(broken, tmp_path)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a snapshot in the hub's own cache, which the real client reads without the network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tmp_path / f"hub/datasets--xingyuHuxingyu--DynamicPO-Data/snapshots/{REVISION}"
    folder.mkdir(parents=True)
    return folder


def published_rows(count: int) -> bytes:
    titles = [f"Band {number}" for number in range(40)]
    rows = []
    for number in range(count):
        drawn = random.Random(number).sample(titles, 24)
        rows.append({"historyList": "::".join(drawn[20:]), "itemList": drawn[:20], "trueSelection": drawn[0]})
    return json.dumps(rows).encode()


def hub_overlay(checksum: str) -> str:
    """What configs/README.md says, filled in."""
    (block,) = (
        b for b in re.findall(r"```yaml\n(.*?)```", CONFIGS_README.read_text(), re.DOTALL) if "Hub" in b
    )
    filled = {"COMMIT": REVISION, "PATH_IN_THE_DATASET.zip": "sub/lastfm.zip", "SHA256": checksum}
    for placeholder, value in filled.items():
        assert placeholder in block
        block = block.replace(placeholder, value)
    return block


def fit(*args: str) -> None:
    small = {"batch_size": "4", "max_val_examples": "8", "max_test_examples": "8"}
    settings = [f"--data.{name}={value}" for name, value in small.items()]
    settings += ["--trainer.max_steps=2", "--trainer.val_check_interval=2", "--wandb.mode=disabled"]
    main(["fit", "--config", str(CONFIGS_README.parent / "lastfm/sft.yaml"), *args, *settings])


def test_the_command_line_reads_what_the_hub_has(hub_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (hub_cache / "sub").mkdir()
    archive = zipped(
        hub_cache / "sub/lastfm.zip",
        *((f"lastfm-{split}.json", published_rows(size)) for split, size in SIZES.items()),
    )
    overlay = Path("hub.yaml")
    overlay.write_text(hub_overlay(digest(archive)))
    fit("--config", str(overlay))
    record = yaml.safe_load(Path("outputs/lastfm/sft/config.yaml").read_text())
    assert record["data"]["init_args"]["source"]["init_args"]["revision"] == REVISION
    (examples,) = Path("cache").glob("examples-*")
    sizes = {name: len(rows) for name, rows in read_store(examples).splits.items()}
    assert sizes == {"train": 60, "val": 8, "test": 8}

    for changed, message in (
        (
            overlay.read_text().replace(digest(archive), "a" * 64),
            f"lastfm.zip has SHA-256 {digest(archive)}, not aaa",
        ),
        (
            overlay.read_text().replace(REVISION, "main"),
            "revision='main' must be a commit of 40 hexadecimal digits",
        ),
        (
            overlay.read_text().replace("sub/", "other/").replace(digest(archive), "b" * 64),
            "cannot be fetched",
        ),
    ):
        overlay.write_text(changed)
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            fit("--config", str(overlay))
        assert caught.value.code == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1
        assert message in lines[0]
        overlay.write_text(hub_overlay(digest(archive)))


def test_the_command_line_reads_files_and_refuses_broken_ones(
    hub_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same config without the overlay: SDPOSource alone."""
    folder = Path("data/lastfm-sft-cans20")
    with pytest.raises(SystemExit):
        fit()
    assert "data/lastfm-sft-cans20/lastfm-train.json" in capsys.readouterr().err
    folder.mkdir(parents=True)
    for split, size in SIZES.items():
        (folder / f"lastfm-{split}.json").write_bytes(published_rows(size))
    fit("--data.max_length=400")
    assert "val/hit_ratio@1" in Path("outputs/lastfm/sft/metrics.csv").read_text()

    rows = json.loads((folder / "lastfm-train.json").read_text())
    rows[1]["trueSelection"] = "Nobody"
    (folder / "lastfm-train.json").write_text(json.dumps(rows, indent=1))
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        fit()
    assert caught.value.code == 2
    assert "trueSelection 'Nobody' is not in itemList" in capsys.readouterr().err
    before = set(Path("cache").glob("examples-*"))
    fit("--data.source.skip_broken_rows=true")
    (examples,) = set(Path("cache").glob("examples-*")) - before
    assert len(read_store(examples).splits["train"]) == 59


@pytest.mark.parametrize("kind", ["zip", "gz", "xz"])
def test_half_an_archive_is_one_line(tmp_path: Path, kind: str) -> None:
    content = np.random.default_rng(0).integers(32, 60, 5000, dtype=np.uint8).tobytes()
    (tmp_path / "a.json").write_bytes(content)
    archive = tmp_path / "archive"
    if kind == "zip":
        zipped(archive, ("a.json", content))
    else:
        with tarfile.open(archive, f"w:{kind}") as bundle:  # type: ignore[call-overload]
            bundle.add(tmp_path / "a.json", "a.json")
    whole, folder = archive.read_bytes(), tmp_path / "folder"
    folder.mkdir()
    zeros = bytes(64)
    middle = len(whole) // 2
    # Gzip finds out at its end, which tar does not read to; the checksum of the file has been compared by then.
    damaged = [] if kind == "gz" else [whole[:middle] + zeros + whole[middle + len(zeros) :]]
    for broken in (whole[:middle], *damaged):
        archive.write_bytes(broken)
        with pytest.raises(InputError, match="archive cannot be unpacked .*: fetch it again") as caught:
            hub.unpack(archive, folder)
        assert "\n" not in str(caught.value)
        assert list(folder.iterdir()) == []
