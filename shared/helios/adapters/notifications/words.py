"""Messages about incidents in words, for people."""

from helios.model.flows import Money
from helios.model.incidents import Transition
from helios.model.notifications import Message

MAX_LINES = 50
"""Most transitions that a digest lists: chats refuse long messages."""


def title_of(message: Message) -> str:
    """One line that says what the message is about."""
    if not message.transitions:
        return "Helios: test"
    if message.is_digest:
        return f"Helios: {len(message.transitions)} changes of incidents"
    (transition,) = message.transitions
    incident = transition.incident
    return f"Helios: {transition.what}: {incident.title} ({incident.severity})"


def body_of(message: Message) -> str:
    """The message in lines of plain text."""
    if not message.transitions:
        return f"This is a test. Helios can send notifications to {message.receiver}."
    if message.is_digest:
        lines = [_line(transition) for transition in message.transitions[:MAX_LINES]]
        omitted = len(message.transitions) - len(lines)
        return "\n".join([*lines, *([f"{omitted} more"] if omitted else [])])
    (transition,) = message.transitions
    incident = transition.incident
    lines = [_counted(transition), f"opened {incident.opened_at:%Y-%m-%d %H:%M:%S} UTC"]
    if incident.resolved_at:
        lines.append(f"resolved {incident.resolved_at:%Y-%m-%d %H:%M:%S} UTC: {incident.resolution}")
    if incident.assignee:
        lines.append(f"assigned to {incident.assignee}")
    lines.append(f"incident {incident.id}, key {transition.key}")
    return "\n".join(line for line in lines if line)


def _line(transition: Transition) -> str:
    counted = _counted(transition)
    words = [transition.what, transition.incident.severity, transition.incident.title, *([counted] if counted else [])]
    return f"{': '.join(words)} (key {transition.key})"


def _counted(transition: Transition) -> str:
    incident = transition.incident
    match incident.cause.kind:
        case "consumer":
            return ""
        case "dead_letters":
            return f"{incident.number:,} deliveries"
        case "drift":
            return f"{incident.number:,} events are missing"
        case "silence":
            noun = "instances wait for it"
        case "flow":
            noun = "instances are broken"
    return ", ".join([f"{incident.number:,} {noun}", *map(_money, incident.amounts)])


def _money(money: Money) -> str:
    return f"{money.amount} {money.currency or 'without a currency'}"
