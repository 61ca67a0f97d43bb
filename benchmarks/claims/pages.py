"""The pages on which claims stand, as paths from the root of the repository."""

README = "README.md"
VQ = "recipes/vq/README.md"
VAE = "recipes/vae/README.md"
NAS = "recipes/nas/README.md"
DESIGN = "recipes/design/README.md"
ROUTING = "recipes/routing/README.md"
SELECTION = "recipes/selection/README.md"
TEXT = "recipes/text/README.md"
CONTROL = "recipes/control/README.md"
ESTIMATORS = "recipes/estimators/README.md"
PAGES = (README, VQ, VAE, NAS, DESIGN, ROUTING, SELECTION, TEXT, CONTROL, ESTIMATORS, "recipes/data/README.md")
