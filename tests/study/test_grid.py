from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from datamodules.errors import InputError
from study.grid import read_grid
from study.plan import Cell, chosen_rate, preference_stage, supervised_stage

ROOT = Path(__file__).parents[2]

DMPO = {"class_path": "losses.DMPO", "init_args": {"beta": 1.0}}


def grid(**changes: Any) -> dict[str, Any]:
    return {
        "outputs": "out",
        "supervised": {"sft": {"configs": ["sft.yaml"], "seeds": 2}},
        "preference": ["dmpo.yaml"],
        "settings": {"trainer": {"max_steps": 2}},
        "rates": [1e-3, 1e-4],
        "objectives": {"dmpo": DMPO},
        "parts": {"first": {"objectives": ["dmpo"], "num_negatives": [3], "seeds": 2}},
        **changes,
    }


def write(folder: Path, content: Any) -> Path:
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("name", ["grid", "small"])
def test_the_committed_grids_are_read_and_their_configs_are_there(name: str) -> None:
    read = read_grid(ROOT / f"study/{name}.yaml")
    files = [*read.preference, *(path for model in read.supervised.values() for path in model.configs)]
    assert all((ROOT / path).is_file() for path in files)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parts": {"p": {"objectives": ["x"], "num_negatives": [1], "seeds": 1}}}, "objective 'x'"),
        ({"parts": {"p": {"objectives": ["dmpo"], "num_negatives": [1], "seeds": 3}}}, "wants 3 seeds"),
        (
            {"parts": {"p": {"objectives": ["dmpo"], "num_negatives": [1], "seeds": 1, "rate_of": "y"}}},
            "rate of 'y'",
        ),
        (
            {
                "parts": {
                    "p": {"objectives": ["dmpo"], "num_negatives": [1], "seeds": 1},
                    "q": {"objectives": ["dmpo"], "num_negatives": [3], "seeds": 1, "rate_of": "dmpo"},
                }
            },
            "rate of 'dmpo' at K = 3",
        ),
        ({"rates": ["fast"]}, "rates"),
        ({"rates": []}, "no rates to choose from"),
        ({"rates": [0.0]}, "above 0"),
        ({"speed": 3}, "speed"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(tmp_path: Path, changes: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_grid(write(tmp_path, grid(**changes)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a\n", "a: [", "\x00"])
def test_a_file_that_is_no_grid_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"grid\.yaml is no grid"):
        read_grid(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.yaml"):
        read_grid(tmp_path / "nothing.yaml")


def test_a_preference_run_starts_from_the_sft_model_of_its_seed(tmp_path: Path) -> None:
    read = read_grid(write(tmp_path, grid()))
    stage = preference_stage(read, Cell("dmpo", 7), 1e-4, seed=1)
    assert stage.folder == Path("out/dmpo-k7-lr1e-04-s1")
    assert stage.settings == {
        "trainer": {"max_steps": 2, "default_root_dir": "out/dmpo-k7-lr1e-04-s1"},
        "model": {
            "init_args": {
                "init_from": "out/sft-s1/checkpoints/best.ckpt",
                "objective": DMPO,
                "optimizer": {"init_args": {"lr": 1e-4}},
            }
        },
        "data": {"init_args": {"num_negatives": 7}},
        "seed_everything": 1,
    }
    assert supervised_stage(read, "sft", 1).folder == Path("out/sft-s1")


def test_numbers_that_yaml_takes_for_text_are_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, grid())
    path.write_text(path.read_text().replace("- 0.001\n- 0.0001\n", "- 1e-3\n- 1e-4\n"))
    assert yaml.safe_load(path.read_text())["rates"] == ["1e-3", "1e-4"]
    assert read_grid(path).rates == [1e-3, 1e-4]


@example([1.0, 0.9999999999999999])
@given(st.lists(st.floats(1e-8, 1.0), min_size=2, max_size=2, unique=True))
def test_two_rates_have_two_folders(rates: list[float]) -> None:
    with TemporaryDirectory() as folder:
        read = read_grid(write(Path(folder), grid(rates=rates)))
    first, second = (preference_stage(read, Cell("dmpo", 3), rate, seed=0).folder for rate in rates)
    assert first != second


def test_the_rate_is_chosen_on_validation(tmp_path: Path) -> None:
    """Of .40, .52 then .44 (a fall), and .52 the best of each counts, and the lower rate of two equal ones."""
    read = read_grid(write(tmp_path, grid(outputs=str(tmp_path), rates=[1e-2, 1e-3, 1e-4])))
    cell = Cell("dmpo", 3)
    for rate, values in ((1e-4, [0.4]), (1e-2, [0.52, 0.44]), (1e-3, [0.52])):
        folder = preference_stage(read, cell, rate, seed=0).folder
        folder.mkdir()
        lines = ["step,train/loss,val/hit_ratio@1", "9,0.1,", *(f"9,,{value}" for value in values)]
        (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    assert chosen_rate(read, cell) == 1e-3


def test_no_rate_is_chosen_before_all_were_tried(tmp_path: Path) -> None:
    read = read_grid(write(tmp_path, grid(outputs=str(tmp_path))))
    with pytest.raises(InputError, match="run it first"):
        chosen_rate(read, Cell("dmpo", 3))
