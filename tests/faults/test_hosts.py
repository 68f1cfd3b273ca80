"""Two hosts, each with its own network, against one process; and what is left when one of them is lost."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightning_modules.checkpoint_files import read_whole
from tests.cli import config, weights
from tests.faults.hosts import INTERFACE, ROOT, Hosts, NoNamespaces, two_hosts, wait_for
from tests.lightning_modules.test_ddp import launch

pytestmark = pytest.mark.slow

# How long a host waits for the other, and how much later it must have ended, on a machine with much else to do.
TIMEOUT, GRACE = 15, 90
# Longer than any start takes.
LONG = 400


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    try:
        with two_hosts() as made:
            yield made
    except NoNamespaces as reason:
        pytest.skip(f"no network namespaces: {reason}")


def settings(tiny_folder: Path, folder: Path, batch_size: int) -> dict[str, Any]:
    """Ten steps in float64, which two halves of a batch and a whole one take alike."""
    made = config(tiny_folder)
    made["trainer"].update(max_steps=10, val_check_interval=5, precision="64-true")
    made["data"]["init_args"].update(batch_size=batch_size, cache_dir=str(folder / "cache"))
    # Adam divides by the root of tiny squares and would blow rounding up.
    made["model"]["init_args"]["optimizer"] = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.05}}
    return made


def start(
    hosts: Hosts, tiny_folder: Path, folder: Path, fault: dict[str, Any] | None = None
) -> list[subprocess.Popen[str]]:
    """Starts or resumes the run on both hosts; something may happen to the second one."""
    made = settings(tiny_folder, folder, batch_size=4)
    recorder = {"class_path": "tests.faults.record.Recorder", "init_args": {"fault": fault, "rank": 1}}
    made["trainer"]["callbacks"].append(recorder)
    (folder / "run.yaml").write_text(yaml.safe_dump(made))
    timeout = ("--trainer.strategy.init_args.timeout", f"0:00:{TIMEOUT}")
    nodes = ("--config", str(ROOT / "configs/nodes.yaml"))
    return hosts.start(folder / "run", "--config", str(folder / "run.yaml"), *nodes, *timeout)


def require_as_one_process(tiny_folder: Path, folder: Path) -> None:
    launch(folder / "one", settings(tiny_folder, folder, batch_size=8), "fit", 1)
    expected = weights(folder / "one/outputs/run/checkpoints/last.ckpt")
    found = read_whole(folder / "run/checkpoints/last.ckpt")
    assert found["global_step"] == 10
    assert found["state_dict"].keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found["state_dict"][key], value, rtol=0, atol=1e-6)


def said(folder: Path, node: int) -> str:
    return (folder / f"run/host-{node}.txt").read_text()[-4000:]


def test_two_hosts_are_one_process_with_twice_the_batch(
    hosts: Hosts, tiny_folder: Path, tmp_path: Path
) -> None:
    for node, host in enumerate(start(hosts, tiny_folder, tmp_path)):
        assert host.wait(LONG) == 0, said(tmp_path, node)
    require_as_one_process(tiny_folder, tmp_path)


@pytest.mark.parametrize("loss", ["host", "cable"])
def test_a_host_that_loses_the_other_ends_with_an_error_and_the_run_goes_on_from_its_last_checkpoint(
    hosts: Hosts, tiny_folder: Path, tmp_path: Path, loss: str
) -> None:
    """The second host dies whole, or its cable is cut, in the fifth step; a checkpoint is written after the third."""
    cut = tmp_path / "cut"
    arguments = {"count": 5} if loss == "host" else {"count": 5, "interface": INTERFACE, "file": str(cut)}
    name = "HostDies" if loss == "host" else "LinkDown"
    fault = {"class_path": f"tests.faults.points.{name}", "init_args": arguments}
    first, second = start(hosts, tiny_folder, tmp_path, fault)
    if loss == "host":
        assert second.wait(LONG) == -9, said(tmp_path, 1)
    else:
        wait_for(cut, second, LONG)
        assert second.wait(TIMEOUT + GRACE) > 0, said(tmp_path, 1)
    assert first.wait(TIMEOUT + GRACE) > 0, said(tmp_path, 0)
    assert read_whole(tmp_path / "run/checkpoints/last.ckpt")["global_step"] == 3

    hosts.mend_the_cable()
    for node, host in enumerate(start(hosts, tiny_folder, tmp_path)):
        assert host.wait(LONG) == 0, said(tmp_path, node)
    assert "resumed after step 3" in (tmp_path / "run/host-0.txt").read_text()
    require_as_one_process(tiny_folder, tmp_path)
