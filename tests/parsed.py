"""What the real command line makes of its arguments, without running anything."""

from typing import Any

import pytest

from lightning_modules import cli


class _ParsedError(Exception):
    """Stops the command line after parsing."""


def parse(*args: str) -> tuple[Any, Any]:
    """Parses arguments; returns the command's settings, as `config.yaml` would hold them, and its parser."""
    found: list[tuple[Any, Any]] = []

    def stop(self: cli.DynamicPOCLI) -> None:
        found.append((self.config[self.subcommand], self._parser(self.subcommand)))
        raise _ParsedError

    with pytest.MonkeyPatch.context() as patch, pytest.raises(_ParsedError):
        patch.setattr(cli.DynamicPOCLI, "before_instantiate_classes", stop)
        cli.main(list(args))
    return found[0]
