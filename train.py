"""Train, evaluate and use an LLM recommender with preference optimisation on many negatives (DynamicPO).

    python train.py COMMAND --config FILE [--config OVERLAY] [--SETTING VALUE] ...

Commands:
    fit         train; --ckpt_path last goes on where a run stopped
    validate    evaluate on the validation split
    test        evaluate on the test split; --ckpt_path best takes the run's best checkpoint
    predict     write ranked candidates, or recommendations, as Parquet; --ckpt_path best

Examples:
    python train.py fit --config configs/quickstart/sft.yaml
    python train.py fit --config configs/quickstart/dynamicpo.yaml
    python train.py fit --config configs/quickstart/dmpo.yaml --data.num_negatives 3 --outputs outputs/k3
    python train.py test --config configs/quickstart/dynamicpo.yaml --ckpt_path best

Settings, in a config or as an option:
    seed_everything    seed of weights, order and draws; true chooses one at random
    trainer            Lightning's Trainer: max_steps, precision, devices, strategy, callbacks, ...
    model              class_path and init_args of the model
    data               class_path and init_args of the data module
    wandb              mode, project and name of the Weights & Biases run
    best_checkpoint    which validation metric decides, and how
    last_checkpoint    how often the resumable checkpoint is written
    outputs            folder of all runs; a run's folder is its config's path inside it
    ckpt_path          last, best, or a checkpoint's path

Where the settings are listed:
    python train.py fit --help all                       every option of a command
    python train.py fit --model.help PreferenceModule    the settings of a class
    python train.py fit --config FILE --print_config     a config with all defaults filled in
    configs/README.md                                    the configs that there are
"""

import os
import signal
import sys
from contextlib import suppress


def asks_for_page(args: list[str]) -> bool:
    """Return whether the page above answers the arguments; `--help all` asks for every option instead."""
    return not args or any(
        argument in ("-h", "--help") and args[index + 1 : index + 2] != ["all"]
        for index, argument in enumerate(args)
    )


if __name__ == "__main__":
    if asks_for_page(sys.argv[1:]):  # before torch is imported, which takes seconds
        with suppress(BrokenPipeError):  # `| head` has read enough
            print(__doc__, file=sys.stdout if sys.argv[1:] else sys.stderr, flush=True)
        sys.exit(0 if sys.argv[1:] else 2)
    # The imports take seconds; Ctrl-C in them would print a traceback through torch's own.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(128 + number))

    from lightning_modules.cli import main

    main()
