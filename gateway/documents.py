"""From the text of a request to a checked document: parsed with a token cap, validated once, kept.

The rules are classes made once: rules made anew for each request would defeat the cache.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    InlineFragmentNode,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    SelectionSetNode,
    ValidationRule,
    parse,
    specified_rules,
    validate,
)

MAX_TOKENS = 2000
MAX_DEPTH = 12
MAX_ALIASES = 15
MAX_FIELDS = 300
MAX_DIRECTIVES = 50
MAX_VALIDATION_ERRORS = 5
KEPT_DOCUMENTS = 1024
KEPT_BYTES = 8 * 1024 * 1024


class Refused(Exception):
    """The document does not parse or does not hold: its errors, for a 400."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__(errors[0].message)
        self.errors = errors


class Measure(ValidationRule):
    """Depth through fragments, aliases, fields and directives of each operation, each with its limit."""

    def enter_operation_definition(self, node: OperationDefinitionNode, *_: Any) -> None:
        fragments = {
            d.name.value: d
            for d in self.context.document.definitions
            if isinstance(d, FragmentDefinitionNode)
        }
        total = _Total(fragments)
        total.add(node.selection_set, depth=1, within=())
        for count, limit, what in (
            (total.depth, MAX_DEPTH, "levels deep"),
            (total.aliases, MAX_ALIASES, "aliases"),
            (total.fields, MAX_FIELDS, "fields"),
            (total.directives, MAX_DIRECTIVES, "directives"),
        ):
            if count > limit:
                self.report_error(
                    GraphQLError(
                        f"the operation has more than {limit} {what}; ask for less at once",
                        node,
                        extensions={"code": "COST_EXCEEDED"},
                    )
                )


class _Total:
    """What an operation amounts to; a fragment spread twice counts twice."""

    def __init__(self, fragments: dict[str, FragmentDefinitionNode]) -> None:
        self._fragments = fragments
        self.depth = self.aliases = self.fields = self.directives = 0

    def add(self, selections: SelectionSetNode | None, depth: int, within: tuple[str, ...]) -> None:
        # Counting stops where a limit is passed, so that nested spreads cannot cost more than they may.
        if selections is None or self.fields > MAX_FIELDS or depth > MAX_DEPTH + 1:
            return
        for node in selections.selections:
            self.directives += len(node.directives or ())
            match node:
                case FieldNode():
                    self.depth = max(self.depth, depth)
                    self.fields += 1
                    self.aliases += node.alias is not None
                    # Introspection reads the schema alone; where it is not allowed, another rule says so.
                    if not node.name.value.startswith("__"):
                        self.add(node.selection_set, depth + 1, within)
                case InlineFragmentNode():
                    self.add(node.selection_set, depth, within)
                case FragmentSpreadNode():
                    name = node.name.value
                    fragment = self._fragments.get(name)
                    # A cycle is another rule's error; here it must only not run forever.
                    if fragment is not None and name not in within:
                        self.fields += 1
                        self.add(fragment.selection_set, depth, (*within, name))


@dataclass(frozen=True)
class Document:
    node: DocumentNode
    size: int

    def operation(self, name: str | None) -> OperationDefinitionNode | None:
        """The operation a request means; None when it is missing or not unique."""
        found = [d for d in self.node.definitions if isinstance(d, OperationDefinitionNode)]
        if name is not None:
            found = [d for d in found if d.name is not None and d.name.value == name]
        return found[0] if len(found) == 1 else None


class Documents:
    """Checked documents by their text, bounded in number and in bytes."""

    def __init__(self, schema: GraphQLSchema, *, introspection: bool) -> None:
        self._schema = schema
        self._rules: list[type[Any]] = [*specified_rules, Measure]
        if not introspection:
            self._rules.append(NoSchemaIntrospectionCustomRule)
        self._kept: OrderedDict[str, Document] = OrderedDict()
        self._bytes = 0

    def checked(self, text: str) -> Document:
        """Raises Refused with what is wrong."""
        kept = self._kept.get(text)
        if kept is not None:
            self._kept.move_to_end(text)
            return kept
        document = Document(self._check(text), len(text))
        self._keep(text, document)
        return document

    def _check(self, text: str) -> DocumentNode:
        try:
            node = parse(text, max_tokens=MAX_TOKENS)
        except (GraphQLError, RecursionError) as error:
            if isinstance(error, GraphQLError):
                raise Refused([error]) from error
            raise Refused([GraphQLError("the document is nested too deeply")]) from error
        # Depth and size first: the specified rules can be costly on a document made to be.
        errors = validate(self._schema, node, [Measure], max_errors=1) or validate(
            self._schema, node, self._rules, max_errors=MAX_VALIDATION_ERRORS, hide_suggestions=True
        )
        if errors:
            raise Refused(errors)
        return node

    def _keep(self, text: str, document: Document) -> None:
        self._kept[text] = document
        self._bytes += document.size
        while len(self._kept) > KEPT_DOCUMENTS or self._bytes > KEPT_BYTES:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.size
