"""The error raised by everything that reads data."""


class DataError(ValueError):
    """Data is missing, damaged or not what it should be.

    The message names the file or data set, what was expected, what was found, and what to do.
    """


class MissingData(DataError, FileNotFoundError):
    """Data is not there, and `prepare_data` may fetch it."""
