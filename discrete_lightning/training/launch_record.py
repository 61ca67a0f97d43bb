"""Which launch a run belongs to, so that a launcher that starts the command again goes on with the same run.

`torchrun --max-restarts` and a requeued SLURM job repeat the command as it is. The first attempt writes launch.json into the
run's folder; a later one finds the folder by it, and goes on from the last checkpoint.
"""

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from discrete_lightning.functional._torch_private import separate_attempts

LAUNCH = "launch.json"


@dataclass(frozen=True)
class Launch:
    """What the launchers call this launch.

    Args:
        torchrun: the run's id, or the process that starts the ranks of one machine; "" without torchrun.
        slurm: the job's number; "" without SLURM.
        attempt: how often the command was started before.
    """

    torchrun: str = ""
    slurm: str = ""
    attempt: int = 0

    def is_of(self, record: Mapping[str, object]) -> bool:
        """Whether a record was written by an earlier attempt of this launch."""
        names = ("torchrun", "slurm")
        return any(getattr(self, name) and getattr(self, name) == record.get(name) for name in names)


def launch_of(environment: Mapping[str, str]) -> Launch:
    """The launch by what torchrun and SLURM set; a torchrun on several hosts without `--rdzv-id` has no name.

    Example:
        >>> launch_of({"SLURM_JOB_ID": "12", "SLURM_RESTART_COUNT": "1"})
        Launch(torchrun='', slurm='12', attempt=1)
    """
    torchrun = environment.get("TORCHELASTIC_RUN_ID", "")
    if torchrun == "none":  # torchrun's default for all
        torchrun = _starter() if environment.get("GROUP_WORLD_SIZE", "1") == "1" else ""
    restarts = [environment.get(name, "0") for name in ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")]
    return Launch(torchrun, environment.get("SLURM_JOB_ID", ""), sum(int(each) for each in restarts if each.isdigit()))


def begin_attempt() -> None:
    """To be called before the ranks connect: where torchrun has started them again, see `separate_attempts`."""
    if (attempt := os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) != "0":
        separate_attempts(attempt)


def write_launch(folder: Path) -> None:
    """Writes launch.json, where a launcher that may start the command again has started this process."""
    launch = launch_of(os.environ)
    if launch.torchrun or launch.slurm:
        (folder / LAUNCH).write_text(json.dumps(asdict(launch)) + "\n", encoding="utf-8")


def find_run(root: Path, exact: Path | None, config: str, config_file: str) -> Path | None:
    """The folder of an earlier attempt of this launch with the same config; the newest one. None for a first attempt.

    Args:
        root: the folder of all runs of one name.
        exact: the folder that the run was to have; None for one in `root`.
        config: what `config_file` in the folder must hold.
        config_file: its name.
    """
    launch = launch_of(os.environ)
    if not launch.attempt:
        return None
    records = [exact / LAUNCH] if exact is not None else list(root.glob(f"*/{LAUNCH}"))
    for record in sorted((each for each in records if each.is_file()), key=lambda path: -path.stat().st_mtime_ns):
        try:
            written = json.loads(record.read_text(encoding="utf-8"))
            is_same = (record.parent / config_file).read_text(encoding="utf-8") == config
        except (OSError, ValueError):
            continue
        if is_same and isinstance(written, dict) and launch.is_of(written):
            return record.parent
    return None


def _starter() -> str:
    """The process that started this one: machine, number, and the time of its start."""
    pid = os.getppid()
    try:
        start = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        start = ""
    return f"{socket.gethostname()}:{pid}:{start}"
