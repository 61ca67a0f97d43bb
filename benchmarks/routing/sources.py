"""Pages of digits from four sources: does each source get its expert, and what is the error beside a dense net of equal FLOPs?

Runs the config `routing/sources` with several seeds (of pages, weights and draws) and prints the results on the test split: the
share of digits read wrong by the mixture with the choices of eval() and by the dense net, and the normalised mutual information
(NMI) of a page's expert and its source.

    python -m benchmarks.routing.sources                                     # 5 seeds
    python -m benchmarks.routing.sources --routers LeaveOneOut ReinMax paired switch
"""

from benchmarks.routing._seeds import main

if __name__ == "__main__":
    main("routing/sources", __doc__)
