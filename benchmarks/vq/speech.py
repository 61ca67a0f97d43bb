"""The codec of `vq/speech` at each bit rate, on the sounds that it makes or on a folder of WAV files.

python -m benchmarks.vq.speech [--folder /usr/share/asterisk/sounds --epochs 4] [--seeds 1 2 3]

The config is run as `discrete-lightning fit` runs it. Reported for recordings that it was not trained on (a tenth of them):
the scale-invariant signal-to-noise ratio in dB (higher is better) and the distance of log10-mel spectrograms (lower is better)
after 1 to 8 stages of 256 codes at 125 frames a second, 1 to 8 kbit/s; mean over seeds, the lowest and the highest; and the
live codes of each stage in these recordings.
"""

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

STAGES = 8


def tested(options: list[str]) -> dict[str, float]:
    """What the test after a fit measured."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(sys.executable).with_name("discrete-lightning")
        command = [str(program), "fit", "-c", "vq/speech", *options, f"--run_root={folder}", "--wandb.enabled=false"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        (path,) = Path(folder).rglob("metrics.csv")
        with path.open() as file:
            rows = [row for row in csv.DictReader(file) if row.get("test/si_snr")]
    return {key: float(value) for key, value in rows[-1].items() if key.startswith("test/") and value}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=None)
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    options = [] if arguments.folder is None else [f"--data.folder={arguments.folder}"]
    if arguments.epochs is not None:
        epochs = arguments.epochs
        options += [f"--trainer.max_epochs={epochs}", f"--trainer.check_val_every_n_epoch={epochs}"]
    runs = []
    for seed in arguments.seeds:
        runs.append(tested([*options, f"--seed_everything={seed}"]))
        print(f"seed {seed}: {runs[-1]['test/si_snr']:.2f} dB, mel {runs[-1]['test/mel']:.4f}", flush=True)
    print(f"{arguments.folder or 'sounds that are made'}, seeds {arguments.seeds}, {sys.argv[1:]}")
    for stage in range(1, STAGES + 1):
        suffix = "" if stage == STAGES else f"_{stage}"
        shown = []
        for name, digits in (("si_snr", 2), ("mel", 3)):
            values = [run[f"test/{name}{suffix}"] for run in runs]
            spread = f"{min(values):.{digits}f} to {max(values):.{digits}f}"
            shown.append(f"{name} {statistics.mean(values):.{digits}f} ({spread})")
        live = [run[f"test/live_codes_{stage}"] for run in runs]
        print(f"{stage} stages  {'   '.join(shown)}   live codes {min(live):.0f} to {max(live):.0f} of 256", flush=True)


if __name__ == "__main__":
    main()
