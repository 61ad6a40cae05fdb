"""What a store of files, or the way to it, refuses: told from the words of the libraries, and said in ours.

Nothing of the original message is repeated but the store's own code: it may quote signed addresses and credentials.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fuse_dagster.core.errors import CredentialsError, FuseError, StoreError, StoreUnavailableError

_CODE = re.compile(r"<Code>(\w{1,60})</Code>|\"code\":\s*\"(\w{1,60})\"|status(?: code)?: (\d{3})")
_LONGEST = 20_000
_ARROW = re.compile("\\s*(?:\x1b\\[\\d+m)?\u21b3(?:\x1b\\[\\d+m)?\\s*")  # delta-rs draws one for each colon


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of failure.

    Attributes:
        words: What libraries and stores say then.
        raised: The class that fits.
        what: What is the matter, after the address.
        check: What to look at; connectors put the names of their fields instead.
    """

    words: re.Pattern[str]
    raised: type[StoreError | StoreUnavailableError]
    what: str
    check: str


def _fault(words: str, raised: type[StoreError | StoreUnavailableError], what: str, check: str) -> Fault:
    return Fault(re.compile(words, re.IGNORECASE), raised, what, check)


# The first that fits counts: what a store answers goes before what its client makes of it.
FAULTS = {
    "driver": _fault(
        r"ClassNotFoundException: Class (?:org\.apache\.hadoop\.fs|com\.google\.cloud\.hadoop)\."
        r"|No FileSystem for scheme|UnsupportedFileSystemException",
        StoreError,
        "can't be reached by this Spark session: it was started without Hadoop's driver for such a store",
        "Name the lake where the session starts, as in `SparkResource.reaching(lake)` or "
        "`spark_session(lakes=[lake])`; `lake.spark_packages()` says which jars it needs.",
    ),
    "unsafe": _fault(
        r"conditional put is disabled",
        StoreError,
        "can't take a table: this connection says that its store has no conditional put, and without one a commit "
        "could replace another writer's. Nothing was written",
        "Keep tables in a store that has it, or set `conditional_put` to `etag` if this one does.",
    ),
    "container": _fault(
        r"NoSuchBucketException|<Code>(?:NoSuchBucket|ContainerNotFound|ContainerBeingDeleted|FilesystemNotFound)"
        r"|specified (?:bucket|container|filesystem) does not exist",
        StoreError,
        "lies in a bucket or container that is not there",
        "Check its name for a typing error and its account or endpoint, or make it: none is made for you.",
    ),
    "credentials": _fault(
        r"<Code>(?:AccessDenied|Authorization\w+|AuthenticationFailed|InvalidAccessKeyId|ExpiredToken|InvalidToken"
        r"|SignatureDoesNotMatch|InvalidAuthenticationInfo|NoAuthenticationInformation)"
        r"|(?:TokenRequest|token request)(?![\s\S]{0,2000}?status(?: code)?: (?:429|50[0234]))"
        r"|status(?: code)?: 40[13]|lacked (?:the necessary privileges|valid authentication)"
        r"|invalid_client|invalid_grant"
        r"|^(?:PermissionDenied|Unauthenticated|ClientAuthentication|CredentialUnavailable|NoCredentials)Error"
        r"(?![\s\S]*AADSTS90055)"
        r"|An error occurred \((?:AccessDenied|InvalidClientTokenId|ExpiredToken|SignatureDoesNotMatch)"
        r"|GCP credential error|decode service account|Error reading pem|Unable to open service account"
        r"|Invalid Access Key|error: Invalid (?:symbol|padding|input length|byte)|error: Encoded text cannot",
        CredentialsError,
        "is refused to these credentials",
        "Check that they belong to this store, haven't expired, and may read, write and list there.",
    ),
    "busy": _fault(
        r"<Code>(?:SlowDown|ServerBusy|TooManyRequests|ServiceUnavailable)|status(?: code)?: (?:429|50[0234])"
        r"|AADSTS90055",
        StoreUnavailableError,
        "asks its clients to slow down, or is ill, and stayed so until the retries ran out",
        "Run this again later, and look at what else uses the store, or the login.",
    ),
    "scheme": _fault(
        r"URL scheme is not allowed|message of type InvalidContentType|InvalidMessage\(InvalidContentType"
        r"|kind: BadScheme",
        StoreError,
        "is spoken to by the wrong one of `http` and `https`",
        "Check `endpoint`; an `http://` address needs `allow_http` as well, and sends everything in the clear.",
    ),
    "certificate": _fault(
        r"invalid peer certificate|InvalidCertificate|certificate verify failed",
        StoreError,
        "shows a certificate that this machine does not trust",
        "Check the host of `endpoint`, and the authorities that this machine trusts.",
    ),
    "time": _fault(
        r"operation timed out|Read timed out|kind: Timeout|^\w*TimeoutError|deadline has elapsed"
        r"|ApiCallTimeoutException|SocketTimeoutException|ConnectTimeoutException",
        StoreUnavailableError,
        "does not answer in time",
        "Check the host and port of `endpoint`, firewalls and proxies; raise `timeout` where the line is slow.",
    ),
    "cut": _fault(
        r"IncompleteBody|end of file before message length|request or response body error"
        r"|error reading a body from connection|Error getting list response body",
        StoreUnavailableError,
        "broke off in the middle of an answer",
        "Run this again; where it happens often, look at the line, and at proxies between here and the store.",
    ),
    "host": _fault(
        r"Connection refused|UnknownHostException|dns error|failed to lookup address|Name or service not known"
        r"|nodename nor servname"
        r"|kind: Connect|Connection reset by peer|tcp connect error|No route to host|(?:Network|Host) is unreachable"
        r"|error sending request|Could not connect to the endpoint|connection closed before message|Broken pipe",
        StoreUnavailableError,
        "can't be reached",
        "Check the host and port of `endpoint`, the name of the account or bucket, DNS, firewalls and proxies.",
    ),
}
"""Kind -> how it is told, raised and worded."""


def fault_of(error: BaseException) -> str | None:
    """The kind of failure, a key of `FAULTS`; None for what is none of a store."""
    said = f"{type(error).__name__} {_text(error)}"
    return next((kind for kind, fault in FAULTS.items() if fault.words.search(said)), None)


def store_error(error: BaseException, place: str, *, check: str = "") -> FuseError | None:
    """The error to raise for a failure of a store; None where it is another matter, as on a local disk.

    Args:
        error: What a library raised.
        place: The address that was asked for, without a secret in it.
        check: What to look at, in place of the general words.

    Examples:
        >>> store_error(OSError("tcp connect error: Connection refused"), "s3://lake/a")
        StoreUnavailableError("`s3://lake/a` can't be reached. Check the host and port of `endpoint`, the name of the \
account or bucket, DNS, firewalls and proxies.")
    """
    kind = fault_of(error)
    if kind is None or "://" not in place.removeprefix("file://"):
        return None
    fault = FAULTS[kind]
    code = _CODE.search(_text(error))
    said = f" (the store says `{next(filter(None, code.groups()))}`)" if code else ""
    return fault.raised(f"`{place}` {fault.what}{said}. {check or fault.check}")


@contextmanager
def store_errors(place: str) -> Iterator[None]:
    """Run what works on a store; what its libraries raise because of the store comes out as ours, all else as it is.

    Args:
        place: The address that is worked on.

    Raises:
        StoreError: The store refuses.
        StoreUnavailableError: It can't be reached, or does not answer in time.
    """
    try:
        yield
    except FuseError:
        raise
    except Exception as error:
        told = store_error(error, place)
        if told is None:
            raise
        raise told from error


def _text(error: BaseException) -> str:
    return _ARROW.sub(": ", str(error)[:_LONGEST])
