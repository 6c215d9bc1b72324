"""Secrets are blotted out of texts, of texts that are still arriving, and of JSON values."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from agent_api.v1alpha1.guards import Redaction
from agent_runtime.core.detection import Detector, compiled
from agent_runtime.core.detectors import DETECTORS, NAME_OF_KEY, NAME_OF_PASSWORD
from agent_runtime.core.secret_checks import keyed_secret, quoted_password

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent_runtime.core.detection import Tail

MAX_DEPTH = 64
TOO_DEEP = "[redacted:depth]"
"""Stands for what is nested deeper than MAX_DEPTH, which nobody looked at."""

_LEAST_CARD = 10**12
_Detectors = list[tuple[Detector, Any]]
_CONTEXT_BYTES = 2
_NO_FIRST_BYTE, _LATER_BYTE = 0xC0, 0x80
_NOTHING = r"[^\x00-\x{10ffff}]"
_PASSWORD_NAME = compiled(NAME_OF_PASSWORD)
_SECRET_NAME = compiled(NAME_OF_KEY)


def replacement(kind: Redaction) -> str:
    """What stands for a secret of this kind."""
    return f"[redacted:{kind}]"


class Redactor:
    """Blots out secrets of some kinds, in time linear in the text."""

    def __init__(self, kinds: Iterable[Redaction]) -> None:
        self.kinds = frozenset(kinds)
        detectors = [(detector, compiled(detector.pattern)) for detector in DETECTORS if detector.kind in self.kinds]
        self.by_first = _by_first_byte(detectors)
        patterns = [detector.pattern for detector, _ in detectors]
        begun = [detector.begun for detector, _ in detectors]
        self.any = compiled("|".join(patterns) or _NOTHING, capture=False)
        self.longest = max((detector.longest for detector, _ in detectors), default=0)
        self.begun = compiled(f"(?:{'|'.join(begun)})\\z", capture=False)

    def redact(self, text: str) -> tuple[str, dict[Redaction, int]]:
        """The text with every secret replaced, and how many there were of each kind."""
        stream = self.stream()
        redacted = stream.feed(text, last=True)
        return redacted, stream.counts

    def stream(self) -> StreamRedactor:
        """Redactor of one text that arrives in parts."""
        return StreamRedactor(self)

    def redact_json(self, value: Any) -> Any:  # noqa: ANN401 - any JSON value
        """The value with every secret in its texts, names and numbers replaced; a member's name tells of its value."""
        return self._redacted(value, MAX_DEPTH)

    def _redacted(self, value: Any, depth: int) -> Any:  # noqa: ANN401 - as above
        if isinstance(value, str):
            return self.redact(value)[0]
        if isinstance(value, int) and value >= _LEAST_CARD:
            return self._redacted_number(value)
        if isinstance(value, dict | list | tuple) and depth == 0:
            return TOO_DEEP
        if isinstance(value, dict):
            return {
                self._redacted(name, 1): self._redacted_member(name, member, depth) for name, member in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._redacted(item, depth - 1) for item in value]
        return value

    def _redacted_member(self, name: Any, value: Any, depth: int) -> Any:  # noqa: ANN401 - as above
        kind = self._kind_by_name(name, value) if isinstance(name, str) and isinstance(value, str) else None
        return self._redacted(value, depth - 1) if kind is None else replacement(kind)

    def _kind_by_name(self, name: str, value: str) -> Redaction | None:
        encoded = name.encode(errors="replace")
        kind = None
        if _PASSWORD_NAME.search(encoded):
            kind = None if quoted_password(value, "", "") is None else Redaction.PASSWORDS
        elif _SECRET_NAME.search(encoded):
            kind = Redaction.API_KEYS if keyed_secret(value) else None
        return kind if kind in self.kinds else None

    def _redacted_number(self, value: int) -> int | str:
        text, counts = self.redact(str(value))
        return text if counts else value


def _by_first_byte(detectors: _Detectors) -> list[_Detectors]:
    """For each byte, the detectors of what may begin with it; a secret begins with ASCII."""
    begun = [compiled(detector.begun) for detector, _ in detectors]
    texts = [bytes([byte]) for byte in range(128)]
    chosen = [[pair for pair, may in zip(detectors, begun, strict=True) if may.fullmatch(text)] for text in texts]
    return chosen + [[]] * 128


class StreamRedactor:
    """Redacts one text that arrives in parts: what it gives out is the same, however the text is cut.

    What may still become a secret is held back; that is bounded, because what makes a secret out of it is.
    """

    def __init__(self, redactor: Redactor) -> None:
        self.counts: dict[Redaction, int] = Counter()
        self._redactor = redactor
        self._buffer = b""
        self._position = 0
        self._tail: Tail | None = None

    def feed(self, chunk: str, *, last: bool = False) -> str:
        """Take the next part and return what is final."""
        # A lone surrogate, which UTF-8 cannot hold, becomes a question mark.
        self._buffer += chunk.encode(errors="replace")
        final: list[bytes] = []
        while self._swallow(last=last) and self._advance(final, last=last):
            pass
        kept = max(self._position - _CONTEXT_BYTES, 0)
        self._buffer, self._position = self._buffer[kept:], self._position - kept
        return b"".join(final).decode()

    def finish(self) -> str:
        """Return the rest."""
        return self.feed("", last=True)

    def _swallow(self, *, last: bool) -> bool:
        """Drop what still belongs to the secret that was found; whether its end was seen."""
        tail = self._tail
        while tail is not None:
            end = tail.last and tail.last.match(self._buffer, self._position)
            step = end or tail.step.match(self._buffer, self._position)
            if step:
                self._position = step.end()
            elif not last and self._may_go_on(tail):
                return False
            if end or not step:
                tail = self._tail = None
        return True

    def _may_go_on(self, tail: Tail) -> bool:
        rest = len(self._buffer) - self._position
        if rest == 0 or rest > tail.longest:
            return rest == 0
        return tail.begun is not None and tail.begun.fullmatch(self._buffer, self._position) is not None

    def _advance(self, final: list[bytes], *, last: bool) -> bool:
        """Pass on what is final up to the next secret; whether one was found."""
        held = len(self._buffer) if last else self._held()
        place = self._position
        while (found := self._redactor.any.search(self._buffer, place)) and found.start() < held:
            if self._replace(found.start(), final):
                return True
            place = found.start() + 1
        final.append(self._buffer[self._position : held])
        self._position = held
        return False

    def _held(self) -> int:
        """Where what may still become a secret begins."""
        begun = self._redactor.begun.search(self._buffer, self._position)
        if begun is None:
            return len(self._buffer)
        held = max(int(begun.start()), len(self._buffer) - self._redactor.longest)
        while held < len(self._buffer) and self._buffer[held] & _NO_FIRST_BYTE == _LATER_BYTE:
            held -= 1
        return held

    def _replace(self, start: int, final: list[bytes]) -> bool:
        for detector, expression in self._redactor.by_first[self._buffer[start]]:
            match = expression.match(self._buffer, start)
            if match is None:
                continue
            begin, end = match.span(1)
            secret = match.group(1).decode()
            length: int | None = len(secret)
            if detector.check is not None:
                length = detector.check(secret, self._text(begin - _CONTEXT_BYTES, begin), self._text(end, end + 1))
            if length is None:
                continue
            self.counts[detector.kind] += 1
            final += (self._buffer[self._position : begin], replacement(detector.kind).encode())
            self._position = begin + len(secret[:length].encode())
            self._tail = detector.tail
            return True
        return False

    def _text(self, start: int, end: int) -> str:
        # Only ASCII matters to the checks, and of other characters only that they are none.
        return self._buffer[max(start, 0) : end].decode("latin-1")
