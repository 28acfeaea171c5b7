"""The body of a form: within limits, whoever reads it first."""

from __future__ import annotations

import io
import typing as t

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.exceptions import UnsupportedMediaType
from werkzeug.formparser import FormDataParser

from ..parsing import max_content_length
from ..parsing import read_up_to

#: How much longer a form may be than what the API takes: it has each text twice, as it was and as
#: it is now, and percent-encoding makes three characters of one byte.
LONGER = 8

#: Fields of a form. Many short ones take the longest to parse.
MOST_FIELDS = 1000


def limit_body(endpoint: str | None, values: dict[str, t.Any] | None) -> None:
    """Limit the form of this request. This reads nothing yet."""
    request.form_data_parser_class = _Parser


class _Parser(FormDataParser):
    """Parses a form after it has seen how long it is. Flask calls it when the form is read."""

    def parse(
        self,
        stream: t.IO[bytes],
        mimetype: str,
        content_length: int | None,
        options: dict[str, str] | None = None,
    ) -> t.Any:
        if mimetype != "application/x-www-form-urlencoded":
            raise UnsupportedMediaType("The Content-Type must be that of a form without files.")
        limit = LONGER * max_content_length()
        content = b"" if (content_length or 0) > limit else read_up_to(stream, limit + 1)
        if (content_length or len(content)) > limit or content.count(b"&") >= MOST_FIELDS:
            raise RequestEntityTooLarge("This form is too long. Nothing was changed.")
        # Some releases of Werkzeug refuse by it what is longer than 500 kB.
        self.max_form_memory_size = None
        return super().parse(io.BytesIO(content), mimetype, len(content), options)
