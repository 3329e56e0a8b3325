"""The storage servers behind both protocols: signed links to answers, and forms that take one upload each.

They know no API key: one that is sent here leaked, and is counted.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import shutil
from email.utils import formatdate
from pathlib import Path

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import Response

from ..models.table import UPLOAD_BYTES
from .render import CONTENT_TYPES
from .sandbox import Sandbox
from .state import RemoteTask, Upload

UPLOAD_LEAST = 512
_FORM_ROOM = 64 * 1024
"""Bytes a form's other fields and its boundaries may add to the file's."""

_MIMES = {
    "mp4": "video/mp4", "mov": "video/quicktime", "mkv": "video/x-matroska", "webm": "video/webm", "3gp": "video/3gpp",
    "ogv": "video/ogg", "avi": "video/x-msvideo", "mpeg": "video/mpeg", "flv": "video/x-flv",
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "mp3": "audio/mpeg",
    "wav": "audio/wav", "m4a": "audio/mp4", "flac": "audio/flac", "aac": "audio/aac", "ogg": "audio/ogg",
}  # fmt: skip


def xml(status: int, code: str, message: str) -> Response:
    """An error as S3 and its kin write it."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Response(body, status, media_type="application/xml")


def extension_of(filename: str) -> str:
    """A file name's extension, lower case; "" where it is none that can be uploaded."""
    suffix = filename.rpartition(".")[2].lower() if "." in filename else ""
    return suffix if suffix in _MIMES else ""


def new_ticket(sandbox: Sandbox, filename: str) -> Upload:
    """A ticket to upload one file of that name."""
    ticket = secrets.token_urlsafe(24)
    fields = {
        "key": f"ephemeral/{ticket}/{re.sub(r'[^A-Za-z0-9._-]', '_', filename)}",
        "Content-Type": _MIMES[extension_of(filename)],
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "policy": secrets.token_urlsafe(48),
        "x-amz-signature": secrets.token_hex(32),
    }
    uri = f"runway://{secrets.token_urlsafe(48)}"
    upload = Upload(ticket, uri, fields, sandbox.clock() + sandbox.options.upload_seconds)
    with sandbox.lock:
        sandbox.uploads[ticket] = upload
    return upload


class Storage:
    """Downloads and uploads."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def _note_key(self, request: Request) -> bool:
        leaked = "authorization" in request.headers
        if leaked:
            with self.sandbox.lock:
                self.sandbox.counters.leaked_keys += 1
        return leaked

    async def put(self, request: Request) -> Response:
        """`POST` to an upload's URL: every field of the ticket, then `file` as the last."""
        if self._note_key(request):
            return xml(400, "InvalidArgument", "Only one auth mechanism allowed")
        upload = self.sandbox.uploads.get(request.path_params["ticket"])
        if upload is None or upload.path is not None or upload.expires <= self.sandbox.clock():
            return xml(403, "AccessDenied", "Invalid according to Policy: the ticket is unknown, used or expired")
        if not request.headers.get("content-length"):
            return xml(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
        if int(request.headers["content-length"]) > UPLOAD_BYTES + _FORM_ROOM:
            return xml(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            return xml(412, "PreconditionFailed", "Bucket POST must be of the enclosure-type multipart/form-data")
        try:
            async with request.form() as form:
                return await self._keep(upload, form)
        except MultiPartException as error:
            return xml(400, "MalformedPOSTRequest", error.message)

    async def _keep(self, upload: Upload, form: FormData) -> Response:
        items = form.multi_items()
        name, file = items[-1] if items else ("", "")
        if name != "file" or not isinstance(file, UploadFile):
            return xml(400, "InvalidArgument", "POST requires exactly one file upload per request, as the last field.")
        given = {name: value for name, value in items[:-1] if isinstance(value, str)}
        if given != upload.fields or len(items) != len(upload.fields) + 1:
            return xml(403, "AccessDenied", "Invalid according to Policy: the form's fields are not the ticket's")
        self.sandbox.last_fields["upload_put"] = [name for name, _ in items]
        size = file.size or 0
        if size < UPLOAD_LEAST:
            return xml(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
        if size > UPLOAD_BYTES:
            return xml(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
        path = self.sandbox.new_file(".upload")
        await asyncio.to_thread(_copy, file, path)
        with self.sandbox.lock:
            upload.path = path
            self.sandbox.uploads[upload.uri] = upload
        return Response(status_code=204)

    async def get(self, request: Request) -> Response:
        """`GET` or `HEAD` of a link: signature, expiry, Range, If-Range."""
        self._note_key(request)
        name = request.path_params["name"]
        if not self.sandbox.signed(name, request.query_params.get("_jwt", "")):
            return xml(403, "AccessDenied", "Access denied: the link is not signed, or has expired")
        task = self.sandbox.tasks.get(name.partition(".")[0])
        if task is None or task.gone or not task.output.is_file():
            return xml(404, "NoSuchKey", "The specified key does not exist.")
        request.state.task = task
        return await asyncio.to_thread(serve_bytes, request, task, task.output)


def _copy(file: UploadFile, path: Path) -> None:
    with path.open("wb") as target:
        shutil.copyfileobj(file.file, target)


def etag_of(data: bytes) -> str:
    """A strong ETag for these bytes."""
    return f'"{hashlib.sha256(data).hexdigest()[:32]}"'


def serve_bytes(request: Request, task: RemoteTask, path: Path) -> Response:
    """The file, or the part of it that Range asks for, as RFC 9110 has it."""
    data = path.read_bytes()
    etag = etag_of(data)
    modified = formatdate(task.ended or task.created, usegmt=True)
    headers = {"etag": etag, "last-modified": modified, "accept-ranges": "bytes"}
    media = CONTENT_TYPES.get(path.suffix, "video/mp4")
    condition = request.headers.get("if-range")
    wanted = request.headers.get("range") if condition in {None, etag, modified} else None
    span = _span(wanted, len(data)) if wanted else None
    if span is None:
        return Response(data, 200, headers, media)
    start, end = span
    if start >= len(data):
        return Response(b"", 416, {**headers, "content-range": f"bytes */{len(data)}"})
    headers["content-range"] = f"bytes {start}-{end - 1}/{len(data)}"
    return Response(data[start:end], 206, headers, media)


def _span(wanted: str, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; None where Range is not one plain range, and is ignored."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted.strip())
    if match is None or wanted.strip() == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        return (max(0, size - int(last)), size) if int(last) else (size, size)
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size
