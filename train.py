"""`python train.py fit --config configs/quickstart/sft.yaml`."""

from lightning_modules.cli import main

if __name__ == "__main__":
    main()
