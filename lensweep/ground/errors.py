"""The one family of errors that a user can cause and mend."""


class InputError(ValueError):
    """What was asked cannot be done; the message says what, where, and how to mend it.

    The command line prints the message and ends with status 2, before any expensive work.
    """


class TryAgainError(InputError):
    """What may go well when the command is repeated, unchanged, later.

    The command line ends with status 75 (EX_TEMPFAIL of sysexits.h): who supervises it starts it
    again, and what was done stays done.
    """
