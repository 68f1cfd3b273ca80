"""The gradients of S and B against gradients of the loss taken one negative at a time."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer

from callbacks.gradient_suppression import _measure
from lightning_modules import LoRA, PreferenceModule, SmallLlama
from losses import DMPO, SDPO, DynamicPO, three_means_boundary
from tests.cli import config, run, weights


def module(data, objective, lora: LoRA | None = None) -> PreferenceModule:
    torch.manual_seed(0)
    model = SmallLlama(hidden_size=32, num_hidden_layers=1)
    made = PreferenceModule(model, objective, torch.optim.AdamW, lora=lora)
    made._trainer = SimpleNamespace(datamodule=data, training=True)
    made.configure_model()
    made._trainer = None
    with torch.no_grad():
        for parameter in made.policy.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return made


@pytest.mark.parametrize("objective", [DMPO(beta=1.0), SDPO(beta=0.5), DynamicPO(DMPO(beta=1.0))])
@pytest.mark.parametrize("lora", [None, LoRA(rank=2)])
def test_norms_and_variance_equal_gradients_taken_one_by_one(make_data, objective, lora) -> None:
    """∂(mean loss)/∂θ through negative i of row b alone: all other scores are detached before the loss."""
    data = make_data(num_negatives=5, batch_size=8)
    made = module(data, objective, lora)
    batch = next(iter(data.train_dataloader()))
    trainer = Trainer(accelerator="cpu", logger=False, barebones=True)
    found = _measure(trainer, made, batch)

    parameters = [parameter for parameter in made.parameters() if parameter.requires_grad]
    scores = made.response_scores(batch)
    boundary = three_means_boundary(scores)

    def gradient(keep: torch.Tensor, rows: slice = slice(None)) -> torch.Tensor:
        policy = torch.where(keep, scores.policy, scores.policy.detach())
        kept = type(scores)(policy, scores.reference, scores.mask, scores.lengths, scores.draws)
        loss = objective(kept).loss[rows].mean()
        parts = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        return torch.cat([part.flatten().double() for part in parts if part is not None])

    def columns(negatives: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(negatives, (1, 0))

    easy, hard = gradient(columns(~boundary)), gradient(columns(boundary))
    assert found["gradient/easy_norm"] == pytest.approx(easy.norm().item(), rel=1e-4, abs=1e-9)
    assert found["gradient/boundary_norm"] == pytest.approx(hard.norm().item(), rel=1e-4)
    if easy.norm() > 0:
        cosine = torch.nn.functional.cosine_similarity(easy, hard, dim=0).item()
        assert found["gradient/cosine"] == pytest.approx(cosine, abs=1e-4)
    else:
        assert "gradient/cosine" not in found

    everything = torch.ones_like(columns(boundary))
    quarters = torch.stack([gradient(everything, slice(2 * part, 2 * part + 2)) for part in range(4)])
    variance = quarters.var(dim=0, unbiased=True).sum().item()
    assert found["gradient/variance"] == pytest.approx(variance, rel=1e-4)


@pytest.mark.parametrize("lora", [None, {"rank": 2}])
def test_measuring_changes_no_weight(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lora
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = config(tiny_folder, lora=lora)
    settings["trainer"]["accumulate_grad_batches"] = 2
    without = weights(run("fit", "without", settings) / "checkpoints/last.ckpt")
    settings["trainer"]["callbacks"].append(
        {"class_path": "callbacks.GradientSuppression", "init_args": {"every_n_steps": 2}}
    )
    folder = run("fit", "with", settings)
    with_callback = weights(folder / "checkpoints/last.ckpt")
    assert without.keys() == with_callback.keys()
    assert all(torch.equal(without[key], with_callback[key]) for key in without)
    log = (folder / "metrics.csv").read_text()
    assert "gradient/easy_norm" in log
    assert "gradient/boundary_share" in log


def test_the_interval_is_checked() -> None:
    from callbacks import GradientSuppression

    with pytest.raises(ValueError, match="every_n_steps=0"):
        GradientSuppression(every_n_steps=0)
