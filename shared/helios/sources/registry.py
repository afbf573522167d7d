"""Every source by its name."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from helios.model.sources import BUILT_IN_SOURCES, COLOURS, SHAPES, Colour, Shape, Source, SourceDeclaration, SourceInfo

T = TypeVar("T")


class Sources:
    """The built-in sources and the declared ones."""

    def __init__(self, declared: Sequence[SourceDeclaration] = ()) -> None:
        """Take the declared sources, in the order in which they are shown."""
        self._declarations = {declaration.name: declaration for declaration in declared}
        self._infos = {info.name: info for info in (*BUILT_IN_SOURCES, *_infos(declared))}

    def __iter__(self) -> Iterator[Source]:
        """Every name, in the order in which sources are shown."""
        return iter(self._infos)

    def __contains__(self, name: object) -> bool:
        return name in self._infos

    def __len__(self) -> int:
        return len(self._infos)

    @property
    def declared(self) -> Mapping[Source, SourceDeclaration]:
        """The declared sources by name."""
        return self._declarations

    @property
    def infos(self) -> list[SourceInfo]:
        """How each source is shown."""
        return list(self._infos.values())

    def label(self, name: Source) -> str:
        """The name that people read; the name itself for a source that is no longer declared."""
        info = self._infos.get(name)
        return info.label if info else name

    def expected(self) -> str:
        """Which names there are, and how to add one, for an error about another name."""
        return f"use {', '.join(self)}, or declare it in the file of HELIOS_SOURCES_FILE"


def _infos(declared: Sequence[SourceDeclaration]) -> list[SourceInfo]:
    """How the declared sources are shown: each without a colour or a shape gets the first one that is least used."""
    colours: Counter[Colour] = Counter(info.colour for info in BUILT_IN_SOURCES)
    shapes: Counter[Shape] = Counter(info.shape for info in BUILT_IN_SOURCES)
    colours.update(each.colour for each in declared if each.colour)
    shapes.update(each.shape for each in declared if each.shape)
    infos: list[SourceInfo] = []
    for source in declared:
        colour: Colour = _least_used(COLOURS, colours) if source.colour is None else source.colour
        shape: Shape = _least_used(SHAPES, shapes) if source.shape is None else source.shape
        colours[colour] += source.colour is None
        shapes[shape] += source.shape is None
        label = source.label or source.name.replace("-", " ").capitalize()
        infos.append(SourceInfo(name=source.name, label=label, colour=colour, shape=shape))
    return infos


def _least_used(choices: Sequence[T], uses: Mapping[T, int]) -> T:
    return min(choices, key=lambda choice: uses.get(choice, 0))


CLOUDS = Sources()
"""The built-in sources alone."""
