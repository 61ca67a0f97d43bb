"""Claims about the arena of estimators."""

from benchmarks.claims.claim import Claim

CLAIMS = (
    Claim(
        name="arena/polynomial",
        stands={},
        command="python -m benchmarks.arena --no-page --runs runs.csv",
        quick="python -m benchmarks.arena --no-page --runs runs.csv --tasks polynomial --seeds 0 "
        "--estimators ReinMax StraightThrough",
        reads=("^polynomial +ReinMax +tau .* {NUMBER}$", "^polynomial +StraightThrough +tau .* {NUMBER}$"),
        holds=lambda reinmax, straight: reinmax < straight,
        now="one seed, loss over the minimum x 1,000: ReinMax {0}, straight-through {1}",
    ),
)
