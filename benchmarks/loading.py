"""Tokens a second that the data loader packs, against those that the quickstart's training step consumes, in one run.

python -m benchmarks.loading
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice

import torch
from torch.optim import AdamW
from torch.utils.data import DataLoader

from benchmarks.workload import Workload
from datamodules import Batch, RecommendationDataModule
from datamodules.output_streams import outlive_readers
from lightning_modules import PreferenceModule, SupervisedModule
from lightning_modules.reference import freeze_reference
from losses import DMPO, DynamicPO

# Prompts and negatives of a step, as in configs/quickstart.
STAGES = {"sft": (64, 0), "dynamicpo": (32, 15)}
WORKERS = (0, 2)
_WARMUP = 2


@dataclass(frozen=True)
class Throughput:
    """Tokens a second, padding not counted.

    Attributes:
        step: What forward, backward, clipping and optimiser consume.
        loader: What the loader packs, by the number of its processes, while nothing else runs.
    """

    step: float
    loader: dict[int, float]

    @property
    def ratio(self) -> dict[int, float]:
        """Loader over step, by the number of the loader's processes."""
        return {workers: loaded / self.step for workers, loaded in self.loader.items()}


def measure(workload: Workload, batches: int, steps: int, workers: Sequence[int] = WORKERS) -> Throughput:
    """Measures one stage; no negatives means supervised training.

    Args:
        workload: Model, prompts a step and negatives.
        batches: Batches that are loaded for each number of processes.
        steps: Training steps.
        workers: Numbers of the loader's processes.
    """
    data = workload.data_module()
    train = _training_step(workload, data)
    loaded = list(islice(_loader(data, 0), _WARMUP + steps))
    for batch in loaded[:_WARMUP]:
        train(batch)
    consumed = _tokens_a_second(loaded[_WARMUP:], train)
    return Throughput(consumed, {count: _loading(data, count, batches) for count in workers})


def _loader(data: RecommendationDataModule, workers: int) -> DataLoader[Batch]:
    data.num_workers = workers
    return data.train_dataloader()


def _loading(data: RecommendationDataModule, workers: int, batches: int) -> float:
    iterator = iter(_loader(data, workers))
    for batch in islice(iterator, _WARMUP):  # the processes have started
        _tokens(batch)
    return _tokens_a_second(islice(iterator, batches), lambda batch: None)


def _tokens_a_second(batches: Iterable[Batch], use: Callable[[Batch], None]) -> float:
    start, tokens = time.perf_counter(), 0
    for batch in batches:
        use(batch)
        tokens += _tokens(batch)
    return tokens / (time.perf_counter() - start)


def _tokens(batch: Batch) -> int:
    return int((batch.packed.segment_ids >= 0).sum())


def _training_step(workload: Workload, data: RecommendationDataModule) -> Callable[[Batch], None]:
    module = _preference(workload, data) if workload.num_negatives else _supervised(workload, data)
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = AdamW(trained, lr=1e-3)

    def train(batch: Batch) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = module.training_step(batch, 0)["loss"]
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return train


def _supervised(workload: Workload, data: RecommendationDataModule) -> SupervisedModule:
    module = SupervisedModule(workload.language_model(), AdamW, history_weight=0.3)
    module.policy = workload.policy(data)
    return module


def _preference(workload: Workload, data: RecommendationDataModule) -> PreferenceModule:
    module = PreferenceModule(workload.language_model(), DynamicPO(DMPO(beta=1.0)), AdamW)
    module.policy = workload.policy(data)
    module.reference = freeze_reference(module.policy)
    return module


def main() -> None:
    """Prints a row a stage and number of processes, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--cache_dir", default="cache")
    parser.add_argument("--data", help="folder of RecBole files; without it MovieLens-100k")
    options = parser.parse_args()
    found = {
        stage: measure(
            Workload("quickstart", negatives, prompts, options.cache_dir, options.data),
            options.batches,
            options.steps,
        )
        for stage, (prompts, negatives) in STAGES.items()
    }
    if options.json:
        print(json.dumps({stage: {**asdict(one), "ratio": one.ratio} for stage, one in found.items()}))
        return
    print(f"{'stage':<10} {'workers':>7} {'step tokens/s':>14} {'loader tokens/s':>16} {'ratio':>6}")
    for stage, one in found.items():
        for workers, loaded in one.loader.items():
            print(f"{stage:<10} {workers:>7} {one.step:>14,.0f} {loaded:>16,.0f} {one.ratio[workers]:>6.1f}")


if __name__ == "__main__":
    outlive_readers()
    main()
