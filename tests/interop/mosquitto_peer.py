"""mosquitto_sub and mosquitto_pub: a process for each subscriber, and for each message published.

Debian's speak no WebSocket.
"""

import json
import signal
import subprocess
import threading
from typing import Any

from curier import Message, QoS, Subscription
from tests.interop.peer import TIMEOUT, Connect, Peer, PeerClient

NAMES = {
    "message-expiry-interval": "message_expiry",
    "content-type": "content_type",
    "response-topic": "response_topic",
    "correlation-data": "correlation_data",
}


def property_options(message: Message, packet: str) -> list[str]:
    """The Properties of a message as ``-D`` options for PUBLISH or for the will."""
    found: list[list[str]] = [["payload-format-indicator", "1"]] if message.payload_is_text else []
    for theirs, ours in NAMES.items():
        value = getattr(message, ours)
        if value is not None:
            found.append([theirs, value.decode() if isinstance(value, bytes) else str(value)])
    found += [["user-property", name, value] for name, value in message.user_properties]
    return [word for words in found for word in ("-D", packet, *words)]


def parse_line(line: str) -> Message:
    """A message as ``-F '%x %j'`` prints it: the payload in hexadecimal digits, the rest as JSON."""
    payload, _, rest = line.partition(" ")
    told = dict(json.loads(rest, object_pairs_hook=list))
    properties: list[tuple[str, Any]] = told.get("properties", [])
    values: dict[str, Any] = {ours: dict(properties).get(theirs) for theirs, ours in NAMES.items()}
    if values["correlation_data"] is not None:
        values["correlation_data"] = values["correlation_data"].encode()
    return Message(
        told["topic"],
        bytes.fromhex(payload),
        QoS(told["qos"]),
        told["retain"] == 1,
        payload_is_text=dict(properties).get("payload-format-indicator") == 1,
        user_properties=tuple(tuple(pair) for pair in dict(properties).get("user-properties", ())),
        subscription_identifiers=tuple(
            value for name, value in properties if name == "subscription-identifier"
        ),
        **values,
    )


class MosquittoClient(PeerClient):
    """One mosquitto_sub, from its one ``subscribe`` on; ``publish`` runs mosquitto_pub."""

    def __init__(self, wish: Connect) -> None:
        super().__init__()
        self.wish = wish
        self.common = ["-h", "127.0.0.1", "-p", str(wish.port), "-k", str(wish.keep_alive)]
        self.common += ["-V", {3: "mqttv31", 4: "mqttv311", 5: "mqttv5"}[wish.version]]
        if wish.way.is_secure:
            self.common += ["--cafile", wish.way.ca]
        if wish.way.certificate:
            self.common += ["--cert", wish.way.certificate, "--key", wish.way.key]
        self.process: subprocess.Popen[str] | None = None
        self.reader: threading.Thread | None = None
        self.subscribed = threading.Event()
        self.granted: list[int] = []
        if wish.will is not None:
            self.subscribe(Subscription(f"nothing/{wish.client_id}"))

    def subscribe(self, *subscriptions: Subscription) -> list[int]:
        assert self.process is None, "mosquitto_sub subscribes once"
        wish = self.wish
        # Its lines must come one by one, and it tells of SUBACK only with -d.
        command = ["stdbuf", "-oL", "mosquitto_sub", *self.common, "-i", wish.client_id, "-d", "-F", "%x %j"]
        if not wish.clean:
            command.append("-c")
        if wish.topic_alias_maximum:
            command += ["-D", "connect", "topic-alias-maximum", str(wish.topic_alias_maximum)]
        if wish.will is not None:
            will = wish.will.message
            command += ["--will-topic", will.topic, "--will-payload", will.payload.decode()]
            command += ["--will-qos", str(int(will.qos)), *(["--will-retain"] if will.retain else [])]
            if wish.version == 5:
                command += property_options(will, "will")
                if wish.will.delay:
                    command += ["-D", "will", "will-delay-interval", str(wish.will.delay)]
        command += ["-q", str(int(subscriptions[0].qos))]
        if subscriptions[0].identifier is not None:
            command += ["-D", "subscribe", "subscription-identifier", str(subscriptions[0].identifier)]
        for one in subscriptions:
            command += ["-t", one.topic_filter]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, encoding="utf-8", errors="replace"
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        assert self.subscribed.wait(TIMEOUT), "no SUBACK"
        return self.granted

    def _read(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("Subscribed (mid"):
                self.granted = [int(code) for code in line.rpartition(": ")[2].split(", ")]
                self.subscribed.set()
            elif line.endswith("received PINGRESP\n"):
                self.pings.release()
            elif line.endswith("}\n"):
                self.received.put(parse_line(line))

    def unsubscribe(self, topic_filter: str) -> None:
        """mosquitto_sub with -U; it needs something to subscribe to, and ends with that."""
        self.disconnect()
        command = ["mosquitto_sub", *self.common, "-i", self.wish.client_id, "-c", "-E"]
        command += ["-U", topic_filter, "-t", f"nothing/{self.wish.client_id}"]
        subprocess.run(command, check=True, timeout=TIMEOUT)

    def publish(self, *messages: Message) -> None:
        for one in messages:
            command = ["mosquitto_pub", *self.common, "-t", one.topic, "-q", str(int(one.qos)), "-s"]
            if one.retain:
                command.append("-r")
            if self.wish.version == 5:
                command += property_options(one, "publish")
            if not one.payload:
                command[command.index("-s")] = "-n"
            subprocess.run(command, input=one.payload, check=True, timeout=TIMEOUT)

    def disconnect(self) -> None:
        self._end(signal.SIGTERM)  # it sends DISCONNECT

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self.process is None or self.reader is None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            # Its signal handler takes locks: a signal in the middle of its work can stop it for good.
            self.process.kill()
            self.process.wait(TIMEOUT)
        self.reader.join(TIMEOUT)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = self.reader = None


class MosquittoPeer(Peer):
    subscribes_to_connect = True

    def connect(self, wish: Connect) -> MosquittoClient:
        return MosquittoClient(wish)

    def close(self) -> None:
        """They share nothing."""
