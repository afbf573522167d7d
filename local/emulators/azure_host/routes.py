"""Route templates of HTTP triggers, such as ``orders/{id:int?}``, as the real host's router reads them."""

import re
from typing import NamedTuple

_PARAMETER = re.compile(r"\{(?P<all>\*?)(?P<name>\w+)(?::(?P<constraint>\w+))?(?P<optional>\??)\}")

_CONSTRAINTS = {
    None: r"[^/]+",
    "alpha": r"[A-Za-z]+",
    "bool": r"true|false",
    "guid": r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}",
    "int": r"-?\d{1,10}",
    "long": r"-?\d{1,19}",
}


class Route(NamedTuple):
    """A compiled template.

    Attributes:
        template: the app's template, with the route prefix.
        literals: the number of fixed segments; the route with more of them takes precedence.
        pattern: matches a whole path; its groups are the parameters.
    """

    template: str
    literals: int
    pattern: re.Pattern[str]

    def match(self, path: str) -> dict[str, str] | None:
        """The parameters of a path that matches, ignoring case; None if it does not match."""
        match = self.pattern.fullmatch(path.strip("/"))
        return {name: value for name, value in match.groupdict().items() if value is not None} if match else None


def compile_route(prefix: str, template: str) -> Route:
    """The route of a template.

    Raises:
        ValueError: the template has a form or a constraint that is not imitated.
    """
    whole = "/".join(part for part in (prefix, template.strip("/")) if part)
    pattern, literals = "", 0
    for segment in whole.split("/"):
        slash = "/" if pattern else ""
        if "{" not in segment:
            pattern += slash + re.escape(segment)
            literals += 1
            continue
        parameter = _PARAMETER.fullmatch(segment)
        if not parameter or parameter["constraint"] not in _CONSTRAINTS:
            known = ", ".join(sorted(name for name in _CONSTRAINTS if name))
            raise ValueError(f"the route {template}: {segment} can't be hosted here; constraints can be {known}")
        allowed = ".*" if parameter["all"] else _CONSTRAINTS[parameter["constraint"]]
        group = f"{slash}(?P<{parameter['name']}>{allowed})"
        pattern += f"(?:{group})?" if parameter["optional"] or parameter["all"] else group
    return Route(whole, literals, re.compile(pattern, re.IGNORECASE))
