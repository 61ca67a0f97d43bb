"""`python -m discrete_lightning.cli`, the same as the `discrete-lightning` script."""

from discrete_lightning.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
