"""Commands and rows of the pages that are no claim, each with the reason."""

START = "a program to start one's own from; no figure is claimed of it"
COMMANDS = {
    "recipes/control/train.py": START,
    "recipes/design/promoter.py": START,
    "recipes/nas/train.py": START,
    "recipes/routing/train.py": START,
    "recipes/selection/train.py": START,
    "recipes/text/train.py": START,
    "recipes/vq/train.py": "a program to start one's own from; its row says that it is one seed",
    "benchmarks.all": "measures the claims",
    "benchmarks.reliability.growth": "README says that it was not run to its end; no figure is claimed",
}
