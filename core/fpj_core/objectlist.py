"""Listing a bucket page by page, whatever its keys are.

obstore lists fast, but gives a whole page up for one key that it cannot ask for (``a//b.jpg``,
``a/../b.png``, a control character), and shows ``/a.jpg`` as ``a.jpg``. Such a page is asked for
again in its raw form, through the same client and with the same credentials.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, unquote_plus, urlencode
from xml.etree import ElementTree

import obstore
from obstore import exceptions
from obstore.store import S3Store

from fpj_core.objects import Bucket

PAGE = 1_000
"""The most that S3 gives at a time."""

_REPLACED = "\ufffd"
"""What MinIO lists for a character that XML has not."""
_NOT_XML = "list response"


@dataclass(frozen=True, slots=True)
class Listed:
    """An object.

    ``odd`` says that obstore cannot ask for it by its key; ``key`` is below the bucket's prefix.
    ``modified`` is by the server's clock.
    """

    key: str
    size: int
    etag: str
    odd: bool = False
    modified: float = 0.0


def pages(bucket: Bucket, client: S3Store, after: str = "") -> Iterator[list[Listed]]:
    """The bucket's objects with keys above ``after``, ascending, up to a thousand at a time.

    Folder markers, whose keys end in a slash, may look like an object without the slash. Raises
    what obstore raises.
    """
    walk = _Walk(bucket, client, after)
    while not ((yield from walk.plain()) or (yield from walk.raw())):
        pass


class _Walk:
    """A way through a bucket.

    Both ways of going give pages as far as they can, and say whether that was the end.
    """

    def __init__(self, bucket: Bucket, client: S3Store, after: str) -> None:
        self._bucket = bucket
        self._client = client
        self._after = after

    def plain(self) -> Generator[list[Listed], None, bool]:
        """Until a page that cannot be relied on."""
        try:
            for page in obstore.list(self._client, offset=self._after or None, chunk_size=PAGE):
                found = [
                    Listed(
                        each["path"],
                        each["size"],
                        each["e_tag"] or str(each["last_modified"]),
                        modified=each["last_modified"].timestamp(),
                    )
                    for each in page
                ]
                if not _ascending(self._after, found) or any(
                    _REPLACED in each.key for each in found
                ):
                    return False
                yield found
                self._after = found[-1].key
        except exceptions.InvalidPathError:
            return False
        except exceptions.GenericError as error:
            if _NOT_XML not in str(error):
                raise
            return False
        return True

    def raw(self) -> Generator[list[Listed], None, bool]:
        """Until a page whose last key obstore can go on from."""
        truncated = True
        while truncated:
            found, truncated = _raw_page(self._bucket, self._after)
            if not found:
                return True
            if found[-1].key.encode() <= self._after.encode():
                raise exceptions.GenericError(
                    "the listing does not go on: the same names come again"
                )
            yield [each for each in found if not each.key.endswith("/")]
            self._after = found[-1].key
            if not found[-1].odd:
                return False
        return True


def _seconds(text: str) -> float:
    """Since the epoch; now where the server says nothing that can be read: then it is not old."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return time.time()


def is_odd(key: str) -> bool:
    """Whether obstore cannot ask for an object of this key."""
    parts = key.split("/")
    return any(part in ("", ".", "..") for part in parts) or any(
        ord(each) < 32 or ord(each) == 127 for each in key
    )


def leads_elsewhere(key: str) -> bool:
    """Whether an object of this key has no URL of its own: it would be another object's,
    or NUL is in it.
    """
    return "\0" in key or any(part in (".", "..") for part in key.split("/"))


def _ascending(after: str, found: Sequence[Listed]) -> bool:
    """Whether keys come in S3's order: if not, one of them has lost a slash at its beginning."""
    last = after.encode()
    for each in found:
        key = each.key.encode()
        if key <= last and last:
            return False
        last = key
    return True


def _raw_page(bucket: Bucket, after: str) -> tuple[list[Listed], bool]:
    """Objects above ``after``, and whether there are more."""
    prefix = f"{bucket.prefix}/" if bucket.prefix else ""
    query = {"encoding-type": "url", "list-type": "2", "max-keys": str(PAGE), "prefix": prefix}
    query |= {"start-after": prefix + after} if after else {}
    # What the client adds to its address, a slash, becomes the value of a parameter that S3
    # ignores.
    client = bucket.connect_to(urlencode(query | {"x-id": ""}, quote_via=quote))
    try:
        answer = ElementTree.fromstring(bytes(obstore.get(client, "").bytes()))  # noqa: S314 - the storage's own words
    except ElementTree.ParseError as error:
        raise exceptions.GenericError(f"the listing cannot be read: {error}") from error
    # A space comes as a plus from Amazon and MinIO, as %20 from Ceph; a plus as %2B from all of
    # them.
    decoded = unquote_plus if answer.findtext("{*}EncodingType") == "url" else str
    found = []
    for each in answer.findall("{*}Contents"):
        key = decoded(each.findtext("{*}Key", "")).removeprefix(prefix)
        at = each.findtext("{*}LastModified", "")
        etag = each.findtext("{*}ETag", "") or at
        size = int(each.findtext("{*}Size", "0"))
        found.append(Listed(key, size, etag, is_odd(key), _seconds(at)))
    return found, answer.findtext("{*}IsTruncated") == "true"
