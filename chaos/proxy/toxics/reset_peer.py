"""reset_peer: the first bytes (or the end) are dropped; `timeout` ms later both sides get a TCP reset."""

from __future__ import annotations

from typing import ClassVar

from chaos.proxy.toxics.stage import Attributes, Chunk, Stage


class ResetPeer(Stage):
    type = "reset_peer"
    defaults: ClassVar[dict[str, int]] = {"timeout": 0}
    __slots__ = ()

    def feed(self, chunk: Chunk) -> None:
        self.strike(len(chunk.data))
        if self.timer is None:
            self.call_at(self.line.now_s() + max(0, self.attributes["timeout"]) / 1000.0, self._reset)

    @property
    def note(self) -> str:
        return "dropped, then reset"

    def leave(self) -> None:
        """Bytes are lost already once it has triggered, so the reset comes now rather than never."""
        if self.timer is not None:
            self._reset()

    def configure(self, attributes: Attributes) -> None:
        self.attributes = attributes

    def _reset(self) -> None:
        self.line.cut(self, with_reset=True)
