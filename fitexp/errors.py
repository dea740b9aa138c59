"""The one exception for mistakes that a user can mend."""


class InputError(ValueError):
    """Bad input: the message is one line naming file, line, field and remedy.

    The command line prints it without a traceback and exits with code 2 (`--debug` shows the
    traceback). Everything else that is raised is a defect of fitexp.
    """
