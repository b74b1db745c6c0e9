"""The error of the readers."""


class FileError(ValueError):
    """A file that cannot be used. The message names the file and says what was expected and what to do."""
