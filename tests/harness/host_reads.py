"""Host reads of device values in the third training step, and in a pass in eval() after it, of every layer.

Each read makes Python wait until an accelerator has finished. They are counted on the CPU, by the harness that pretends to be
an accelerator (`device.py`).

    python -m tests.harness.host_reads
"""

import warnings

from tests.harness.device import PretendDevice
from tests.harness.test_device import reads
from tests.tables.makers import LAYERS

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(f"{'layer':50} step  eval")
    for name, layer in LAYERS.items():
        training, evaluation = reads(layer, PretendDevice("cuda"))
        print(f"{name:50} {training.total():4}  {evaluation.total():4}")
        for where, count in [*training.items(), *evaluation.items()]:
            print(f"    {count} {where}")
