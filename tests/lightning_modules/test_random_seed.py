"""`seed_everything: true`: a random seed that the run keeps."""

from pathlib import Path

import pytest
import yaml

from datamodules.errors import InputError
from lightning_modules.checkpoints import read_checkpoint
from lightning_modules.random_seed import choose_seed
from tests.cli import config, run
from tests.parsed import parse


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)


def seeds(folder: Path) -> tuple[int, int]:
    """The seed in the run's config, and the order's, which is linked to it, in its checkpoint."""
    seed = yaml.safe_load((folder / "config.yaml").read_text())["seed_everything"]
    return seed, read_checkpoint(folder / "checkpoints/last.ckpt")["config"]["data"]["init_args"][
        "order_seed"
    ]


def test_a_run_records_the_seed_it_chose_and_goes_on_with_it(tiny_folder: Path, caplog) -> None:
    settings = {**config(tiny_folder), "seed_everything": True}
    settings["trainer"]["max_steps"] = 2
    folder = run("fit", "random", settings)
    seed, order = seeds(folder)
    assert type(seed) is int
    assert seed == order
    assert f"random seed {seed}: --seed_everything {seed} repeats this run" in caplog.text
    settings["trainer"]["max_steps"] = 4
    run("fit", "random", settings, "--ckpt_path", "last")
    assert seeds(folder) == (seed, seed)


@pytest.mark.parametrize("asked", ["true", "false"])
def test_true_and_false_choose_a_number(asked: str, tiny_folder: Path) -> None:
    Path("x.yaml").write_text(yaml.safe_dump(config(tiny_folder)))
    chosen = [parse("fit", "--config", "x.yaml", "--seed_everything", asked)[0] for _ in range(2)]
    assert [type(each.seed_everything) for each in chosen] == [int, int]
    assert chosen[0].seed_everything != chosen[1].seed_everything
    assert chosen[0].data.init_args.order_seed == chosen[0].seed_everything


def test_several_processes_need_a_number(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that torchrun starts know nothing of each other; those that Lightning starts inherit the seed."""
    Path("x.yaml").write_text(yaml.safe_dump(config(tiny_folder)))
    settings, _ = parse("fit", "--config", "x.yaml")
    monkeypatch.delenv("PL_GLOBAL_SEED")
    for name, value in {"LOCAL_RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    settings.seed_everything = True
    with pytest.raises(InputError, match="give a number"):
        choose_seed(settings, Path("x"), resumes=False)
    monkeypatch.setenv("PL_GLOBAL_SEED", "17")
    choose_seed(settings, Path("x"), resumes=False)
    assert (settings.seed_everything, settings.data.init_args.order_seed) == (17, 17)
