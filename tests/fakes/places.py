"""A place in a cloud, in memory."""

from collections.abc import Callable, Collection, Sequence

from helios.errors import HeliosError
from helios.model.events import Delivery
from helios.model.recoveries import PlaceSearch
from helios.ports.recoveries import Taken, Wanted


class MemoryPlace:
    """Implements ``Place`` with a list of deliveries.

    Attributes:
        deliveries: what it holds. Unlike an archive, it removes what was taken.
        faults: the errors of the next searches.
        take: what the last search was given.
        created: the names of what searches have created and nobody has removed.
        searches_left: after how many searches it is over.
    """

    source = "gcp"

    def __init__(
        self,
        *deliveries: Delivery,
        is_complete: bool = False,
        faults: Sequence[HeliosError] = (),
        name: str = "the shelf",
    ) -> None:
        self.name = name
        self.deliveries = list(deliveries)
        self.faults = list(faults)
        self.created: set[str] = set()
        self._is_complete = is_complete
        self.searches_left = 1
        self.take: Callable[[Sequence[Delivery]], Taken] = lambda deliveries: Taken([False for _ in deliveries], 0)

    def search(self, wanted: Wanted) -> PlaceSearch:
        """Offer every delivery."""
        self.created.add(wanted.name)
        self.take = wanted.take
        if self.faults:
            raise self.faults.pop(0)
        taken = wanted.take(self.deliveries)
        kept = [each for each, is_taken in zip(self.deliveries, taken.matches, strict=True) if not is_taken]
        self.deliveries = kept
        self.searches_left -= 1
        is_over = self.searches_left <= 0
        return PlaceSearch(
            place=self.name, is_over=is_over, found=taken.new, is_complete=self._is_complete, detail="was searched."
        )

    def drop_except(self, names: Collection[str], *, prefix: str) -> int:
        """Remove what was created under other names."""
        unused = {name for name in self.created if name.startswith(prefix)} - set(names)
        self.created -= unused
        return len(unused)
