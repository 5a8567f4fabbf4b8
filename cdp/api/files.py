"""Files that machines send: taken whole, loaded by the worker, followed by their run."""

from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http import HttpRequest
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api.keys import KeyedView, scope_of, workspace_of
from cdp.api.openapi import REFUSALS, Problem
from cdp.api.problems import NotFoundError
from cdp.api.wakeups import wake_uploads_on_commit
from cdp.ingestion import loading, uploads
from cdp.ingestion.sources import find_source
from cdp.models import Run, Scope, UploadKind

LONGEST_MAPPING = 65_536
KINDS = [kind.lower() for kind in UploadKind.values]


class Receiver(TemporaryFileUploadHandler):
    """To the disk in a stream, never more than UPLOAD_BYTES. A key was asked for before anything of the body is read."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        Path(settings.UPLOAD_DIR).mkdir(mode=0o700, parents=True, exist_ok=True)
        super().new_file(*args, **kwargs)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        if start + len(raw_data) > settings.UPLOAD_BYTES:
            self.file.close()
            raise uploads.FileTooLargeError
        super().receive_data_chunk(raw_data, start)


class NewFile(serializers.Serializer[Any]):
    source = serializers.CharField(help_text="its name")  # type: ignore[assignment]  # the word for it
    kind = serializers.ChoiceField(KINDS, help_text="rows of a source system, or facts with a time")
    mapping = serializers.CharField(
        required=False, default="", max_length=LONGEST_MAPPING, help_text="YAML, see docs/files.md"
    )
    file = serializers.FileField(help_text="CSV, JSON or Parquet, told apart by the ending of its name")


class FileRunBody(serializers.Serializer[Any]):
    run = serializers.IntegerField(source="pk")
    state = serializers.CharField(help_text="`RUNNING`, `DONE`, `FAILED` or `CANCELLED`")
    counts = serializers.DictField(
        child=serializers.IntegerField(), help_text="`read`, `accepted`, `duplicates`, `quarantined`"
    )
    error = serializers.CharField(help_text="the code of what went wrong; empty where nothing did")
    started_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)


class FilesView(KeyedView):
    scopes = {"POST": Scope.FILES_WRITE}
    parser_classes = (MultiPartParser,)

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        request.upload_handlers = [Receiver(request)]
        return super().initialize_request(request, *args, **kwargs)

    @extend_schema(
        operation_id="load_file",
        summary="Load a file; the same one again is the same run",
        request={"multipart/form-data": NewFile},
        responses={202: FileRunBody, **REFUSALS, 413: Problem},
    )
    def post(self, request: Request) -> Response:
        asked = NewFile(data=request.data)
        asked.is_valid(raise_exception=True)
        said = asked.validated_data
        run = uploads.load_file(
            content=Path(cast("TemporaryUploadedFile", said["file"]).temporary_file_path()), name=said["file"].name,
            source=find_source(said["source"], workspace_id=workspace_of(request)), kind=said["kind"].upper(),
            mapping=said["mapping"], now=timezone.now(),
        )  # fmt: skip
        wake_uploads_on_commit()
        return Response(FileRunBody(run).data, status=202)


class LoadView(KeyedView):
    scopes = {"GET": Scope.FILES_WRITE}

    @extend_schema(
        operation_id="file_run", summary="How far a file is loaded", responses={200: FileRunBody, **REFUSALS}
    )
    def get(self, request: Request, run: int) -> Response:
        with scope_of(request):
            loads = Run.objects.filter(workspace=workspace_of(request), kind__in=(loading.RECORDS, loading.EVENTS))
            found = loads.filter(pk=run).first()
        if found is None:
            raise NotFoundError
        return Response(FileRunBody(found).data)
