"""XML elements with their line numbers, from files that nobody vouches for."""

from __future__ import annotations

from typing import NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

from anydepth_core.data.importers.annotations import Refused


class XmlTree:
    """A parsed XML file.

    Entities are refused where they are declared, so that none is ever expanded (a small file
    could fill the memory) and nothing outside of the file is read.

    Attributes:
        root: the outermost element.
    """

    def __init__(self, content: bytes) -> None:
        """Parse a file.

        Raises:
            Refused: if the content is no XML, or declares an entity.
        """
        self._lines: dict[ElementTree.Element, int] = {}
        self._parser = expat.ParserCreate()
        self._builder = ElementTree.TreeBuilder()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._builder.end
        self._parser.CharacterDataHandler = self._builder.data
        self._parser.EntityDeclHandler = _refuse
        try:
            self._parser.Parse(content, True)
        except Refused:
            raise
        except expat.ExpatError as error:
            raise Refused(f'no XML: {error}') from None
        except (LookupError, ValueError) as error:  # encodings that do not exist or do not fit
            raise Refused(f'no XML that can be read: {error}') from None
        self.root = self._builder.close()

    def line(self, element: ElementTree.Element) -> int:
        """Return the line that an element begins in, counted from 1."""
        return self._lines[element]

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        element = self._builder.start(tag, attributes)
        self._lines[element] = self._parser.CurrentLineNumber


def _refuse(*declaration: object) -> NoReturn:
    raise Refused('it declares an entity, which an annotation does not need: remove it')
