"""What commands leave in a run's folder, and what a start that is refused does not."""

import csv
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from lightning_modules.checkpoint_files import read_whole
from lightning_modules.cli import main
from study.runs import read_run, run_folders
from tests.cli import config, run, supervised, weights
from tests.lightning_modules.test_cli import fails
from tests.run_files import files_of


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def with_callback(settings: dict[str, Any], path: str, **arguments: Any) -> dict[str, Any]:
    """The same settings with one other callback."""
    callback = {"class_path": path, "init_args": arguments}
    return {**settings, "trainer": {**settings["trainer"], "callbacks": [callback]}}


def test_three_fits_keep_everything_of_each(tiny_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Runs of 12, 6 and 3 steps; the first one was predicted, its predictions went with it."""
    settings = config(tiny_folder)
    folder = run("fit", "again", settings)
    run("predict", "again", settings, "--ckpt_path", "best")
    first = files_of(folder)
    noted = pq.read_schema(folder / "predictions.parquet").metadata
    best = folder / "checkpoints/best.ckpt"
    assert noted[b"checkpoint"].decode() == str(best)
    assert noted[b"checkpoint_sha256"].decode() == best.read_bytes()[-64:].decode()
    assert noted[b"checkpoint_step"].decode() == str(read_whole(best)["global_step"])

    run("fit", "again", settings, "--trainer.max_steps", "6")
    assert f"the earlier one in {folder} moved to {folder}/earlier/1" in caplog.text
    assert files_of(folder / "earlier/1") == first
    assert not (folder / "predictions.parquet").exists()
    second = {name: content for name, content in files_of(folder).items() if not name.startswith("earlier/")}
    run("fit", "again", settings, "--trainer.max_steps", "3")
    assert [files_of(folder / f"earlier/{number}") for number in (1, 2)] == [first, second]
    assert read_whole(folder / "checkpoints/last.ckpt")["global_step"] == 3
    assert list(run_folders(Path("outputs"))) == [folder]
    assert read_run(folder / "earlier/1", "first").ranks is not None


def test_a_new_run_that_dies_early_leaves_nothing_of_the_old_one_to_resume_from(
    tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second run dies at step 2 and the first checkpoint is due at step 3."""
    settings = config(tiny_folder)
    old = files_of(run("fit", "again", settings))
    with pytest.raises(RuntimeError, match="crash"):
        run("fit", "again", with_callback(settings, "tests.cli.Crash", after_step=2))
    assert files_of(Path("outputs/tiny/again/earlier/1")) == old
    for command, name in (("fit", "last"), ("test", "best")):
        line = fails(capsys, command, "again", settings, "--ckpt_path", name)
        assert f"there is no outputs/tiny/again/checkpoints/{name}.ckpt" in line


def test_going_on_from_the_best_keeps_what_came_after_it(
    tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = config(tiny_folder)
    folder = run("fit", "back", settings)
    checkpoints = folder / "checkpoints"
    (checkpoints / "best.ckpt").write_bytes((checkpoints / "previous.ckpt").read_bytes())  # of step 9
    run("fit", "back", settings, "--ckpt_path", "last")
    assert not (folder / "earlier").exists()
    old = files_of(folder)
    with pytest.raises(RuntimeError, match="crash"):
        run("fit", "back", with_callback(settings, "tests.cli.Crash", after_step=10), "--ckpt_path", "best")
    assert [path.name for path in checkpoints.iterdir()] == ["best.ckpt"]
    moved = ("checkpoints/last.ckpt", "checkpoints/previous.ckpt", "config.yaml", "metrics.csv")
    assert files_of(folder / "earlier/1") == {name: old[name] for name in moved}
    assert "there is no" in fails(capsys, "fit", "back", settings, "--ckpt_path", "last")


def refusals(tiny_folder: Path) -> dict[str, tuple[str, dict[str, Any], tuple[str, ...], str]]:
    """Starts in the folder `kept` that are refused: the command, its settings and arguments, and what it says."""
    settings = config(tiny_folder)
    settings["wandb"]["mode"] = "offline"
    longer = {**settings, "trainer": {**settings["trainer"], "max_steps": 20}}
    refusing = with_callback(longer, "tests.cli.RefuseToStart")
    torn = config(tiny_folder, init_from="torn.ckpt")
    few = config(tiny_folder)
    few["data"]["init_args"]["batch_size"] = 10_000
    last = ("--ckpt_path", "last")
    return {
        "cache": ("fit", refusing, (), "the cache cannot be filled"),
        "cache, resumed": ("fit", refusing, last, "the cache cannot be filled"),
        "cache, gone back": ("fit", refusing, ("--ckpt_path", "best"), "the cache cannot be filled"),
        "stage 1": ("fit", torn, (), "torn.ckpt is no readable checkpoint"),
        "checkpoint": ("fit", settings, ("--ckpt_path", "torn.ckpt"), "torn.ckpt is no readable checkpoint"),
        "data": ("fit", few, (), "training examples are fewer than"),
        "settings": ("fit", supervised(tiny_folder), last, "was trained with other settings"),
        "train": (
            "fit",
            settings,
            ("--trainer.limit_train_batches", "0"),
            "is 0, so that fit would do nothing",
        ),
        "limit": ("fit", settings, ("--trainer.limit_val_batches", "1.5"), "invalid value 1.5 for limit_val"),
        "fraction": (
            "fit",
            settings,
            ("--trainer.limit_train_batches", "1e-4"),
            "Please increase the `limit_train",
        ),
        "torn": ("test", settings, ("--ckpt_path", "torn.ckpt"), "torn.ckpt is no readable checkpoint"),
        "none": ("test", settings, (*last, "--trainer.limit_test_batches", "0"), "test would do nothing"),
        "validate": ("validate", settings, (), "give --ckpt_path best, or another folder"),
        "test": ("test", settings, (), "give --ckpt_path best, or another folder"),
        "predict": ("predict", settings, (), "predict without --ckpt_path takes the model as it was before"),
    }


@pytest.mark.parametrize(
    "names",
    [
        ("cache", "cache, resumed", "settings", "predict"),
        pytest.param((), marks=pytest.mark.slow, id="all"),
    ],
)
def test_a_start_that_fails_changes_nothing(
    names: tuple[str, ...], tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither in the folder of a run nor in one that is not there yet; W&B begins no run either."""
    folder = run("fit", "kept", config(tiny_folder), "--trainer.max_steps", "6")
    Path("torn.ckpt").write_bytes((folder / "checkpoints/last.ckpt").read_bytes()[:-1])
    before, starts = files_of(folder), refusals(tiny_folder)
    for name in names or starts:
        subcommand, settings, arguments, message = starts[name]
        assert message in fails(capsys, subcommand, "kept", settings, *arguments), name
        assert files_of(folder) == before, name
    assert "the cache cannot be filled" in fails(capsys, "fit", "new", starts["cache"][1])
    assert not Path("outputs/tiny/new").exists()


def test_a_fast_dev_run_writes_nothing(
    tiny_folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in a new folder nor in one with a run, which goes on as if nothing had been."""
    settings = config(tiny_folder)
    settings["wandb"]["mode"] = "offline"
    settings["trainer"]["callbacks"] = [{"class_path": "callbacks.AdapterExport"}]
    dry = ("--trainer.fast_dev_run", "2")
    run("fit", "dry", settings, *dry)
    assert not Path("outputs").exists()
    assert "nothing is written into outputs/tiny/dry" in caplog.text
    folder = run("fit", "dry", config(tiny_folder), "--trainer.max_steps", "3")
    before = files_of(folder)
    for subcommand in ("fit", "test", "predict"):
        run(subcommand, "dry", settings, *dry)
        assert files_of(folder) == before, subcommand
    assert "leave --ckpt_path out" in fails(capsys, "fit", "dry", settings, *dry, "--ckpt_path", "last")
    run("fit", "dry", config(tiny_folder), "--trainer.max_steps", "4", "--ckpt_path", "last")
    assert read_whole(folder / "checkpoints/last.ckpt")["global_step"] == 4


def test_a_run_without_checkpoints_says_so(
    tiny_folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    settings = config(tiny_folder)
    without = ("--trainer.enable_checkpointing", "false")
    folder = run("fit", "none", settings, *without)
    assert "no checkpoint is written, so that this run can be neither resumed nor" in caplog.text
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "metrics.csv"}
    end = capsys.readouterr().out.splitlines()[-2:]
    assert end[0] == "best:   none, since trainer.enable_checkpointing is false"
    assert end[1] == f"files:  {folder}: metrics.csv"
    assert "give --ckpt_path PATH, or another folder" in fails(capsys, "predict", "none", settings)
    own = with_callback(settings, "lightning.pytorch.callbacks.ModelCheckpoint")
    assert "but found `ModelCheckpoint`" in fails(capsys, "fit", "none", own, *without)


@pytest.mark.slow
def test_a_run_without_validation_says_that_there_is_no_best(
    tiny_folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = run("fit", "v", config(tiny_folder), "--trainer.limit_val_batches", "0")
    assert "there is no best.ckpt; test and predict with --ckpt_path last" in caplog.text
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"last.ckpt", "previous.ckpt"}
    assert "give --ckpt_path last, or another" in fails(capsys, "test", "v", config(tiny_folder))


@pytest.mark.slow
def test_loggers_of_ones_own_stand_beside_metrics_csv(
    tiny_folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Four modes that a run goes through unchanged: its metrics are those of the plain run."""
    settings = config(tiny_folder)
    plain = run("fit", "plain", settings)
    logger = {
        "class_path": "lightning.pytorch.loggers.CSVLogger",
        "init_args": {"save_dir": "mine", "name": "a"},
    }
    settings["trainer"].update(
        logger=logger, inference_mode=False, detect_anomaly=True, num_sanity_val_steps=2, profiler="simple"
    )
    folder = run("fit", "logged", settings)
    assert "metrics.csv is written all the same" in caplog.text
    assert (folder / "metrics.csv").read_bytes() == (plain / "metrics.csv").read_bytes()
    with Path("mine/a/version_0/metrics.csv").open() as file:
        logged = [row["train/loss"] for row in csv.DictReader(file) if row["train/loss"]]
    assert len(logged) == 6
    logger["init_args"] = {"save_dir": str(folder), "name": "", "version": ""}
    assert "which has one of its own" in fails(capsys, "fit", "logged", settings)


@pytest.mark.slow
def test_without_a_logger_a_resume_keeps_the_lines_there_are(
    tiny_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = config(tiny_folder)
    folder = run("fit", "quiet", settings, "--trainer.max_steps", "6")
    before = (folder / "metrics.csv").read_text()
    quiet = ("--trainer.logger", "false", "--ckpt_path", "last")
    run("fit", "quiet", settings, *quiet, "--trainer.max_steps", "8")
    assert "no metrics.csv and no W&B" in caplog.text
    assert (folder / "metrics.csv").read_text() == before
    run("fit", "quiet", settings, "--ckpt_path", "last")
    lines = (folder / "metrics.csv").read_text().splitlines()
    assert lines[: len(before.splitlines())] == before.splitlines()


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (("--trainer.barebones", "true"), "trainer.barebones leaves out the checkpoints and metrics"),
        (("--trainer.overfit_batches", "2"), "trainer.overfit_batches 2 replaces the sampler"),
        (("--trainer.max_steps", "0"), "trainer.max_steps is 0, so that fit would do nothing"),
        (("--trainer.profiler", "none"), "it can only be one of"),
    ],
)
def test_a_mode_that_cannot_be_is_one_line(
    mode: tuple[str, str], message: str, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in fails(capsys, "fit", "mode", config(tiny_folder), *mode)
    assert not Path("outputs").exists()


def test_a_saved_config_trains_the_run_again_elsewhere(
    tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also that of a resumed run: the checkpoint that it went on from is no setting."""
    settings = config(tiny_folder)
    settings["trainer"]["max_steps"] = 6
    with pytest.raises(RuntimeError, match="crash"):
        run("fit", "first", with_callback(settings, "tests.cli.Crash", after_step=4))
    settings["trainer"]["callbacks"] = []
    folder = run("fit", "first", settings, "--ckpt_path", "last")
    saved = folder / "config.yaml"
    before = files_of(folder)

    def again(subcommand: str, *arguments: str) -> None:
        main([subcommand, "--config", str(saved), *arguments])

    with pytest.raises(SystemExit) as caught:
        again("fit")
    assert caught.value.code == 2
    line = "is the saved config of a run: name the folder of the new run with --trainer.default_root_dir"
    assert line in capsys.readouterr().err
    again("fit", "--trainer.default_root_dir", "anew")
    assert files_of(folder) == before
    expected, found = (weights(place / "checkpoints/last.ckpt") for place in (folder, Path("anew")))
    assert all(expected[name].equal(found[name]) for name in expected)
    assert (Path("anew") / "metrics.csv").read_bytes() == before["metrics.csv"]
    again("predict", "--ckpt_path", "best")
    assert (folder / "predictions.parquet").is_file()


@pytest.mark.slow
def test_a_rule_tested_again_says_what_it_was_tested_with(tiny_folder: Path) -> None:
    settings = config(tiny_folder)
    settings["model"] = {"class_path": "lightning_modules.baselines.Popularity"}
    settings["trainer"]["callbacks"] = []
    folder = run("test", "rule", settings)
    settings["data"]["init_args"]["max_test_examples"] = 20
    run("test", "rule", settings)
    run("predict", "rule", settings)
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    assert saved["data"]["init_args"]["max_test_examples"] == 20
    noted = pq.read_schema(folder / "predictions.parquet").metadata
    assert noted[b"checkpoint_sha256"] == b""
    assert read_run(folder, "rule").ranks is not None


def test_what_a_run_goes_on_from_is_told(tiny_folder: Path, capsys, caplog) -> None:
    """Nothing left to train; test metrics that an extension drops; a new run that begins with another one's state."""
    settings = config(tiny_folder)
    folder = run("fit", "first", settings, "--trainer.max_steps", "6")
    run("test", "first", settings, "--ckpt_path", "best")
    capsys.readouterr()
    run("fit", "first", settings, "--trainer.max_steps", "6", "--ckpt_path", "last")
    assert "training ended after step 6: there was nothing left to train" in capsys.readouterr().out
    run(
        "fit",
        "second",
        settings,
        "--trainer.max_steps",
        "7",
        "--ckpt_path",
        str(folder / "checkpoints/last.ckpt"),
    )
    assert "best:   none" in capsys.readouterr().out
    assert "loses the test metrics" not in caplog.text
    run("fit", "first", settings, "--trainer.max_steps", "7", "--ckpt_path", "last")
    assert "outputs/tiny/first/metrics.csv loses the test metrics logged after the checkpoint" in caplog.text
    assert "step 6, val/hit_ratio@1" in capsys.readouterr().out


def test_a_new_run_does_not_start_from_weights_that_it_would_move(tiny_folder: Path, capsys) -> None:
    settings = config(tiny_folder, init_from="outputs/tiny/own/checkpoints/best.ckpt")
    with pytest.raises(SystemExit):
        run("fit", "own", settings)
    assert "is of the run in outputs/tiny/own, which the new run would move aside" in capsys.readouterr().err
