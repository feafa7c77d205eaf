"""Sockets of libzmq for tests: servers with CURVE, their clients, and handlers of ZAP."""

import json
import os
import sys
import threading

import zmq
from zmq.utils.monitor import recv_monitor_message


def say(**what):
    print(json.dumps(what), flush=True)


def text(parts):
    return [part.decode() if is_text(part) else {"hex": part.hex()} for part in parts]


def is_text(part):
    try:
        part.decode()
        return True
    except UnicodeDecodeError:
        return False


def parts(line):
    return [part.encode() if isinstance(part, str) else bytes.fromhex(part["hex"]) for part in json.loads(line)]


def allow(context, keys):
    """Answers ZAP: these keys, in hex, and no others."""
    handler = context.socket(zmq.REP)
    handler.bind("inproc://zeromq.zap.01")

    def run():
        while True:
            _, number, _, _, _, _, key = handler.recv_multipart()
            good = key.hex() in keys
            status = b"200" if good else b"400"
            handler.send_multipart([b"1.0", number, status, b"", b"", b""])

    threading.Thread(target=run, daemon=True).start()


def lines():
    """Each line of standard input goes to a socket that can be polled, and then an empty message."""
    here, there = zmq.Context.instance().socket(zmq.PAIR), zmq.Context.instance().socket(zmq.PAIR)
    here.bind("inproc://lines")
    there.connect("inproc://lines")

    def run():
        for line in sys.stdin:
            there.send_string(line.strip())
        there.send(b"")

    threading.Thread(target=run, daemon=True).start()
    return here


def server(kind, endpoint, secret, allowed, echo="", bridge="", document=""):
    """Prints what comes, and sends what stands in lines of standard input; the end of that ends it."""
    context = zmq.Context.instance()
    if bridge:
        scope = {}
        exec(open(document).read(), scope)
        scope["ask_moonport"](context, bridge)
    elif allowed:
        allow(context, allowed.split(","))
    socket = context.socket(getattr(zmq, kind))
    if secret:
        socket.curve_server = True
        socket.curve_secretkey = bytes.fromhex(secret)
    socket.linger = 0
    socket.bind(endpoint)
    say(listening=True)
    said = lines()
    poller = zmq.Poller()
    poller.register(said, zmq.POLLIN)
    if kind not in ("PUB", "PUSH"):
        poller.register(socket, zmq.POLLIN)
    while True:
        ready = dict(poller.poll())
        if said in ready:
            line = said.recv()
            if not line:
                os._exit(0)
            socket.send_multipart(parts(line))
        if socket in ready:
            frames = socket.recv_multipart(copy=False)
            known = {}
            for name in ("User-Id", "X-Key", "X-Tags", "Identity", "Socket-Type"):
                try:
                    known[name] = frames[-1].get(name)
                except zmq.ZMQError:
                    pass
            message = [frame.bytes for frame in frames]
            say(came=text(message), of=known)
            if echo:
                socket.send_multipart(message)


def client(endpoint, server_key, secret, word):
    """Sends a word; prints the answer, or that it is refused."""
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.curve_serverkey = bytes.fromhex(server_key)
    socket.curve_secretkey = bytes.fromhex(secret)
    socket.curve_publickey = zmq.curve_public(zmq.utils.z85.encode(bytes.fromhex(secret)))
    socket.linger = 0
    monitor = socket.get_monitor_socket()
    socket.connect(endpoint)
    socket.send_string(word)
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(monitor, zmq.POLLIN)
    while True:
        ready = dict(poller.poll())
        if socket in ready:
            say(reply=text(socket.recv_multipart()))
            os._exit(0)
        if monitor in ready:
            event = recv_monitor_message(monitor)
            if event["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                say(refused=event["value"])
                os._exit(0)


def ask(kind, endpoint, *requests):
    """Asks as a handler of ZAP, all at once where the socket can; prints the replies."""
    socket = zmq.Context.instance().socket(getattr(zmq, kind))
    socket.linger = 0
    socket.connect(endpoint)
    before = [b""] if kind == "DEALER" else []
    if kind == "DEALER":
        for request in requests:
            socket.send_multipart(before + parts(request))
    for request in requests:
        if kind != "DEALER":
            socket.send_multipart(parts(request))
        say(reply=text(socket.recv_multipart()[len(before) :]))
    os._exit(0)


if __name__ == "__main__":
    import zmq.utils.z85

    {"server": server, "client": client, "ask": ask}[sys.argv[1]](*sys.argv[2:])
