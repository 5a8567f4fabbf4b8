"""A spreadsheet of texts in the OpenDocument format (ODS), which every office program opens. Nothing in it computes."""

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape, quoteattr

KIND: Final = "application/vnd.oasis.opendocument.spreadsheet"
EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # of every part: the same sheets are the same file
_NAMES: Final = "urn:oasis:names:tc:opendocument:xmlns:"
_NOT_IN_NAMES: Final = str.maketrans(dict.fromkeys("[]*?:/\\'", " "))


@dataclass(frozen=True, slots=True)
class Row:
    """`is_head`: in bold."""

    cells: Sequence[str]
    is_head: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """`name` is that of its tab, and no other table's."""

    name: str
    rows: Sequence[Row]


def as_ods(tables: Sequence[Table]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        # First and as it is: by it the kind of the file is known.
        archive.writestr(zipfile.ZipInfo("mimetype", EPOCH), KIND, zipfile.ZIP_STORED)
        for name, text in (("content.xml", _content(tables)), ("META-INF/manifest.xml", _MANIFEST)):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), text, zipfile.ZIP_DEFLATED)
    return written.getvalue()


_MANIFEST: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    f'<manifest:manifest xmlns:manifest="{_NAMES}manifest:1.0" manifest:version="1.2">'
    f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{KIND}"/>'
    '<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml"/></manifest:manifest>'
)
_STYLES: Final = (
    '<style:style style:name="narrow" style:family="table-column">'
    '<style:table-column-properties style:column-width="7cm"/></style:style>'
    '<style:style style:name="wide" style:family="table-column">'
    '<style:table-column-properties style:column-width="16cm"/></style:style>'
    '<style:style style:name="text" style:family="table-cell">'
    '<style:table-cell-properties fo:wrap-option="wrap" style:vertical-align="top"/></style:style>'
    '<style:style style:name="head" style:family="table-cell">'
    '<style:table-cell-properties fo:wrap-option="wrap"/><style:text-properties fo:font-weight="bold"/></style:style>'
)


def _content(tables: Sequence[Table]) -> str:
    names = {
        "office": f"{_NAMES}office:1.0",
        "table": f"{_NAMES}table:1.0",
        "text": f"{_NAMES}text:1.0",
        "style": f"{_NAMES}style:1.0",
        "fo": f"{_NAMES}xsl-fo-compatible:1.0",
    }
    spaces = " ".join(f'xmlns:{short}="{long}"' for short, long in names.items())
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {spaces} office:version="1.2">'
        f"<office:automatic-styles>{_STYLES}</office:automatic-styles>"
        f"<office:body><office:spreadsheet>{''.join(map(_table, tables))}</office:spreadsheet></office:body>"
        "</office:document-content>"
    )


def _table(table: Table) -> str:
    rows = "".join(f"<table:table-row>{''.join(_cells(row))}</table:table-row>" for row in table.rows)
    columns = '<table:table-column table:style-name="narrow"/><table:table-column table:style-name="wide"/>'
    name = quoteattr(_readable(table.name).translate(_NOT_IN_NAMES))
    return f"<table:table table:name={name}>{columns}{rows}</table:table>"


def _cells(row: Row) -> Iterator[str]:
    style = "head" if row.is_head else "text"
    for cell in row.cells:
        lines = "".join(f"<text:p>{escape(line)}</text:p>" for line in _readable(cell).splitlines())
        yield f'<table:table-cell table:style-name="{style}" office:value-type="string">{lines}</table:table-cell>'


def _readable(text: str) -> str:
    """Without what no XML may hold."""
    return "".join(char for char in text if char in "\t\n\r" or (char >= " " and not "\ud800" <= char <= "\udfff"
                                                                and char not in "\ufffe\uffff"))  # fmt: skip
