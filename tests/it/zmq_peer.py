"""Sockets of libzmq that tests hold: a command in JSON comes in on each line, and its answer goes out.

Nothing here sleeps: what a command waits for either comes, or the command fails.
"""

import hashlib
import json
import random
import select
import sys
import threading

import zmq
from zmq.utils.monitor import recv_monitor_message

PATIENCE = 30_000  # milliseconds

context = zmq.Context()
sockets = {}
monitors = {}
# What is sent again and again until somebody says stop.
repeated = {}


def refuse_all():
    """Answers whoever asks who may come in (RFC 27): nobody."""
    door = context.socket(zmq.REP)
    door.bind("inproc://zeromq.zap.01")

    def answer():
        while True:
            try:
                version, request = door.recv_multipart()[:2]
                door.send_multipart([version, request, b"400", b"no", b"", b""])
            except zmq.ZMQError:
                return

    threading.Thread(target=answer, daemon=True).start()


def bind(name, type, public, secret, to="tcp://127.0.0.1:*", refuses=False, endless=False):
    """A server with CURVE; says where it listens."""
    if refuses:
        refuse_all()
    socket = context.socket(getattr(zmq, type.upper()))
    socket.linger = 0
    if endless:
        socket.rcvhwm = 0
    socket.curve_server = True
    socket.curve_publickey = public.encode()
    socket.curve_secretkey = secret.encode()
    socket.zap_domain = b"test"
    # One that has just been closed lets go of its port in its own time.
    for _ in range(PATIENCE // 20):
        try:
            socket.bind(to)
            break
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE:
                raise
            select.select([], [], [], 0.02)
    sockets[name] = socket
    return socket.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode()


def to_part(told):
    """A part is its text, each character a byte; or its size and the byte that it is made of."""
    if isinstance(told, dict):
        return bytes([told["byte"]]) * told["size"]
    return told.encode("latin-1")


def shown(part):
    if len(part) > 1000:
        return {"size": len(part), "sha256": hashlib.sha256(part).hexdigest()}
    return part.decode("latin-1")


def ready(socket, what):
    if not socket.poll(PATIENCE, what):
        raise TimeoutError("nothing happens")
    return socket


def connect(name, type, to, options=None, subscribe=(), mechanism="curve", monitor=False, **keys):
    socket = context.socket(getattr(zmq, type.upper()))
    socket.linger = 0
    for option, value in (options or {}).items():
        if isinstance(value, str):
            value = value.encode("latin-1")
        socket.setsockopt(getattr(zmq, option), value)
    if mechanism == "curve":
        socket.curve_serverkey = keys["server"].encode()
        socket.curve_publickey = keys["public"].encode()
        socket.curve_secretkey = keys["secret"].encode()
    elif mechanism == "plain":
        socket.plain_username = b"admin"
        socket.plain_password = b"admin"
    for topic in subscribe:
        if type == "sub":
            socket.subscribe(topic)
    if monitor:
        monitors[name] = socket.get_monitor_socket()
    socket.connect(to)
    sockets[name] = socket
    for topic in subscribe:
        if type == "xsub":
            socket.send(b"\x01" + topic.encode())


def send(name, parts):
    ready(sockets[name], zmq.POLLOUT).send_multipart([to_part(part) for part in parts])


def recv(name):
    return [shown(part) for part in ready(sockets[name], zmq.POLLIN).recv_multipart()]


def has(name):
    """Whether something has come in already."""
    return bool(sockets[name].poll(0))


def property(name, property):
    """Receives a message, and says what the peer has told of itself under this name."""
    frame = ready(sockets[name], zmq.POLLIN).recv(copy=False)
    return frame.get(property)


def repeat(name, messages):
    repeated[name] = [[to_part(part) for part in parts] for parts in messages]


def stop(name):
    del repeated[name]


def events(name, until):
    """What the monitor has seen, up to an event of this name."""
    seen = []
    while True:
        event = recv_monitor_message(ready(monitors[name], zmq.POLLIN))
        title = zmq.Event(event["event"]).name
        seen.append([title, event["value"]])
        if title == until:
            return seen


def failed(name):
    """Waits until the handshake has failed, or the other side has hung up."""
    while True:
        event = recv_monitor_message(ready(monitors[name], zmq.POLLIN))
        title = zmq.Event(event["event"]).name
        if title == "HANDSHAKE_SUCCEEDED":
            raise AssertionError(title)
        if title.startswith("HANDSHAKE_FAILED") or title == "DISCONNECTED":
            return [title, event["value"]]


def seen(name):
    """What the monitor has seen by now."""
    titles = []
    while monitors[name].poll(0):
        titles.append(zmq.Event(recv_monitor_message(monitors[name])["event"]).name)
    return titles


def numbered(number, size):
    """A number, and a part of this size unless that is 0."""
    return [b"%d" % number] + ([bytes([number % 251]) * size] if size else [])


def flood(name, count, first=0, size=0):
    """Sends numbers, as fast as they are taken."""
    for number in range(first, first + count):
        ready(sockets[name], zmq.POLLOUT).send_multipart(numbered(number, size))


def drain(name, count, first=0, size=0):
    """Receives so many numbers."""
    for number in range(first, first + count):
        came = ready(sockets[name], zmq.POLLIN).recv_multipart()
        if came != numbered(number, size):
            raise AssertionError(f"{came[0]!r} instead of {number}")


def collect(name):
    """Waits for a number, and gives all that have come in by then."""
    socket = ready(sockets[name], zmq.POLLIN)
    numbers = []
    while socket.poll(0):
        numbers.append(int(socket.recv()))
    return numbers


def echoed(name, sizes, seed):
    """Sends parts of these sizes, of bytes that look random, and has to get the same back."""
    parts = [random.Random(seed + size).randbytes(size) for size in sizes]
    ready(sockets[name], zmq.POLLOUT).send_multipart(parts)
    if ready(sockets[name], zmq.POLLIN).recv_multipart() != parts:
        raise AssertionError(f"parts of {sizes} come back otherwise")


def storm(count, at_once, **how):
    """Clients that come, are answered once, and go."""
    for first in range(0, count, at_once):
        names = [f"storm {number}" for number in range(first, first + at_once)]
        for name in names:
            connect(name, **how)
        for name in names:
            send(name, [name])
        for name in names:
            if recv(name) != [name]:
                raise AssertionError("somebody else's answer")
        for name in names:
            close(name)


def hasty(count, **how):
    """Clients that go before they can have been answered."""
    for number in range(count):
        connect(f"hasty {number}", **how)
        close(f"hasty {number}")


def close(name, linger=0):
    """Closes it; `linger` is how many milliseconds what has been sent may take to go out."""
    if name in monitors:
        sockets[name].disable_monitor()
        del monitors[name]
    sockets.pop(name).close(linger)


def version():
    return zmq.zmq_version()


COMMANDS = {
    function.__name__: function
    for function in (
        bind, close, collect, connect, drain, echoed, events, failed, flood, has, hasty, property, recv, repeat, seen, send,
        stop, storm, version,
    )
}


def main():
    while True:
        while repeated and not select.select([sys.stdin], [], [], 0.02)[0]:
            for name, messages in repeated.items():
                for parts in messages:
                    sockets[name].send_multipart(parts)
        line = sys.stdin.readline()
        if not line:
            break
        command = json.loads(line)
        answer = {"re": command.pop("re")}
        try:
            answer["result"] = COMMANDS[command.pop("do")](**command)
        except Exception as error:
            answer["error"] = repr(error)
        print(json.dumps(answer), flush=True)
    context.destroy(linger=0)


main()
