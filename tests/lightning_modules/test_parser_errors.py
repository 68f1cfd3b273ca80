"""What the command line says of wrong settings: one line, with the place, what is expected and what was meant."""

import gzip
import importlib
import shlex
from pathlib import Path

import pytest
import yaml
from jsonargparse import ArgumentParser

from lightning_modules.cli import main
from lightning_modules.settings_walk import find_null, find_wrong_setting
from tests.parsed import parse

CONFIGS = Path(__file__).parents[2] / "configs"

CONFIG = """\
trainer: {max_steps: 6, accelerator: cpu}
wandb: {mode: disabled}
model:
  class_path: lightning_modules.PreferenceModule
  init_args:
    language_model: lightning_modules.SmallLlama
    objective: {class_path: losses.DMPO, init_args: {beta: 1.0}}
    optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 1.0e-3}}
data:
  class_path: datamodules.RecommendationDataModule
  init_args:
    source: {class_path: datamodules.sources.RecBoleSource, init_args: {path: nowhere}}
    num_negatives: 5
"""
OBJECTIVE = "objective: {class_path: losses.DMPO, init_args: {beta: 1.0}}"
OBJECTIVES = "a class: one of losses.DMPO, losses.DPO, losses.DynamicPO, losses.MPPO, losses.SDPO, "
OBJECTIVES += "losses.SelectiveObjective"
MODELS = "a class: one of lightning_modules.PreferenceModule, lightning_modules.SupervisedModule"
DATA = "a class: one of datamodules.HistoryDataModule, datamodules.PreferencePairsDataModule, "
DATA += "datamodules.RecommendationDataModule"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ok.yaml").write_text(CONFIG)


def said(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """Runs, expects status 2 and nothing on stderr but one line; returns it without `error: `."""
    with pytest.raises(SystemExit) as caught:
        main(list(args))
    printed = capsys.readouterr()
    assert caught.value.code == 2
    assert printed.out == ""
    [line] = printed.err.splitlines()
    return line.removeprefix("error: ")


def slow(*values: str):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        # keys
        ("--data.num_negative 3", "RecommendationDataModule has no setting num_negative; did you mean --data.num_negatives?"),
        ("--model.objective.betta 1", "DMPO has no setting betta; did you mean --model.objective.beta?"),
        slow("--model.init_args.objective.init_args.betta 1", "DMPO has no setting betta; did you mean --model.objective.beta?"),
        slow("--data.source.pth x", "RecBoleSource has no setting pth; did you mean --data.source.path?"),
        slow("--model.lora.rnk 4", "LoRA has no setting rnk; did you mean --model.lora.rank?"),
        ("--model.lora '{rank: 8, alfa: 2}'", "LoRA has no setting alfa; did you mean --model.lora.alpha?"),
        ("--trainer.max_step 5", "trainer has no setting max_step; did you mean --trainer.max_steps?"),
        slow("--wandb.proj x", "wandb has no setting proj; did you mean --wandb.project?"),
        ("--max_steps 5", "there is no setting max_steps; did you mean --trainer.max_steps?"),
        ("--lr 0.1", "there is no setting lr; did you mean --model.optimizer.lr?"),
        slow("--model.beta 0.5", "PreferenceModule has no setting beta; did you mean --model.objective.beta?"),
        ("--seed 3", "there is no setting seed; did you mean --seed_everything?"),
        slow("--out x", "there is no setting out; did you mean --outputs?"),
        slow("--confg x.yaml", "there is no setting confg; did you mean --config?"),
        slow("--trainer.foo 1", "trainer has no setting foo; --help all lists its settings"),
        slow("--model.language_model.width 1", "SmallLlama has no setting width; it has hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, intermediate_size, max_position_embeddings"),
        slow("--trainer.max_steps.x 1", "trainer.max_steps is a whole number and has no setting x"),
        # types
        ("--data.num_negatives abc", "expected a whole number"),
        ("--model.objective.beta true", "expected a number"),
        slow("--model.optimizer.lr fast", "expected a number"),
        slow("--data.title_tokens 3", "expected true or false"),
        slow("--data.max_val_examples many", "expected a whole number or null"),
        slow("--trainer.gradient_clip_val high", "expected a number or null"),
        ("--wandb.mode onlin", "expected one of offline, online, disabled or null; did you mean online?"),
        ("--data.templates abc", "expected a list of texts"),
        slow("--data.templates '[1]'", "expected text; put text in quotes"),
        slow("--model.optimizer.betas 0.9", "expected a list of 2 values"),
        slow("--best_checkpoint.train_time_interval soon", "expected a time as DD:HH:MM:SS or null"),
        ("--model.lora '{rank: 8'", "not valid YAML: expected ',' or '}', but got '<stream end>'"),
        slow("--model.lora 5", "expected a mapping of rank, alpha, dropout, target_modules"),
        slow("--trainer 5", "expected a mapping of accelerator, strategy, devices …"),
        ("--trainer.max_steps null", "null is no value here: expected a whole number"),
        ("--seed_everything abc", "expected true or false or a whole number"),
        # classes
        ("--model.objective losses.DMP0", "losses has no DMP0; did you mean losses.DMPO?"),
        slow("--model.objective DMP0", "there is no class DMP0; did you mean losses.DMPO?"),
        slow("--model.objective lossses.DMPO", "there is no module lossses; did you mean losses.DMPO?"),
        ("--model.objective losses.AllNegatives", f"this class does not derive from Objective; expected {OBJECTIVES}"),
        slow("--model.objective losses.Objective", f"this class is abstract; expected {OBJECTIVES}"),
        slow("--model.objective losses.dmpo_loss", f"this is not a class; expected {OBJECTIVES}"),
        slow("--model.objective 5", f"expected {OBJECTIVES}"),
        ("--trainer.callbacks+ callbacks.CollapsAlarm", "callbacks has no CollapsAlarm; did you mean callbacks.CollapseAlarm?"),
        slow("--model.optimizer torch.optim.Adamw", "torch.optim has no Adamw; did you mean torch.optim.AdamW?"),
        slow("--model.lr_scheduler lightning_modules.LinearWarmUp", "lightning_modules has no LinearWarmUp; did you mean lightning_modules.LinearWarmup?"),
        slow("--data.source datamodules.sources.Table", "datamodules.sources has no Table; did you mean datamodules.sources.TableSource?"),
        slow("--model.help losses.DMPO", f"this class does not derive from LightningModule; expected {MODELS}"),
    ],
)  # fmt: skip
def test_a_wrong_option(option: str, message: str, capsys) -> None:
    given = " ".join(shlex.split(option))
    assert said(capsys, "fit", "--config", "ok.yaml", *shlex.split(option)) == f"{given}: {message}"


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ("fitt --config ok.yaml", "there is no command fitt: did you mean fit?"),
        slow("train", "there is no command train: the first argument is one of fit, validate, test, predict"),
        slow("--config ok.yaml", "--config stands in the command's place: the first argument is one of fit, validate, test, predict"),
        ("fit", "no model and no data: name a config behind --config, such as configs/quickstart/sft.yaml"),
        slow("fit --model lightning_modules.PreferenceModule --data.num_negatives 3", f"--data.num_negatives 3: no class was given yet: write --data before it, expected {DATA}"),
        ("fit --config ok.yaml ok.yaml", "ok.yaml: write --config before every config file"),
        slow("fit ok.yaml", "ok.yaml: write --config before every config file"),
        slow("fit --config ok.yaml --config", "--config needs a file behind it"),
        slow("fit -config ok.yaml", "-config ok.yaml: did you mean --config?"),
        ("fit --config ok.yaml --data.num_negatives", "--data.num_negatives: needs a value, expected a whole number"),
        slow("fit --config ok.yaml --data.num_negatives --data.batch_size 4", "--data.num_negatives: needs a value, expected a whole number"),
        slow("fit --config ok.yaml --print_config --data.num_negative 3", "--data.num_negative 3: RecommendationDataModule has no setting num_negative; did you mean --data.num_negatives?"),
        slow("fit --config ok.yaml --print_config=all", 'Invalid option "all" for --print_config'),
        ("fit --config ok.yaml --model.lr_scheduler torch.optim.lr_scheduler.ExponentialLR", "model.lr_scheduler.gamma is missing and ExponentialLR needs it: give it in the config or as --model.lr_scheduler.gamma, expected a number"),
        slow("fit --config ok.yaml --model.lr_scheduler CosineAnnealingLR --data.num_negative 3", "--data.num_negative 3: RecommendationDataModule has no setting num_negative; did you mean --data.num_negatives?"),
        slow("fit --config ok.yaml --model.lr_scheduler lightning_modules.LinearWarmup --model.lr_scheduler.warmup 3", "--model.lr_scheduler.warmup 3: LinearWarmup has no setting warmup; did you mean --model.lr_scheduler.warmup_steps?"),
        slow("fit --config ok.yaml --trainer.callbacks+ callbacks.CollapseAlarm --trainer.callbacks.patients 3", "--trainer.callbacks.patients 3: CollapseAlarm has no setting patients; did you mean --trainer.callbacks.patience?"),
        slow("fit --config ok.yaml --model.language_model lightning_modules.PretrainedLM", "model.language_model.name is missing and PretrainedLM needs it: give it in the config or as --model.language_model.name, expected text"),
        ("fit --config ok.yaml --model.objective losses.DynamicPO", f"model.objective.objective is missing and DynamicPO needs it: give it in the config or as --model.objective.objective, expected {OBJECTIVES}"),
        slow("fit --config ok.yaml --seed_everything -1", "seed_everything=-1 must lie in 0..4294967295"),
        slow("test --config ok.yaml --data.num_negative 3", "--data.num_negative 3: RecommendationDataModule has no setting num_negative; did you mean --data.num_negatives?"),
    ],
)  # fmt: skip
def test_wrong_arguments(args: str, line: str, capsys) -> None:
    assert said(capsys, *args.split()) == line


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        # wrong nesting
        (OBJECTIVE, "objective: {class_path: losses.DMPO, beta: 1.0}", "line 7: model.init_args.objective.beta: 1.0: beta stands beside class_path; write it inside init_args"),
        (OBJECTIVE, "objective: losses.DMPO\n    beta: 1.0", "line 8: model.init_args.beta: 1.0: PreferenceModule has no setting beta; did you mean model.init_args.objective.init_args.beta?"),
        slow(OBJECTIVE, "objective: {class_path: losses.DynamicPO, init_args: {beta: 1.0, objective: losses.DMPO}}", "line 7: model.init_args.objective.init_args.beta: 1.0: DynamicPO has no setting beta; did you mean model.init_args.objective.init_args.objective.init_args.beta?"),
        slow("wandb: {mode: disabled}", "lora: {rank: 8}", "line 2: lora: {rank: 8}: there is no setting lora; did you mean model.init_args.lora?"),
        slow("max_steps: 6", "batch_size: 6", "line 1: trainer.batch_size: 6: trainer has no setting batch_size; did you mean data.init_args.batch_size?"),
        slow(OBJECTIVE, "objective: {beta: 1.0}", f"line 7: model.init_args.objective: {{beta: 1.0}}: class_path is missing: expected {OBJECTIVES}"),
        slow(OBJECTIVE, "objective: {class_path: losses.DMPO, init_args: [beta]}", "line 7: model.init_args.objective.init_args: [beta]: expected a mapping of DMPO's settings"),
        slow("data:\n  class_path", "data:\n  classpath", "line 10: data.classpath: datamodules.RecommendationDataModule: did you mean class_path?"),
        slow("RecommendationDataModule\n  init_args", "RecommendationDataModule\n  init_arg", "line 11: data.init_arg: {source: {class_path: datamodules.sources.RecBoleSource, ini…: did you mean init_args?"),
        # keys
        ("num_negatives: 5", "num_negative: 5", "line 13: data.init_args.num_negative: 5: RecommendationDataModule has no setting num_negative; did you mean num_negatives?"),
        slow("max_steps: 6", "max_step: 6", "line 1: trainer.max_step: 6: trainer has no setting max_step; did you mean max_steps?"),
        slow("wandb: {", "wnadb: {", "line 2: wnadb: {mode: disabled}: there is no setting wnadb; did you mean wandb?"),
        ("max_steps: 6", "callbacks: [{class_path: callbacks.CollapseAlarm, init_args: {patiense: 3}}]", "line 1: trainer.callbacks[0].init_args.patiense: 3: CollapseAlarm has no setting patiense; did you mean patience?"),
        slow("lr: 1.0e-3", "lrr: 1.0e-3", "line 8: model.init_args.optimizer.init_args.lrr: 0.001: AdamW has no setting lrr; did you mean lr?"),
        # types
        ("max_steps: 6", "max_steps: six", "line 1: trainer.max_steps: six: expected a whole number"),
        slow("beta: 1.0", "beta: high", "line 7: model.init_args.objective.init_args.beta: high: expected a number"),
        slow("num_negatives: 5", "tokenizer: 5", "line 13: data.init_args.tokenizer: 5: expected text or null; put text in quotes"),
        slow("num_negatives: 5", "templates: [{history}]", "line 13: data.init_args.templates[0]: {history: null}: expected text; put text in quotes"),
        slow("wandb: {mode: disabled}", "wandb: disabled", "line 2: wandb: disabled: expected a mapping of mode, project, name …"),
        slow("wandb: {mode: disabled}", "wandb: {mode: off}", "line 2: wandb.mode: false: expected one of offline, online, disabled or null"),
        slow("lr: 1.0e-3", "lr: fast", "line 8: model.init_args.optimizer.init_args.lr: fast: expected a number"),
        ("beta: 1.0", "beta: null", "line 7: model.init_args.objective.init_args.beta: null: null is no value here: expected a number"),
        # classes
        (OBJECTIVE, "objective: losses.DMP0", "line 7: model.init_args.objective: losses.DMP0: losses has no DMP0; did you mean losses.DMPO?"),
        slow("PreferenceModule", "PreferencModule", "line 4: model.class_path: lightning_modules.PreferencModule: lightning_modules has no PreferencModule; did you mean lightning_modules.PreferenceModule?"),
        slow("max_steps: 6", "callbacks: [callbacks.CollapsAlarm]", "line 1: trainer.callbacks[0]: callbacks.CollapsAlarm: callbacks has no CollapsAlarm; did you mean callbacks.CollapseAlarm?"),
        slow(OBJECTIVE, "objective: 5", f"line 7: model.init_args.objective: 5: expected {OBJECTIVES}"),
    ],
)  # fmt: skip
def test_a_wrong_line_of_a_config(old: str, new: str, line: str, capsys) -> None:
    assert CONFIG.count(old) == 1
    Path("x.yaml").write_text(CONFIG.replace(old, new))
    assert said(capsys, "fit", "--config", "x.yaml") == f"x.yaml {line}"


def test_an_overlay_is_named_and_read_with_the_classes_before_it(capsys) -> None:
    Path("over.yaml").write_text("model:\n  init_args:\n    objective:\n      init_args: {bta: 3}\n")
    line = said(capsys, "fit", "--config", "ok.yaml", "--config", "over.yaml")
    assert line == "over.yaml line 4: model.init_args.objective.init_args.bta: 3: DMPO has no setting bta; did you mean beta?"  # fmt: skip


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "--config x.yaml is empty: it must hold settings, such as `trainer: {max_steps: 10}`"),
        slow(b"# nothing\n", "--config x.yaml is empty: it must hold settings, such as `trainer: {max_steps: 10}`"),
        (bytes(range(256)), "--config x.yaml is not a text file: a config is YAML"),
        slow(gzip.compress(b"a: 1"), "--config x.yaml is not a text file: a config is YAML"),
        slow(b"a\0b: 1", "x.yaml is not a text file: it holds the character #x0000; a config is YAML"),
        (b"a: [1\nb: 2\n", "x.yaml line 2 column 2 is not valid YAML: expected ',' or ']', but got ':'"),
        slow(b"trainer:\n\tmax_steps: 3\n", r"x.yaml line 2 column 1 is not valid YAML: found character '\t' that cannot start any token; indent with spaces"),
        slow(b"- a\n- b\n", "--config x.yaml is not a mapping but [a, b]: a config holds settings, such as `trainer: {max_steps: 10}`"),
        slow(b"hello\n", "--config x.yaml is not a mapping but hello: a config holds settings, such as `trainer: {max_steps: 10}`"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_config(content: bytes, line: str, capsys) -> None:
    Path("x.yaml").write_bytes(content)
    assert said(capsys, "fit", "--config", "x.yaml") == line


def test_a_config_that_is_not_there(capsys) -> None:
    assert (
        said(capsys, "fit", "--config", "okk.yaml")
        == "--config okk.yaml: there is no such file; did you mean ok.yaml?"
    )
    assert (
        said(capsys, "fit", "--config", "a/b.yaml")
        == "--config a/b.yaml: there is no such file, and no folder a"
    )
    assert (
        said(capsys, "fit", "--config", ".") == "--config . is a folder: name one file in it, such as ok.yaml"
    )


@pytest.mark.parametrize(
    ("name", "code", "line"),
    [
        ("syntax", "x = 1\nclass Mine(:\n", "syntax.py line 2: SyntaxError: invalid syntax"),
        slow("absent", "import losses\nimport nowhere_to_be\n", "absent.py line 2: ModuleNotFoundError: No module named 'nowhere_to_be'"),
        slow("undefined", "def f():\n    return z\n\nf()\n", "undefined.py line 2: NameError: name 'z' is not defined"),
    ],
)  # fmt: skip
def test_a_module_that_cannot_be_imported_is_named_with_its_line(
    name: str, code: str, line: str, capsys
) -> None:
    Path(f"own_{name}.py").write_text(code)
    importlib.invalidate_caches()
    given = f"--model.objective own_{name}.Mine"
    expected = f"{given}: own_{name} cannot be imported: own_{line}"
    assert said(capsys, "fit", "--config", "ok.yaml", *given.split()) == expected


def test_a_class_path_finds_a_module_in_the_working_directory() -> None:
    Path("own_objective.py").write_text("from losses import DMPO\n\nclass Mine(DMPO): ...\n")
    importlib.invalidate_caches()
    config, _ = parse("fit", "--config", "ok.yaml", "--model.objective", "own_objective.Mine")
    assert config.model.init_args.objective.class_path == "own_objective.Mine"


def test_null_reaches_a_class_inside_a_class() -> None:
    source = ["--data.source", "datamodules.sources.TableSource", "--data.source.path", "x"]
    nulls = ["--data.source.catalogue", "null", "--data.tokenizer", "null"]
    config, _ = parse("fit", "--config", "ok.yaml", *source, *nulls)
    assert config.data.init_args.source.init_args.catalogue is None
    assert config.data.init_args.tokenizer is None


@pytest.fixture(scope="module")
def fit_parser() -> ArgumentParser:
    return parse("fit", "--config", str(CONFIGS / "quickstart/sft.yaml"))[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_nothing_is_wrong_with_the_projects_configs(path: Path, fit_parser: ArgumentParser) -> None:
    own_model = "class_path" in yaml.safe_load(path.read_text()).get("model", {})
    stage = CONFIGS / f"movielens/{'sft' if path.stem == 'sft' else 'dmpo'}.yaml"
    args = ["--config", str(path)] if own_model else ["--config", str(stage), "--config", str(path)]
    find_wrong_setting(fit_parser, args)
    find_null(fit_parser, args)
