"""The first screen of `fit --help`: an example and the options that are usual, before the several hundred lines of all."""

USUAL = """\
usual options (each is a key of the config; the command line overrides the config):
  --trainer.max_epochs N          how long to train
  --trainer.devices N             with --trainer.strategy ddp: on several GPUs or CPU processes
  --trainer.accelerator NAME      cpu, gpu or auto
  --trainer.precision NAME        bf16-mixed, 32-true, ...
  --trainer.limit_train_batches N fewer batches an epoch, to try something
  --model.NAME VALUE              an argument of the model; --model.help CLASS lists them
  --data.NAME VALUE               an argument of the data, as --data.batch_size 64; --data.help CLASS lists them
  --temperature.schedule CLASS    how the temperature falls; null leaves it as it is
  --seed_everything N             repeats a run exactly
  --wandb.enabled false           no Weights & Biases
  --print_config                  shows the whole config and stops
"""


def first_screen(command: str) -> str:
    """An example of `command`, and the usual options of a training; nothing for a verb, whose usage says all."""
    if command in ("fit", "check"):
        changed = "--trainer.max_epochs 5 --model.learning_rate 1e-3"
        return f"example:\n  discrete-lightning {command} -c vq/quickstart {changed}\n\n{USUAL}\n"
    if command in ("validate", "test", "predict"):
        return f"example:\n  discrete-lightning {command} -c runs/vq-quickstart/20260101-120000\n\n"
    return ""
