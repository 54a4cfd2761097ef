"""What a call of the Clerk can end with, other than its result.

Two classes carry the promise, and every error is one of them: after a `NotExecutedError` the
operation was not executed and never will be; after an `OutcomeUnknownError` it was executed once
or not at all, and which of them is not known. `quorate.clerk.codes` says which error code of the
protocol ends as which exception.
"""


class ClerkError(Exception):
    """A call failed; the subclass says what that means for the operation."""


class NotExecutedError(ClerkError):
    """The operation was not executed and never will be."""


class CommandError(NotExecutedError):
    """The servers refuse the command as it stands, a value that is too large for example.

    Sending it again would not help. The text begins with `ERR` and is the server's own, unless a
    key or value is so large that no server would read it: then it was not even sent.
    """


class UnavailableError(NotExecutedError):
    """No server could answer the read before its deadline. A read has no effect."""


class TooManySessionsError(NotExecutedError):
    """The cluster had no room for this Clerk's session, which every write needs."""


class TooManyCallsError(NotExecutedError):
    """As many calls of this Clerk as may be are under way; the call was refused at once."""


class OutcomeUnknownError(ClerkError):
    """The write may have been executed, once, or not at all.

    A read through the same Clerk, begun after this error, shows it for good: the Clerk first
    fences the write, so that from then on it has been executed or never will be.
    """


class SessionExpiredError(OutcomeUnknownError):
    """The session ended while the write had been sent more than once (design, Sessions).

    The servers forget with the session whether they executed it. It is not executed from now on.
    """


class SessionMisusedError(OutcomeUnknownError):
    """The write's number was used by somebody else: another program writes in this session."""
