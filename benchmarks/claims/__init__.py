"""The claims of README and of the recipes' pages, a file a family. A new claim is one entry there."""

from benchmarks.claims import (
    control,
    design,
    estimators,
    large,
    nas,
    reliability,
    routing,
    selection,
    text,
    vae,
    vq,
)
from benchmarks.claims.claim import Claim

FAMILIES = (estimators, vq, large, vae, nas, design, routing, selection, control, text, reliability)
CLAIMS: tuple[Claim, ...] = tuple(claim for family in FAMILIES for claim in family.CLAIMS)
