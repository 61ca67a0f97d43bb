"""The one error of everything that reads data."""


class DataError(ValueError):
    """Data is missing, damaged or not what it should be.

    The message names the file or data set, what was expected, what was there, and the ways to get it right.
    """
