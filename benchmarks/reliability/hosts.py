"""Two hosts, made of two network namespaces joined by a virtual link: the same weights as two ranks on one host.

python -m benchmarks.reliability.hosts              # all families; needs root and iproute2
python -m benchmarks.reliability.hosts --only vq

Each family's smallest config is fitted for two batches by README's line with torchrun and by Lightning's own variables
(MASTER_ADDR, NODE_RANK), one process on each host, and once on one host. Bar: weights, buffers and the optimiser of both are
equal to those of the one host, to the bit.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks.reliability.launches import ROOT, free_port
from benchmarks.reliability.ranks import is_equal
from tests.small_mnist import few_batches, write_small_mnist

FAMILIES = {
    "vq": "vq/quickstart",
    "vae": "vae/mnist_categorical",
    "nas": "nas/quickstart",
    "design": "design/quickstart",
    "routing": "routing/quickstart",
    "selection": "selection/quickstart",
    "text": "text/quickstart",
    "control": "control/quickstart",
}
WAYS = ("torchrun", "variables")
_PORT, _SECONDS = 29500, 200


class NoHosts(Exception):
    """Namespaces cannot be made here; says why."""


@contextmanager
def two_hosts() -> Iterator[list[tuple[str, str]]]:
    """(namespace, address) of two hosts, removed at the end.

    Raises:
        NoHosts: this machine does not allow it, or has no `ip`.
    """
    names = [f"dl{os.getpid()}{side}" for side in "ab"]
    links = [f"v{os.getpid()}{side}" for side in "ab"]
    addresses = [f"10.{os.getpid() % 200 + 20}.0.{number}" for number in (1, 2)]
    try:
        for name in names:
            _ip("netns", "add", name)
        _ip("link", "add", links[0], "type", "veth", "peer", "name", links[1])
        for name, link, address in zip(names, links, addresses, strict=True):
            _ip("link", "set", link, "netns", name)
            for command in (
                ["addr", "add", f"{address}/24", "dev", link],
                ["link", "set", link, "up"],
                ["link", "set", "lo", "up"],
            ):
                _ip("-n", name, *command)
        yield list(zip(names, addresses, strict=True))
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    try:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        raise NoHosts(f"ip: {error.strerror}") from None
    if done.returncode:
        raise NoHosts(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def fit(way: str, config: str, folder: Path, data: Path, hosts: list[tuple[str, str]]) -> Path:
    """Runs a config on the hosts, one process each, or on one host with two; gives the run's last checkpoint.

    Args:
        way: one of WAYS; both ranks are on one host if there are no `hosts`.
        config: its name.
        folder: of the run.
        data: of the config.
        hosts: see `two_hosts`.

    Raises:
        RuntimeError: it failed.
    """
    count = len(hosts) or 1
    options = [
        *few_batches(config, data, folder, batches=2), "--trainer.accelerator=cpu", f"--trainer.devices={2 // count}",
        "--trainer.strategy=ddp", f"--trainer.num_nodes={count}", "--test_after_fit=false",
    ]  # fmt: skip
    command = ["-m", "discrete_lightning.cli", "fit", "-c", config, *options]
    processes = []
    for number, (name, address) in enumerate(hosts or [("", "127.0.0.1")]):
        master = hosts[0][1] if hosts else "127.0.0.1"
        port = _PORT if hosts else free_port()
        variables, start = _variables(name), [sys.executable]
        if way == "torchrun":
            start += ["-m", "torch.distributed.run", "--nnodes", str(count), "--nproc-per-node", str(2 // count)]
            start += ["--rdzv-backend", "c10d", "--rdzv-id", folder.parent.name, "--rdzv-endpoint", f"{master}:{port}"]
            # real hosts are known by their names
            start += ["--local-addr", address, "--rdzv-conf", f"is_host={int(number == 0)}"]
        else:
            variables |= {"MASTER_ADDR": master, "MASTER_PORT": str(port), "NODE_RANK": str(number)}
        inside = ["ip", "netns", "exec", name] if name else []
        line, both = [*inside, *start, *command], (subprocess.PIPE, subprocess.STDOUT)
        processes.append(subprocess.Popen(line, env=variables, stdout=both[0], stderr=both[1], text=True))
    try:
        said = [process.communicate(timeout=_SECONDS)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    if any(process.returncode for process in processes):
        told = [line for each in said for line in each.splitlines() if "error" in line.lower()]
        raise RuntimeError(" | ".join(told)[:1000])
    (last,) = folder.rglob("last.ckpt")
    return last


def _variables(namespace: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.endswith("RANK") and name[:6] != "SLURM_"}
    # gloo takes the address of the host's name, which both namespaces share
    link = {"GLOO_SOCKET_IFNAME": f"v{namespace[2:]}"} if namespace else {}
    return {**own, **link, "PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--only", default="", help="one family")
    only, count, equal = parser.parse_args().only, 0, 0
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        data = write_small_mnist(root / "data")
        try:
            with two_hosts() as hosts:
                for family, config in FAMILIES.items():
                    if only not in family:
                        continue
                    one = torch.load(fit("torchrun", config, root / family / "one", data, []), weights_only=True)
                    for way in WAYS:
                        count += 1
                        try:
                            path = fit(way, config, root / family / way, data, hosts)
                            is_same, said = is_equal(torch.load(path, weights_only=True), one), ""
                        except (RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
                            is_same, said = False, str(error)[-600:]
                        equal += is_same
                        print(f"{'equal    ' if is_same else 'DIFFERENT'} {family:10s} {way:10s} {said}", flush=True)
        except NoHosts as reason:
            print(f"not run: {reason}")
            return 0
    print(f"{equal} of {count} equal")
    return int(equal < count)


if __name__ == "__main__":
    raise SystemExit(main())
