"""What the legacy firmware's library consists of: components with ports, connections, and buffers in pools and queues.

Each has its C structure in `struct` (a buffer in `header`), at `address`, and takes picamera's module of structures.
"""

from __future__ import annotations

import ctypes as ct
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from tests.support.mmal_library import Mmal


class Buffer:
    """A buffer header and its memory."""

    def __init__(self, mmal: Any, size: int, queue: Optional[Queue]) -> None:
        self.queue = queue
        self._memory = (ct.c_uint8 * max(1, size))()
        self._specific = mmal.MMAL_BUFFER_HEADER_TYPE_SPECIFIC_T()
        self.header = mmal.MMAL_BUFFER_HEADER_T(
            data=ct.cast(self._memory, ct.POINTER(ct.c_uint8)), alloc_size=size, type=ct.pointer(self._specific)
        )

    @property
    def address(self) -> int:
        return ct.addressof(self.header)

    def fill(self, data: bytes, *, flags: int, pts: int) -> None:
        """Put data into it."""
        ct.memmove(self._memory, data, len(data))
        self.header.cmd, self.header.offset, self.header.length = 0, 0, len(data)
        self.header.flags, self.header.pts, self.header.dts = flags, pts, pts


class Queue:
    """Buffers that wait for somebody."""

    def __init__(self) -> None:
        self._place = ct.c_uint64()
        self.buffers: deque[Buffer] = deque()
        self.changed = threading.Condition()

    @property
    def address(self) -> int:
        return ct.addressof(self._place)

    def put(self, buffer: Buffer) -> None:
        with self.changed:
            self.buffers.append(buffer)
            self.changed.notify_all()

    def get(self, timeout_s: Optional[float] = 0.0) -> Optional[Buffer]:
        """The oldest; waits for ever without a time-out."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.buffers, timeout_s):
                return None
            return self.buffers.popleft()


class Pool:
    """Buffers for a port, and the queue of those that are free."""

    def __init__(self, mmal: Any, count: int, size: int) -> None:
        self.queue = Queue()
        self.buffers = [Buffer(mmal, size, self.queue) for _ in range(count)]
        self._headers = (ct.POINTER(mmal.MMAL_BUFFER_HEADER_T) * count)(*[ct.pointer(b.header) for b in self.buffers])
        self.struct = mmal.MMAL_POOL_T(
            queue=ct.cast(self.queue.address, ct.POINTER(mmal.MMAL_QUEUE_T)), headers_num=count, header=self._headers
        )
        for buffer in self.buffers:
            self.queue.put(buffer)

    @property
    def address(self) -> int:
        return ct.addressof(self.struct)


class Port:
    """A port: its format, its parameters, and while it is enabled the buffers it was given."""

    def __init__(self, component: Component, kind: int, index: int) -> None:
        mmal = component.mmal
        self.component, self.kind = component, kind
        self.parameters: dict[int, Any] = {}
        self.given = Queue()
        self.callback: Any = None
        self.connection: Optional[Connection] = None
        self.busy = threading.RLock()
        """Held while the callback runs: disabling waits for it."""
        types = {mmal.MMAL_PORT_TYPE_CONTROL: "ctr", mmal.MMAL_PORT_TYPE_INPUT: "in", mmal.MMAL_PORT_TYPE_OUTPUT: "out"}
        self.name = f"{component.name}:{types[kind]}:{index}"
        self._specific = mmal.MMAL_ES_SPECIFIC_FORMAT_T()
        is_control = kind == mmal.MMAL_PORT_TYPE_CONTROL
        self.format = mmal.MMAL_ES_FORMAT_T(
            type=mmal.MMAL_ES_TYPE_CONTROL if is_control else mmal.MMAL_ES_TYPE_VIDEO, es=ct.pointer(self._specific)
        )
        self.struct = mmal.MMAL_PORT_T(
            name=f"{self.name}(H264)".encode() if not is_control else self.name.encode(),
            type=kind,
            index=index,
            format=ct.pointer(self.format),
            component=ct.pointer(component.struct),
            buffer_num_min=1,
            buffer_num_recommended=3,
            buffer_size_min=512,
            buffer_size_recommended=component.buffer_bytes,
        )

    @property
    def address(self) -> int:
        return ct.addressof(self.struct)

    @property
    def video(self) -> Any:
        """Its MMAL_VIDEO_FORMAT_T."""
        return self._specific.video

    @property
    def enabled(self) -> bool:
        return bool(self.struct.is_enabled)

    def deliver(self, data: bytes, *, flags: int, pts: int) -> None:
        """Call the client back with `data` in one of the buffers it gave; waits for one while the port is enabled."""
        buffer = None
        while buffer is None and self.enabled:
            buffer = self.given.get(0.05)
        with self.busy:
            if buffer is not None and self.enabled:
                buffer.fill(data, flags=flags, pts=pts)
                self.callback(ct.pointer(self.struct), ct.pointer(buffer.header))

    def event(self, command: int) -> None:
        """Call the client back with something that is no data."""
        mmal = self.component.mmal
        buffer = Buffer(mmal, 0, None)
        buffer.header.cmd = command
        self.component.owner.know(buffer)
        with self.busy:
            if self.enabled:
                self.callback(ct.pointer(self.struct), ct.pointer(buffer.header))


class Component:
    """A component with its ports."""

    def __init__(self, owner: Mmal, name: str, inputs: int, outputs: int) -> None:
        self.owner, self.mmal, self.name = owner, owner.mmal, name
        self.buffer_bytes = owner.buffer_bytes
        mmal = self.mmal
        self._name = name.encode()
        self.struct = mmal.MMAL_COMPONENT_T(name=self._name, input_num=inputs, output_num=outputs)
        self.control = Port(self, mmal.MMAL_PORT_TYPE_CONTROL, 0)
        self.inputs = [Port(self, mmal.MMAL_PORT_TYPE_INPUT, index) for index in range(inputs)]
        self.outputs = [Port(self, mmal.MMAL_PORT_TYPE_OUTPUT, index) for index in range(outputs)]
        self._lists = [self._list(self.inputs), self._list(self.outputs)]
        self.struct.control = ct.pointer(self.control.struct)
        self.struct.input, self.struct.output = self._lists

    @property
    def address(self) -> int:
        return ct.addressof(self.struct)

    @property
    def ports(self) -> list[Port]:
        return [self.control, *self.inputs, *self.outputs]

    def _list(self, ports: list[Port]) -> Any:
        kind = ct.POINTER(self.mmal.MMAL_PORT_T)
        return (kind * max(1, len(ports)))(*[ct.pointer(port.struct) for port in ports])


class Connection:
    """Pictures go from an output to an input."""

    def __init__(self, mmal: Any, source: Port, target: Port) -> None:
        self.source, self.target = source, target
        self.struct = mmal.MMAL_CONNECTION_T(name=f"{source.name}/{target.name}".encode())
        source.connection = target.connection = self

    @property
    def address(self) -> int:
        return ct.addressof(self.struct)

    @property
    def enabled(self) -> bool:
        return bool(self.struct.is_enabled)
