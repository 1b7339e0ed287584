"""Reads and writes .nac files; docs/format.md defines every byte."""

from codec.nac.layout import Header
from codec.nac.reader import FindCoder, Reader, own_coder
from codec.nac.salvage import Survey, survey
from codec.nac.seek import SeekableReader
from codec.nac.writer import Writer

__all__ = [
    "FindCoder",
    "Header",
    "Reader",
    "SeekableReader",
    "Survey",
    "Writer",
    "own_coder",
    "survey",
]
