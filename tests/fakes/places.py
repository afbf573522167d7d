"""A place in a cloud, in memory."""

from collections.abc import Callable, Collection, Sequence

from helios.errors import HeliosError
from helios.model.events import Delivery
from helios.model.recoveries import PlaceSearch
from helios.ports.recoveries import Wanted


class MemoryPlace:
    """Implements ``Place`` with a list of deliveries.

    Attributes:
        deliveries: what it holds. Unlike an archive, it removes what was taken.
        faults: the errors of the next searches.
        take: what the last search was given.
        created: the names of what searches have created and nobody has removed.
    """

    source = "gcp"

    def __init__(self, *deliveries: Delivery, is_complete: bool = False, faults: Sequence[HeliosError] = ()) -> None:
        self.name = "the shelf"
        self.deliveries = list(deliveries)
        self.faults = list(faults)
        self.created: set[str] = set()
        self._is_complete = is_complete
        self.take: Callable[[Sequence[Delivery]], list[bool]] = lambda deliveries: [False for _ in deliveries]

    def search(self, wanted: Wanted) -> PlaceSearch:
        """Offer every delivery."""
        self.created.add(wanted.name)
        self.take = wanted.take
        if self.faults:
            raise self.faults.pop(0)
        taken = wanted.take(self.deliveries)
        kept = [each for each, is_taken in zip(self.deliveries, taken, strict=True) if not is_taken]
        self.deliveries = kept
        return PlaceSearch(place=self.name, found=sum(taken), is_complete=self._is_complete, detail="was searched.")

    def drop_except(self, names: Collection[str], *, prefix: str) -> int:
        """Remove what was created under other names."""
        unused = {name for name in self.created if name.startswith(prefix)} - set(names)
        self.created -= unused
        return len(unused)
