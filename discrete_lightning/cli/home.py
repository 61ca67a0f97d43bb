"""A home folder that is not there or cannot be written: libraries keep their caches and logs in it."""

import os
import tempfile
from pathlib import Path

_CACHES = {"WANDB_CACHE_DIR": "wandb", "WANDB_CONFIG_DIR": "wandb-config", "MPLCONFIGDIR": "matplotlib"}


def replace_missing_home() -> None:
    """Sends what W&B and matplotlib keep at home to the temporary folder, where there is no home. Without it W&B's server
    logs to the terminal, and matplotlib warns. What the user set stays."""
    home = os.environ.get("HOME", "")
    if os.name != "posix" or (os.path.isdir(home) and os.access(home, os.W_OK)):
        return
    caches = Path(tempfile.gettempdir()) / f"discrete-lightning-{os.getuid()}"
    for variable, name in _CACHES.items():
        os.environ.setdefault(variable, str(caches / name))
