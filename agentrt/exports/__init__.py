"""Exports: the records in the forms that other systems read, with a cursor that goes on."""

from agentrt.exports.cursor import Cursor
from agentrt.exports.formats import FORMATS, Format
from agentrt.exports.lines import Line, Reader, Source
from agentrt.exports.sink import FileSink, Sink, StreamSink

__all__ = [
    "FORMATS",
    "Cursor",
    "FileSink",
    "Format",
    "Line",
    "Reader",
    "Sink",
    "Source",
    "StreamSink",
]
