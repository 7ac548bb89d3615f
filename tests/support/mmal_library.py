"""A stand-in for libmmal.so and libbcm_host.so, on which picamera's own Python code runs without a Raspberry Pi.

picamera declares for each function of the library what it takes and gives; here each becomes a real C function of that
type, so ctypes converts and checks as it does on the Pi. What the functions do is in `Mmal`: components, ports,
connections, parameters, pools of buffers and queues, as far as picamera uses them. A function that is not there fails
when it is called. What goes through the ports is the business of `tests.support.legacy_firmware`.
"""

from __future__ import annotations

import ctypes as ct
import importlib
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, ClassVar, Optional

from tests.support.mmal_parts import Component, Connection, Pool, Port, Queue

PACKAGE = Path(__file__).resolve().parents[2] / ".venvs" / "picamera"
"""Where `make setup` puts picamera 1.13, which refuses to be installed as usual on anything but a Pi."""
LIBRARIES = ("libmmal.so", "libbcm_host.so")


def is_installed() -> bool:
    """Whether picamera is there to be run."""
    return (PACKAGE / "picamera" / "__init__.py").exists()


def import_picamera() -> ModuleType:
    """The real picamera, over the stand-in. It stays imported until `forget_picamera`."""
    found = sys.modules.get("picamera")
    if found is not None:
        return found
    load = ct.CDLL
    sys.path.insert(0, str(PACKAGE))
    try:
        setattr(ct, "CDLL", _instead_of(load))  # noqa: B010 - for mypy
        with warnings.catch_warnings():
            # It was written for Python 2 and 3.2 to 3.5.
            warnings.simplefilter("ignore")
            return importlib.import_module("picamera")
    finally:
        setattr(ct, "CDLL", load)  # noqa: B010 - for mypy
        sys.path.remove(str(PACKAGE))


def _instead_of(load: Any) -> Callable[..., Any]:
    return lambda name, *rest, **named: Library() if name in LIBRARIES else load(name, *rest, **named)


def forget_picamera() -> None:
    """Take it out of the interpreter: other tests see that it is not installed."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "picamera"]:
        del sys.modules[name]


class Library:
    """What loading one of the libraries gives: any name is a function."""

    def __getattr__(self, name: str) -> Function:
        function = Function(name)
        setattr(self, name, function)
        return function


class Function:
    """A function of the library. `argtypes` and `restype` are set by picamera, as on a ctypes function."""

    argtypes: Sequence[Any] = ()
    restype: Any = None

    def __init__(self, name: str) -> None:
        self._name = name
        self._bound: Optional[Callable[..., Any]] = None
        self._thunk: Any = None

    def __call__(self, *arguments: Any) -> Any:
        if self._bound is None:
            self._bound = self._bind()
        return self._bound(*arguments)

    def _bind(self) -> Callable[..., Any]:
        gives_pointer = self.restype is not None and issubclass(self.restype, ct._Pointer)

        def work(*arguments: Any) -> Any:
            assert Mmal.current is not None, f"{self._name} was called while no firmware runs"
            return Mmal.current.called(self._name, arguments)

        # A callback cannot give a pointer of a type, so it gives an address, and is called as what gives a pointer.
        self._thunk = ct.CFUNCTYPE(ct.c_void_p if gives_pointer else self.restype, *self.argtypes)(work)
        return ct.cast(self._thunk, ct.CFUNCTYPE(self.restype, *self.argtypes))


class Mmal:
    """The library's functions, by their names. One at a time is `current`."""

    current: ClassVar[Optional[Mmal]] = None
    COMPONENTS: ClassVar[dict[str, tuple[int, int]]] = {
        "vc.camera_info": (0, 0),
        "vc.ril.camera": (0, 3),
        "vc.ril.video_splitter": (1, 4),
        "vc.null_sink": (1, 0),
        "vc.ril.video_encode": (1, 1),
        "vc.ril.image_encode": (1, 1),
    }
    """Inputs and outputs."""

    def __init__(self, mmal: Any, *, buffer_bytes: int) -> None:
        """`mmal` is picamera's module of structures; `buffer_bytes` is the size of an encoder's buffers."""
        self.mmal = mmal
        self.buffer_bytes = buffer_bytes
        self.components: list[Component] = []
        self.pools: list[Pool] = []
        self.calls: list[str] = []
        self.refusals: dict[str, int] = {}
        """Name of a function or a component -> status that it answers."""
        self._objects: dict[int, Any] = {}

    def called(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """Do what the function does."""
        self.calls.append(name)
        if name in self.refusals:
            return self.refusals[name]
        return getattr(self, name)(*arguments)

    def know(self, thing: Any) -> Any:
        """Be able to find it again by its address."""
        self._objects[thing.address] = thing
        return thing

    def find(self, pointer: Any) -> Any:
        """What a pointer from the client points to."""
        return self._objects[ct.addressof(pointer.contents)]

    def default(self, port: Port, parameter: int) -> Any:
        """A parameter that nobody has set: an int, (num, den), a structure as bytes, or None for one unknown."""
        raise NotImplementedError

    def was_set(self, port: Port, parameter: int) -> None:
        """A parameter was set."""

    # Components, ports and connections

    def bcm_host_init(self) -> None: ...

    def mmal_component_create(self, name: bytes, place: Any) -> int:
        text = name.decode()
        if text in self.refusals:
            return self.refusals[text]
        component = Component(self, text, *self.COMPONENTS[text])
        for thing in (component, *component.ports):
            self.know(thing)
        self.components.append(component)
        place[0] = ct.pointer(component.struct)
        return 0

    def mmal_component_destroy(self, pointer: Any) -> int:
        component = self.find(pointer)
        for port in component.ports:
            # picamera leaves the control port enabled, and the firmware forgives it.
            with port.busy:
                port.struct.is_enabled = 0
        self.components.remove(component)
        return 0

    def mmal_component_enable(self, pointer: Any) -> int:
        self.find(pointer).struct.is_enabled = 1
        return 0

    def mmal_component_disable(self, pointer: Any) -> int:
        self.find(pointer).struct.is_enabled = 0
        return 0

    def mmal_port_format_commit(self, pointer: Any) -> int:
        return 0

    def mmal_port_enable(self, pointer: Any, callback: Any) -> int:
        port = self.find(pointer)
        if port.enabled:
            return int(self.mmal.MMAL_EINVAL)
        port.callback = callback
        port.struct.is_enabled = 1
        return 0

    def mmal_port_disable(self, pointer: Any) -> int:
        port = self.find(pointer)
        if not port.enabled:
            return int(self.mmal.MMAL_EINVAL)
        with port.busy:
            port.struct.is_enabled = 0
            while True:
                buffer = port.given.get()
                if buffer is None:
                    return 0
                buffer.header.length = 0
                port.callback(ct.pointer(port.struct), ct.pointer(buffer.header))

    def mmal_port_send_buffer(self, pointer: Any, buffer: Any) -> int:
        port = self.find(pointer)
        if not port.enabled:
            return int(self.mmal.MMAL_EINVAL)
        port.given.put(self.find(buffer))
        return 0

    def mmal_format_copy(self, target: Any, source: Any) -> None:
        kept = ct.addressof(target.contents.es.contents)
        ct.memmove(kept, ct.addressof(source.contents.es.contents), ct.sizeof(source.contents.es.contents))
        for name in ("type", "encoding", "encoding_variant", "bitrate", "flags"):
            setattr(target.contents, name, getattr(source.contents, name))

    def mmal_connection_create(self, place: Any, source: Any, target: Any, flags: int) -> int:
        connection = self.know(Connection(self.mmal, self.find(source), self.find(target)))
        place[0] = ct.pointer(connection.struct)
        return 0

    def mmal_connection_destroy(self, pointer: Any) -> int:
        connection = self.find(pointer)
        connection.struct.is_enabled = 0
        connection.source.connection = connection.target.connection = None
        return 0

    def mmal_connection_enable(self, pointer: Any) -> int:
        self.find(pointer).struct.is_enabled = 1
        return 0

    def mmal_connection_disable(self, pointer: Any) -> int:
        self.find(pointer).struct.is_enabled = 0
        return 0

    # Pools, queues and buffers

    def mmal_port_pool_create(self, pointer: Any, count: int, size: int) -> int:
        pool = self.know(Pool(self.mmal, count, size))
        self.know(pool.queue)
        for buffer in pool.buffers:
            self.know(buffer)
        self.pools.append(pool)
        return int(pool.address)

    def mmal_port_pool_destroy(self, pointer: Any, pool: Any) -> None:
        self.pools.remove(self.find(pool))

    def mmal_queue_length(self, pointer: Any) -> int:
        return len(self._queue(pointer).buffers)

    def mmal_queue_get(self, pointer: Any) -> Optional[int]:
        buffer = self._queue(pointer).get()
        return None if buffer is None else buffer.address

    def mmal_buffer_header_release(self, pointer: Any) -> None:
        buffer = self.find(pointer)
        if buffer.queue is not None:
            buffer.queue.put(buffer)

    def mmal_buffer_header_mem_lock(self, pointer: Any) -> int:
        return 0

    def mmal_buffer_header_mem_unlock(self, pointer: Any) -> None: ...

    def _queue(self, pointer: Any) -> Queue:
        # The structure has no fields, so ctypes has no contents to take the address of.
        queue: Queue = self._objects[ct.cast(pointer, ct.c_void_p).value or 0]
        return queue

    # Parameters

    def _get(self, pointer: Any, parameter: int) -> Any:
        port = self.find(pointer)
        return port.parameters[parameter] if parameter in port.parameters else self.default(port, parameter)

    def _get_number(self, pointer: Any, parameter: int, place: Any) -> int:
        value = self._get(pointer, parameter)
        if value is None:
            return int(self.mmal.MMAL_ENOSYS)
        if isinstance(value, tuple):
            place[0].num, place[0].den = value
        elif hasattr(place[0], "value"):
            place[0].value = value
        else:
            place[0] = value
        return 0

    def _set_number(self, pointer: Any, parameter: int, value: Any) -> int:
        port = self.find(pointer)
        port.parameters[parameter] = (value.num, value.den) if hasattr(value, "num") else getattr(value, "value", value)
        self.was_set(port, parameter)
        return 0

    mmal_port_parameter_get_boolean = mmal_port_parameter_get_rational = _get_number
    mmal_port_parameter_get_int32 = mmal_port_parameter_get_uint32 = _get_number
    mmal_port_parameter_get_int64 = mmal_port_parameter_get_uint64 = _get_number
    mmal_port_parameter_set_boolean = mmal_port_parameter_set_rational = _set_number
    mmal_port_parameter_set_int32 = mmal_port_parameter_set_uint32 = _set_number
    mmal_port_parameter_set_int64 = mmal_port_parameter_set_uint64 = _set_number

    def mmal_port_parameter_get(self, pointer: Any, header: Any) -> int:
        value = self._get(pointer, header.contents.id)
        if value is None:
            return int(self.mmal.MMAL_ENOSYS)
        if header.contents.size < len(value):
            return int(self.mmal.MMAL_ENOSPC)
        ct.memmove(ct.addressof(header.contents), value, len(value))
        return 0

    def mmal_port_parameter_set(self, pointer: Any, header: Any) -> int:
        port = self.find(pointer)
        port.parameters[header.contents.id] = ct.string_at(ct.addressof(header.contents), header.contents.size)
        self.was_set(port, header.contents.id)
        return 0
