import torch
from transformers import PreTrainedTokenizerBase

from datamodules import RecommendationDataModule
from lightning_modules import LoRA, SmallLlama
from lightning_modules.language_model import causal_lm
from lightning_modules.reference import FrozenAdapter, FrozenCopy, freeze_reference
from lightning_modules.scoring import response_log_probs


def small(tokenizer: PreTrainedTokenizerBase):
    torch.manual_seed(0)
    return SmallLlama(hidden_size=32, num_hidden_layers=1).build(tokenizer)


def disturb(policy, name_part: str) -> None:
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if name_part in name:
                parameter.add_(torch.randn_like(parameter))


def trained_names(policy) -> set[str]:
    return {name for name, parameter in policy.named_parameters() if parameter.requires_grad}


def test_a_frozen_copy_stays_what_the_policy_was(make_data) -> None:
    data: RecommendationDataModule = make_data(num_negatives=3)
    batch = next(iter(data.train_dataloader()))
    policy = small(data.tokenizer)
    before = response_log_probs(policy, batch.packed)
    reference = freeze_reference(policy)
    assert isinstance(reference, FrozenCopy)
    reference.train()
    disturb(policy, "")
    torch.testing.assert_close(reference(batch), before, rtol=0, atol=0)
    assert not reference(batch).requires_grad
    assert not any(parameter.requires_grad for parameter in reference.parameters())
    assert not reference.model.training


def test_a_frozen_adapter_shares_the_base_and_never_trains(make_data) -> None:
    data: RecommendationDataModule = make_data(num_negatives=3)
    batch = next(iter(data.train_dataloader()))
    policy = LoRA(rank=2, dropout=0.0).apply(small(data.tokenizer))
    disturb(policy, "lora_B")
    trained = trained_names(policy)
    before = response_log_probs(causal_lm(policy), batch.packed)
    reference = freeze_reference(policy)
    assert isinstance(reference, FrozenAdapter)
    assert trained_names(policy) == trained
    assert all(".policy." in name for name in trained)
    torch.testing.assert_close(reference(batch), before, rtol=0, atol=0)

    disturb(policy, "lora_B.policy")
    torch.testing.assert_close(reference(batch), before, rtol=0, atol=0)
    assert trained_names(policy) == trained, "scoring with the reference changed what is trained"
    after = response_log_probs(causal_lm(policy), batch.packed)
    assert (after - before).abs().max() > 0.1, "the policy adapter is not the active one"
    assert list(reference.parameters()) == [], "the base would be counted, moved and saved twice"
