"""How the web server takes files: in a stream to UPLOAD_DIR, never more than UPLOAD_BYTES, from nobody unknown."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.core.files.uploadhandler import StopUpload, TemporaryFileUploadHandler

REFUSED = "upload.refused"  # in the META of a request whose file was too large
_FORM_BYTES = 2**16  # of the other fields


class LimitedUploadHandler(TemporaryFileUploadHandler):
    """The limit holds before the file is read, where its sender tells the size, and while it is read in any case."""

    def handle_raw_input(
        self,
        input_data: Any,
        META: Any,  # noqa: N803  # Django's name
        content_length: int | None,
        boundary: Any,
        encoding: str | None = None,
    ) -> None:
        self.content_length = content_length or 0

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        user = getattr(self.request, "user", None)
        if (
            user is None
            or not user.is_authenticated
            or (self.content_length or 0) > settings.UPLOAD_BYTES + _FORM_BYTES
        ):
            self._refuse()
        Path(settings.UPLOAD_DIR).mkdir(mode=0o700, parents=True, exist_ok=True)
        super().new_file(*args, **kwargs)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        if start + len(raw_data) > settings.UPLOAD_BYTES:
            self.file.close()
            self._refuse()
        super().receive_data_chunk(raw_data, start)

    def _refuse(self) -> None:
        if self.request is not None:
            self.request.META[REFUSED] = "1"
        raise StopUpload(connection_reset=False)


def place_of(file: Any) -> Path:
    """Where a received file lies. Whoever takes it over moves it."""
    if not isinstance(file, TemporaryUploadedFile):
        raise TypeError
    file.flush()
    return Path(file.temporary_file_path())
