"""What a handler wants, read once from its annotations: by type, or from the text.

So a handler stays a plain function, and a test can call it as one.
"""

import inspect
import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, TypeAlias, get_args, get_origin, get_type_hints

from xmpp_onion.bot.arguments import Argument, can_read, read_argument

__all__ = ["Depends", "Handler", "Plan", "Services", "plan"]

Handler: TypeAlias = Callable[..., Awaitable[object]]  # type: ignore[explicit-any] # what it takes is read from its annotations
"""An ``async def``; what it gets is told by its annotations."""

Services: TypeAlias = Mapping[type, object]
"""Values by their types."""


@dataclass(frozen=True, slots=True)
class Depends:
    """Says that a parameter gets what ``make`` returns, called anew each time.

    ::

        async def sign_in(user: Annotated[User, Depends(load_user)]) -> str: ...

    Attributes:
        make: An ``async def`` whose own parameters are provided by type.
    """

    make: Handler


@dataclass(frozen=True, slots=True)
class Plan:
    """How a handler is called.

    Attributes:
        function: The handler.
        services: The types of its provided parameters, by name.
        depends: The plans of what is made for it, by name.
        arguments: The parameters that are read from the text, in their order.
    """

    function: Handler
    services: Mapping[str, type]
    depends: Mapping[str, "Plan"]
    arguments: tuple[Argument, ...]

    @property
    def name(self) -> str:
        """The handler's name."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    async def call(self, services: Services, arguments: Mapping[str, object]) -> object:
        """Call the handler.

        Raises:
            LookupError: Something that it wants was not provided.
        """
        given = dict(arguments)
        for name, wanted in self.services.items():
            given[name] = _find(services, wanted, self.name)
        for name, made in self.depends.items():
            given[name] = await made.call(services, {})
        return await self.function(**given)

    def missing(self, provided: set[type]) -> set[type]:
        """Return the types that it wants and nobody provides."""
        wanted = {each for each in self.services.values() if not _has(provided, each)}
        return wanted.union(*(made.missing(provided) for made in self.depends.values()))


def plan(function: Handler, *, reads_text: bool) -> Plan:
    """Read what a handler wants.

    Args:
        function: The handler.
        reads_text: Whether parameters that are not provided come from the text.

    Raises:
        TypeError: It is no ``async def``, or an annotation is missing or unknown.
    """
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"{function!r} must be an async def")
    hints = _hints(function)
    services: dict[str, type] = {}
    depends: dict[str, Plan] = {}
    arguments = []
    for name, parameter in inspect.signature(function).parameters.items():
        annotation = hints.get(name)
        if annotation is None:
            raise TypeError(f"{function.__name__}: the parameter {name} has no type")
        if parameter.kind in {parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL}:
            raise TypeError(f"{function.__name__}: use a list instead of *{name}")
        made = _find_depends(annotation)
        if made is not None:
            depends[name] = plan(made.make, reads_text=False)
        elif reads_text and can_read(_inner(annotation)):
            arguments.append(read_argument(parameter, annotation))
        elif isinstance(annotation, type):
            services[name] = annotation
        else:
            raise TypeError(f"{function.__name__}: nothing provides {name}")
    _check_order(function, arguments)
    return Plan(function, services, depends, tuple(arguments))


def _hints(function: Handler) -> dict[str, object]:
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"{getattr(function, '__name__', function)}: the type {error.name} is not "
            "known at the top of its module; define it there"
        ) from error


def _inner(annotation: object) -> object:
    """Return what a list consists of, or the annotation itself."""
    return (
        (get_args(annotation) or (str,))[0]
        if get_origin(annotation) is list
        else annotation
    )


def _find_depends(annotation: object) -> Depends | None:
    if get_origin(annotation) is not Annotated:
        return None
    found = [each for each in get_args(annotation)[1:] if isinstance(each, Depends)]
    return found[0] if found else None


def _check_order(function: Handler, arguments: list[Argument]) -> None:
    """Refuse what could never be read: something behind what takes all words."""
    for argument, later in itertools.pairwise(arguments):
        if argument.is_list or argument.is_rest:
            raise TypeError(
                f"{function.__name__}: {argument.key} takes all words, and nothing is "
                f"left for {later.key}"
            )


def _find(services: Services, wanted: type, name: str) -> object:
    if wanted in services:
        return services[wanted]
    for each in services.values():
        if isinstance(each, wanted):
            return each
    raise LookupError(f"{name} wants a {wanted.__name__}, and nothing provides one")


def _has(provided: set[type], wanted: type) -> bool:
    return any(issubclass(each, wanted) for each in provided)
