"""The one family of errors that a user can cause and mend."""


class InputError(ValueError):
    """What was asked cannot be done; the message says what, where, and how to mend it.

    The command line prints the message and ends with status 2, before any expensive work.
    """
