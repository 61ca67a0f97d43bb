"""The error raised by everything that reads data."""


class DataError(ValueError):
    """Data is missing, damaged or not what it should be.

    The message names the file or data set, what was expected, what was found, and what to do.
    """

    def __init__(self, message: str) -> None:
        # a loader's worker process hands its error over as the text of a traceback, to be raised again
        in_worker = message.startswith("Caught DataError in DataLoader worker")
        super().__init__(message.rpartition("DataError: ")[2].strip() if in_worker else message)


class MissingData(DataError, FileNotFoundError):
    """Data is not there, and `prepare_data` may fetch it."""
