"""MQTT.js: all its clients in one node process, which ``js/driver.js`` lets Python drive."""

import base64
import itertools
import json
import shutil
import subprocess
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from curier import Message, QoS, Subscription
from tests.interop.peer import TIMEOUT, Connect, Peer, PeerClient

DRIVER = Path(__file__).parent / "js" / "driver.js"

NAMES = {
    "messageExpiryInterval": "message_expiry",
    "contentType": "content_type",
    "responseTopic": "response_topic",
}


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def message_properties(message: Message) -> dict[str, Any]:
    """The 5.0 Properties of a message, as MQTT.js wants them: User Properties as lists by name."""
    found = {theirs: getattr(message, ours) for theirs, ours in NAMES.items()}
    found = {name: value for name, value in found.items() if value is not None}
    if message.payload_is_text:
        found["payloadFormatIndicator"] = True
    if message.correlation_data is not None:
        found["correlationData"] = encoded(message.correlation_data)
    by_name: dict[str, list[str]] = {}
    for name, value in message.user_properties:
        by_name.setdefault(name, []).append(value)
    if by_name:
        found["userProperties"] = by_name
    return found


def received(told: dict[str, Any]) -> Message:
    properties = told["properties"]
    correlation = properties.get("correlationData")
    pairs: list[tuple[str, str]] = []
    for name, value in properties.get("userProperties", {}).items():
        pairs += [(name, one) for one in (value if isinstance(value, list) else [value])]
    identifiers = properties.get("subscriptionIdentifier", [])
    return Message(
        told["topic"],
        base64.b64decode(told["payload"]),
        QoS(told["qos"]),
        told["retain"],
        payload_is_text=bool(properties.get("payloadFormatIndicator")),
        correlation_data=None if correlation is None else base64.b64decode(correlation),
        user_properties=tuple(pairs),
        subscription_identifiers=tuple(identifiers if isinstance(identifiers, list) else [identifiers]),
        **{ours: properties.get(theirs) for theirs, ours in NAMES.items()},
    )


class Node:
    """The node process; ``call`` may be used from any thread."""

    def __init__(self) -> None:
        node = shutil.which("node")
        assert node is not None
        self.popen = subprocess.Popen([node, str(DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.clients: dict[str, MqttjsClient] = {}
        self.numbers = itertools.count(1)
        self.answers: dict[int, Future[Any]] = {}
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            told = json.loads(line)
            if "message" in told:
                self.clients[told["client"]].received.put(received(told["message"]))
            elif "ping" in told:
                self.clients[told["client"]].pings.release()
            elif "error" in told:
                self.answers.pop(told["id"]).set_exception(AssertionError(told["error"]))
            else:
                self.answers.pop(told["id"]).set_result(told["result"])

    def call(self, client: str, name: str, timeout: float = TIMEOUT, **arguments: Any) -> Any:
        assert self.popen.stdin is not None
        number = next(self.numbers)
        answer = self.answers[number] = Future()
        order = {"id": number, "client": client, "call": name, "arguments": arguments}
        self.popen.stdin.write(json.dumps(order).encode() + b"\n")
        self.popen.stdin.flush()
        return answer.result(timeout)

    def close(self) -> None:
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self.popen.stdin.close()  # it ends with its input
        self.popen.wait(TIMEOUT)
        self.reader.join(TIMEOUT)
        self.popen.stdout.close()


class MqttjsClient(PeerClient):
    """An ``MqttClient`` in the node process."""

    def __init__(self, node: Node, wish: Connect) -> None:
        super().__init__()
        self.node = node
        self.name = f"client {next(node.numbers)}"
        self.version = wish.version
        self.is_connected = True
        node.clients[self.name] = self
        options: dict[str, Any] = {
            "port": wish.port,
            "protocolVersion": wish.version,
            "clientId": wish.client_id,
            "clean": wish.clean,
            "keepalive": wish.keep_alive,
            "protocol": wish.way.scheme,
            "path": wish.way.path,
        }
        for name, file in (("ca", wish.way.ca), ("cert", wish.way.certificate), ("key", wish.way.key)):
            if file:
                options[name] = Path(file).read_text()
        if wish.version == 3:
            options["protocolId"] = "MQIsdp"
        if wish.version == 5:
            options["properties"] = {"sessionExpiryInterval": wish.expiry}
            if wish.topic_alias_maximum:
                options["properties"]["topicAliasMaximum"] = wish.topic_alias_maximum
                options["autoAssignTopicAlias"] = True
        if wish.will is not None:
            of = wish.will.message
            will: dict[str, Any] = {"topic": of.topic, "payload": encoded(of.payload)}
            will |= {"qos": int(of.qos), "retain": of.retain}
            if wish.version == 5:
                will["properties"] = message_properties(of) | {"willDelayInterval": wish.will.delay}
            options["will"] = will
        connack = node.call(self.name, "connect", **options)
        self.session_present = None if wish.version == 3 else connack["sessionPresent"]

    def subscribe(self, *subscriptions: Subscription) -> list[int]:
        filters = {
            one.topic_filter: {
                "qos": int(one.qos),
                "nl": one.no_local,
                "rap": one.retain_as_published,
                "rh": int(one.retain_handling),
            }
            for one in subscriptions
        }
        identifier = subscriptions[0].identifier
        properties = {"subscriptionIdentifier": identifier} if identifier is not None else None
        granted: list[int] = self.node.call(self.name, "subscribe", filters=filters, properties=properties)
        return granted

    def unsubscribe(self, topic_filter: str) -> None:
        self.node.call(self.name, "unsubscribe", filter=topic_filter)

    def publish(self, *messages: Message) -> None:
        orders = []
        for one in messages:
            options: dict[str, Any] = {"qos": int(one.qos), "retain": one.retain}
            if self.version == 5:
                options["properties"] = message_properties(one)
            orders.append({"topic": one.topic, "payload": encoded(one.payload), "options": options})
        self.node.call(self.name, "publish", messages=orders)

    def aliased(self) -> int:
        """How many messages came with a Topic Alias in place of their topic."""
        found: int = self.node.call(self.name, "aliased")
        return found

    def disconnect(self) -> None:
        if self.is_connected:
            self.is_connected = False
            self.node.call(self.name, "disconnect")

    def kill(self) -> None:
        self.is_connected = False
        self.node.call(self.name, "kill")


class MqttjsPeer(Peer):
    def __init__(self) -> None:
        self.node = Node()

    def connect(self, wish: Connect) -> MqttjsClient:
        return MqttjsClient(self.node, wish)

    def close(self) -> None:
        self.node.close()
