"""Planted experts: do experts follow the regions of the data, and what is the error beside a dense net of equal FLOPs?

Runs the config `routing/planted` with several seeds (of data, weights and draws) and prints the results on the test split: the
error of the mixture with the choices of eval() and of the dense net, and the normalised mutual information (NMI) of a row's
expert and its region.

    python -m benchmarks.routing.planted                                     # 5 seeds
    python -m benchmarks.routing.planted --routers paired LeaveOneOut        # others that draw, in the config's place
"""

from benchmarks.routing._seeds import main

if __name__ == "__main__":
    main("routing/planted", __doc__)
