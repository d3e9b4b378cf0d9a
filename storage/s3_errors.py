"""The one place where the errors of boto3 become this package's. Imports botocore."""

from contextlib import suppress
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
    SSLError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from storage.errors import Full, Missing, SlowDown, StorageDown, StorageError, TryAgain

FOREIGN = (BotoCoreError, ClientError, ResponseParserError, HTTPError)
"""All that boto3 raises for what isn't our own defect. urllib3's come through while a body is read."""

_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
_REFUSALS = {
    "NoSuchBucket": "there is no such bucket",
    "InvalidBucketName": "there is no such bucket",
    "InvalidAccessKeyId": "the access key id is not known there",
    "SignatureDoesNotMatch": "the secret access key is wrong",
    "AccessDenied": "these credentials may not do that",
    "AllAccessDisabled": "these credentials may not do that",
    "AccountProblem": "the account has a problem",
    "ExpiredToken": "the session token has expired",
    "InvalidToken": "the session token is wrong",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
    "PermanentRedirect": "the bucket is in another region: set AWS_DEFAULT_REGION",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set AWS_DEFAULT_REGION",
    "403": "the credentials are not accepted",
}
"""What a code means to the tracker's keeper, where asking again is of no use."""
_DAMAGED = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody"}
_PASSING = {"RequestTimeout", "InternalError", "OperationAborted", "ConditionalRequestConflict"}
_THROTTLED = {"SlowDown", "SlowDownRead", "SlowDownWrite", "Throttling", "ThrottlingException", "RequestLimitExceeded"}
_FULL = {"QuotaExceeded", "InsufficientCapacity", "XMinioStorageFull"}


def from_foreign(error: Exception, where: str) -> StorageError:
    """What one of `FOREIGN` means; `where` names bucket and endpoint. The text has neither secrets nor signatures."""
    if isinstance(error, ClientError):
        return _from_answer(error, where)
    if isinstance(error, SSLError):
        return StorageDown(f"{where}: no TLS connection with it can be made")
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError):
        return TryAgain(f"{where} can't be reached")
    if isinstance(error, ReadTimeoutError):
        return TryAgain(f"{where} does not answer in time")
    if isinstance(error, FlexibleChecksumError):
        return TryAgain(f"{where}: bytes were damaged on the way")
    if isinstance(error, IncompleteReadError | ResponseStreamingError | HTTPClientError | HTTPError):
        return TryAgain(f"{where}: the connection was cut off")
    if isinstance(error, ResponseParserError):
        return TryAgain(f"{where}: what answers there does not speak S3")
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return StorageDown(f"{where}: no credentials: {_CREDENTIALS}")
    return StorageDown(f"{where}: {type(error).__name__}")


def _from_answer(error: ClientError, where: str) -> StorageError:
    code, status = code_of(error), status_of(error)
    if code in _REFUSALS:
        return StorageDown(f"{where}: {_REFUSALS[code]}")
    if is_missing(error):
        return Missing("there is no such object")
    if code in _FULL or status == 507:
        return Full(f"{where} is full")
    if code in _THROTTLED or status in (429, 503):
        return SlowDown(f"{where} has too much to do ({code})", _retry_after(error))
    if code in _DAMAGED:
        return TryAgain(f"{where}: bytes were damaged on the way ({code})")
    if code in _PASSING or status >= 500 or status == 409:
        return TryAgain(f"{where} failed ({code})")
    return StorageDown(f"{where} refuses it ({code}, HTTP status {status})")


def is_missing(error: ClientError) -> bool:
    """Whether an answer says that there is no such object. HEAD has no body to say so in; any other 404 without S3's
    own word is not from S3, and an object isn't lost because a proxy is."""
    return code_of(error) == "NoSuchKey" or (status_of(error) == 404 and error.operation_name == "HeadObject")


def status_of(error: ClientError) -> int:
    """The HTTP status of an answer that is an error."""
    status: int = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status


def code_of(error: ClientError) -> str:
    """S3's own word for it; the status when there was no body (HEAD)."""
    return str(error.response.get("Error", {}).get("Code", ""))[:50]


def _retry_after(error: ClientError) -> float | None:
    """The seconds of a Retry-After header; a date there (RFC 9110 allows one) is ignored."""
    headers: dict[str, Any] = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    with suppress(ValueError):
        seconds = int(headers.get("retry-after", ""))
        return float(seconds) if seconds >= 0 else None
    return None
