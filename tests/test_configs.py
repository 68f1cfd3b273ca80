"""Every config runs for two steps at its own size, and is built at the paper's size with a tiny model in place.

The configs of a data set differ in stage, objective and its rate alone, so `make test` runs each data set with
some of them and each of them on some data set; `make test-all` runs every pair.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.strategies import DDPStrategy
from transformers import LlamaConfig, LlamaForCausalLM

from datamodules import RecommendationDataModule
from datamodules.global_batch import GlobalBatch
from datamodules.sources import SDPOSource
from datamodules.tokenization import learn_tokenizer
from lightning_modules import LoRA
from lightning_modules.argument_parser import RunArgumentParser
from lightning_modules.cli import TRAINER_DEFAULTS, DynamicPOCLI, main
from tests.conftest import tiny_titles

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "configs"
DATA_SETS = ("movielens", "lastfm", "goodreads", "steam")
STAGES = ("sft", "dpo", "dmpo", "sdpo", "mppo", "dynamicpo_dmpo", "dynamicpo_sdpo", "dynamicpo_mppo")
FAMILY = [f"{data}/{stage}.yaml" for data in DATA_SETS for stage in STAGES]


def read(name: str) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return settings


def is_overlay(name: str) -> bool:
    return "class_path" not in read(name).get("model", {})


NAMES = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.yaml"))
CONFIGS = [name for name in NAMES if not is_overlay(name)]
OVERLAYS = [name for name in NAMES if is_overlay(name)]


def one_of_the_family(name: str) -> Any:
    data, stage = DATA_SETS.index(Path(name).parent.name), STAGES.index(Path(name).stem)
    return pytest.param(name, marks=() if stage % len(DATA_SETS) == data else pytest.mark.slow)


@pytest.fixture(autouse=True)
def _in_a_folder_with_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the configs look for files in the S-DPO format, there are some: 60, 20 and 20 rows of 20 candidates."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    titles = [title.replace("::", ";") for title in tiny_titles().values()]
    for data in DATA_SETS[1:]:
        folder = tmp_path / f"data/{data}-sft-cans20"
        folder.mkdir(parents=True)
        for split, size in (("train", 60), ("val", 20), ("test", 20)):
            rows = []
            for _ in range(size):
                drawn = [titles[index] for index in rng.permutation(len(titles))[:24]]
                rows.append(
                    {"historyList": "::".join(drawn[20:]), "itemList": drawn[:20], "trueSelection": drawn[3]}
                )
            (folder / f"{data}-{split}.json").write_text(json.dumps(rows))
    write_own(tmp_path / "data/own")
    rows_without_training = tmp_path / "data/lastfm-sdpo"
    shutil.copytree(tmp_path / "data/lastfm-sft-cans20", rows_without_training)
    (rows_without_training / "lastfm-train.json").rename(rows_without_training / "lastfm-val.json")


def write_own(folder: Path) -> None:
    """The files of `configs/own`: 400 interactions with 60 items, and preferences as text and as conversations."""
    folder.mkdir()
    rows = [f"u{n % 23},{n * 7 % 60},2020-01-{1 + n // 24:02} {n % 24:02}:00:00\n" for n in range(400)]
    (folder / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "".join(rows))
    (folder / "items.csv").write_text("id,title\n" + "".join(f"{n},Gift card {n}\n" for n in range(60)))
    for split, size in (("train", 60), ("test", 8)):
        lines = []
        for n in range(size):
            question = {"role": "user", "content": f"Question {n}?"}
            prompt: Any = [question] if n % 2 else question["content"]
            lines.append(
                json.dumps({"prompt": prompt, "chosen": "yes", "rejected": ["no", "never"][: 1 + n % 2]})
            )
        (folder / f"{split}.jsonl").write_text("\n".join(lines))


def small(settings: dict[str, Any], tiny_folder: Path) -> dict[str, Any]:
    """The same config two steps long, with the small data set in MovieLens' place."""
    data = settings["data"]["init_args"]
    if data["source"] == "datamodules.sources.MovieLens100k":
        data["source"] = {
            "class_path": "datamodules.sources.RecBoleSource",
            "init_args": {"path": str(tiny_folder)},
        }
    data.update(batch_size=4)
    if settings["data"]["class_path"] == "datamodules.RecommendationDataModule":
        data.update(max_val_examples=8, max_test_examples=8)
    settings["wandb"] = {"mode": "disabled"}
    trainer = settings.setdefault("trainer", {})
    trainer["enable_progress_bar"] = False
    if "max_steps" in trainer:
        trainer.update(max_steps=2, val_check_interval=2)
    if "init_from" in settings["model"].get("init_args", {}):
        settings["model"]["init_args"]["init_from"] = None
    return settings


@pytest.mark.parametrize(
    "name", [*(n for n in CONFIGS if n not in FAMILY), *(one_of_the_family(n) for n in FAMILY)]
)
def test_a_config_trains_and_tests(
    name: str, tiny_folder: Path, tmp_path: Path, tiny_pretrained: str
) -> None:
    settings = small(read(name), tiny_folder)
    Path("cache").mkdir()
    Path("cache/smollm2-135m-instruct").symlink_to(tiny_pretrained)
    copy = Path("configs") / name
    copy.parent.mkdir(parents=True)
    copy.write_text(yaml.safe_dump(settings))
    checkpoint = []
    if "max_steps" in settings["trainer"]:
        main(["fit", "--config", str(copy)])
        checkpoint = ["--ckpt_path", "best"]
    main(["test", "--config", str(copy), *checkpoint])
    folder = (tmp_path / "outputs" / name).with_suffix("")
    assert "test/hit_ratio@1" in (folder / "metrics.csv").read_text()


class Built(DynamicPOCLI):
    """Everything a run needs, without running it."""

    def __init__(self, args: list[str]) -> None:
        super().__init__(
            LightningModule,
            LightningDataModule,
            save_config_callback=None,
            trainer_defaults=TRAINER_DEFAULTS,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            parser_class=RunArgumentParser,
            args=args,
        )

    def _run_subcommand(self, subcommand: str) -> None: ...


NO_GPU = ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.strategy", "auto"]


def at_the_papers_size(name: str) -> list[str]:
    """The arguments that the config's header says, without the GPUs."""
    overlay = (
        "configs/llama2_7b/sft.yaml" if name.endswith("/sft.yaml") else "configs/llama2_7b/preference.yaml"
    )
    assert f"add --config {overlay}" in (FOLDER / name).read_text()
    return ["--config", f"configs/{name}", "--config", overlay, *NO_GPU, "--wandb.mode", "disabled"]


@pytest.mark.parametrize("name", map(one_of_the_family, FAMILY))
def test_the_papers_settings_arrive(name: str) -> None:
    """Every number of the paper, whatever the small config has in its place; the model is named, not loaded."""
    shutil.copytree(FOLDER, "configs")
    built = Built(["fit", *at_the_papers_size(name)])
    stage = Path(name).stem
    own = Path("outputs/llama2_7b", name).with_suffix("")
    trainer, model, data = built.trainer, built.model, built.datamodule
    assert Path(trainer.default_root_dir) == own
    assert (trainer.max_epochs, trainer.max_steps) == (5 if stage == "sft" else 3, -1)
    assert (trainer.gradient_clip_val, trainer.precision) == (0.3, "bf16-mixed")
    assert isinstance(data, RecommendationDataModule)
    assert GlobalBatch.of_size(data.global_batch_size, 4, data.batch_size) == GlobalBatch(4, 4, 8)
    assert data.global_batch_size == 128
    assert data.num_negatives == {"sft": 0, "dpo": 1}.get(stage, 15)
    assert model.lora == LoRA(rank=8, alpha=32, dropout=0.1)
    assert model.language_model.identity()["quantization"] == "nf4"
    optimizer = model._optimizer([torch.nn.Parameter(torch.zeros(1))])
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (1e-5, 0)
    assert group["betas"] == (0.9, 0.999)
    (factor,) = model._lr_scheduler(optimizer, num_steps=100).lr_lambdas
    assert [factor(step) for step in (0, 4, 5, 100)] == pytest.approx([0.2, 1.0, 1.0, 0.0])
    if stage == "sft":
        assert model.history_weight == 0
    else:
        assert model.init_from == str(own.parent / "sft/checkpoints/best.ckpt")


@pytest.fixture(scope="module")
def tiny_pretrained(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Llama of the pretrained kind, with its tokenizer, in a folder."""
    folder = tmp_path_factory.mktemp("tiny-llama")
    tokenizer = learn_tokenizer(f" {title}" for title in tiny_titles().values())
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    tokenizer.save_pretrained(folder)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **size)).save_pretrained(folder)
    return str(folder)


def test_both_stages_run_at_the_papers_settings_with_a_tiny_model_in_place(tiny_pretrained: str) -> None:
    shutil.copytree(FOLDER, "configs")
    language_model = {"init_args": {"name": tiny_pretrained, "quantization": None}}
    tiny = {
        "trainer": {"max_epochs": 1, "val_check_interval": 1.0},
        "model": {"init_args": {"language_model": language_model}},
        "data": {"init_args": {"tokenizer": tiny_pretrained, "max_length": 1024, "global_batch_size": 16}},
    }
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny))
    for name in ("lastfm/sft.yaml", "lastfm/dynamicpo_dmpo.yaml"):
        main(["fit", *at_the_papers_size(name), "--config", "tiny.yaml"])
        folder = Path("outputs/llama2_7b", name).with_suffix("")
        state = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)
        assert state["global_step"] == 3  # 60 rows are 15 batches of 4, of which 4 make a step
        assert all(".lora_" in key for key in state["state_dict"])


@pytest.mark.parametrize("stage", ["sft", "dmpo", "dynamicpo"])
def test_smollm2_trains_on_lastfm_with_an_overlay(stage: str) -> None:
    shutil.copytree(FOLDER, "configs")
    files = [f"configs/smollm2/{name}.yaml" for name in (stage, "lastfm")]
    built = Built(["fit", "--config", files[0], "--config", files[1], "--wandb.mode", "disabled"])
    assert isinstance(built.datamodule, RecommendationDataModule)
    assert isinstance(built.datamodule.source, SDPOSource)
    assert built.datamodule.num_negatives == (0 if stage == "sft" else 15)


def test_the_two_overlays_of_the_paper_differ_in_the_stage_alone() -> None:
    sft, preference = read("llama2_7b/sft.yaml"), read("llama2_7b/preference.yaml")
    assert sft["trainer"].pop("max_epochs") == 5
    assert preference["trainer"].pop("max_epochs") == 3
    assert sft["model"]["init_args"].pop("history_weight") == 0
    for each in (sft, preference):
        del each["trainer"]["val_check_interval"]
    assert sft == preference


def test_the_family_differs_in_data_set_objective_and_its_rate_alone() -> None:
    """So numbers of two of these configs can be compared, and a change to one is not forgotten in the others."""
    assert set(FAMILY) <= set(CONFIGS)
    stage_of: dict[str, Any] = {}
    for name in FAMILY:
        settings = read(name)
        model, data = settings["model"]["init_args"], settings["data"]["init_args"]
        for key in ("source", "templates", "max_test_examples"):
            of_data = stage_of.setdefault(f"{Path(name).parent} {key}", data.get(key))
            assert data.pop(key, None) == of_data, name
        objective = stage_of.setdefault(f"objective of {Path(name).stem}", model.get("objective"))
        assert model.pop("objective", None) == objective, name
        rate = model["optimizer"]["init_args"].pop("lr")
        assert stage_of.setdefault(f"rate of {Path(name).stem}", rate) == rate, name
        kind = Path(name).stem if Path(name).stem in ("sft", "dpo") else "preference"
        assert stage_of.setdefault(kind, settings) == settings, name
    stage_of["dpo"]["data"]["init_args"]["num_negatives"] = 15
    assert stage_of["dpo"] == stage_of["preference"]


@pytest.mark.parametrize("name", NAMES)
def test_a_config_says_how_it_is_run(name: str) -> None:
    """The header holds a command that names the config, and the table of configs has a row for it."""
    header = [line for line in (FOLDER / name).read_text().splitlines() if line.startswith("#")]
    assert any("python train.py" in line and f"--config configs/{name}" in line for line in header)
    assert f"| {name} |" in (FOLDER / "README.md").read_text()


def test_overlays_leave_the_runs_folder_to_the_config(tiny_folder: Path) -> None:
    shutil.copytree(FOLDER, "configs")
    settings = small(read("quickstart/dmpo.yaml"), tiny_folder)
    del settings["wandb"]
    Path("configs/quickstart/dmpo.yaml").write_text(yaml.safe_dump(settings))
    main(["fit", "--config", "configs/quickstart/dmpo.yaml", "--config", "configs/csv.yaml"])
    folder = Path("outputs/quickstart/dmpo")
    assert not (folder / "wandb").exists()
    assert (folder / "metrics.csv").is_file()


TRAINED = [
    name for name in CONFIGS if name.startswith("quickstart/") and "optimizer" in (FOLDER / name).read_text()
]


@pytest.mark.parametrize("name", TRAINED)
def test_the_quickstart_trains_with_several_processes(name: str) -> None:
    """The global batch is the one the config has alone; for stage 1 it has to be said."""
    shutil.copytree(FOLDER, "configs")
    whole = read(name)["data"]["init_args"]["batch_size"]
    said = [] if whole == 32 else ["--data.global_batch_size", str(whole)]
    configs = ["--config", f"configs/{name}", "--config", "configs/ddp.yaml"]
    built = Built(["fit", *configs, *said, "--wandb.mode", "disabled"])
    assert isinstance(built.trainer.strategy, DDPStrategy)
    assert built.trainer.world_size == 2
    data = built.datamodule
    assert data.global_batch_size == whole
    assert GlobalBatch.of_size(whole, 2, data.batch_size).size == whole
    assert Path(built.trainer.default_root_dir) == Path("outputs", name).with_suffix("")


def test_the_published_lists_are_an_overlay() -> None:
    shutil.copytree(FOLDER, "configs")
    configs = ["--config", "configs/steam/dmpo.yaml", "--config", "configs/published_candidates.yaml"]
    data = Built(["fit", *configs, "--wandb.mode", "disabled"]).datamodule
    data.prepare_data()
    data.setup("test")
    published = json.loads(Path("data/steam-sft-cans20/steam-test.json").read_text())
    rows = sorted(data.store.splits["test"], key=lambda row: row["id"])
    assert len(rows) == len(published) == 20
    for row, given in zip(rows, published, strict=True):
        titles = [data.store.titles[item].casefold() for item in row["candidates"]]
        assert titles == [title.casefold() for title in given["itemList"]]
