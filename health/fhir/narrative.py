"""Is a narrative safe to show? (R4, narrative.html#xhtml, invariants txt-1 and txt-2.)

It is parsed as XML by expat, with every declaration refused: no entity is ever expanded, so none can grow.
"""

import re
from html.entities import html5
from xml.parsers import expat

_ELEMENTS = frozenset([
    "a", "abbr", "acronym", "address", "b", "big", "bdo", "blockquote", "br", "caption", "cite", "code",
    "col", "colgroup", "dd", "del", "dfn", "div", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6",
    "hr", "i", "img", "ins", "kbd", "li", "ol", "p", "pre", "q", "s", "samp", "small", "span", "strike",
    "strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "tt", "u", "ul", "var",
])  # fmt: skip
_ATTRIBUTES = frozenset([
    "abbr", "accesskey", "align", "alt", "axis", "bgcolor", "border", "cellhalign", "cellpadding",
    "cellspacing", "cellvalign", "char", "charoff", "charset", "cite", "class", "color", "colspan",
    "compact", "coords", "dir", "frame", "headers", "height", "href", "hreflang", "hspace", "id",
    "lang", "longdesc", "name", "nowrap", "rel", "rev", "rowspan", "rules", "scope", "shape", "span",
    "src", "start", "style", "summary", "tabindex", "title", "type", "valign", "value", "vspace",
    "width", "xml:lang", "xmlns",
])  # fmt: skip
_NAMESPACE = "http://www.w3.org/1999/xhtml"
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]*);")
_OF_XML = frozenset({"amp", "lt", "gt", "quot", "apos"})
_SCHEME = re.compile(r"\s*([a-zA-Z][a-zA-Z0-9+.-]*):")
_SCHEMES = frozenset({"ftp", "http", "https", "mailto", "tel", "data", "cid", "urn"})
DEPTH_MAX = 200


class _Unsafe(Exception):
    """What is wrong, for the reader of the error."""


def fault(div: str) -> str | None:
    """What forbids showing this `div`; None when nothing does."""
    parser = expat.ParserCreate()
    check = _Check()
    parser.StartElementHandler = check.start
    parser.EndElementHandler = check.end
    parser.CharacterDataHandler = check.text
    parser.StartDoctypeDeclHandler = check.declared
    parser.EntityDeclHandler = check.declared
    parser.ProcessingInstructionHandler = check.instructed
    try:
        parser.Parse(_ENTITY.sub(_character, div), True)
    except expat.ExpatError as error:
        return f"the narrative is not well-formed XHTML: {error}"
    except _Unsafe as error:
        return str(error)
    return None if check.says_something else "the narrative is empty: say something, or leave it out (txt-2)"


def _character(found: "re.Match[str]") -> str:
    """XHTML's named characters as such: without a declaration XML knows five of them."""
    name = found[1]
    return found[0] if name in _OF_XML else html5.get(f"{name};", found[0])


class _Check:
    def __init__(self) -> None:
        self.says_something = False
        self._depth = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._depth == 0 and (name != "div" or attributes.get("xmlns") != _NAMESPACE):
            raise _Unsafe(f'the narrative is a <div xmlns="{_NAMESPACE}">')
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise _Unsafe(f"the narrative is nested deeper than {DEPTH_MAX} levels")
        if name not in _ELEMENTS:
            raise _Unsafe(f"<{name[:40]}> is not allowed in a narrative (txt-1)")
        for attribute, value in attributes.items():
            if attribute not in _ATTRIBUTES:
                raise _Unsafe(f"the attribute {attribute[:40]!r} is not allowed in a narrative (txt-1)")
            scheme = _SCHEME.match(value) if attribute in {"href", "src", "cite", "longdesc"} else None
            if scheme is not None and scheme[1].lower() not in _SCHEMES:
                raise _Unsafe(f"a narrative must not lead to {scheme[1][:20]}: (txt-1)")
            if attribute == "style" and re.search(
                r"expression\s*\(|javascript:|@import", value, re.IGNORECASE
            ):
                raise _Unsafe("a style of a narrative must not run anything (txt-1)")
        self.says_something = self.says_something or name == "img"

    def end(self, _name: str) -> None:
        self._depth -= 1

    def text(self, data: str) -> None:
        self.says_something = self.says_something or bool(data.strip())

    def declared(self, *_: object) -> None:
        raise _Unsafe("a narrative must not declare a document type or entities")

    def instructed(self, *_: object) -> None:
        raise _Unsafe("a narrative must not hold processing instructions")
