"""What the tour says in English."""

from __future__ import annotations

from typing import Final

from curier.tour.language import Language, Text

ENGLISH: Final = Language(
    intro=(
        "MQTT has three flows, QoS 0, 1 and 2. Here they are, and what each loses or doubles when one "
        "packet is lost. `gateway` publishes, `dash` subscribes, and the broker keeps a session for both."
        " Each scene is a real run of curier's broker and clients in virtual time. A packet takes 10 ms; "
        "5 seconds after one is lost the network fails, and 5 seconds later the client is back. That "
        "matters: MQTT sends again when a client connects again, and only then [MQTT-4.4.0-1]."
    ),
    scenes={
        "qos0": Text(
            "QoS 0: at most once",
            (
                "gateway sends PUBLISH, and forgets the message.",
                "The broker passes it on to dash, and forgets it as well. Nobody acknowledges anything.",
            ),
        ),
        "qos0-publish": Text(
            "QoS 0, and the PUBLISH is lost",
            (
                "The PUBLISH never arrives. Nobody waits for an answer, so nobody notices.",
                "When gateway comes back, it has nothing to send again: the message is gone.",
            ),
        ),
        "qos1": Text(
            "QoS 1: at least once",
            (
                "gateway sends PUBLISH with a Packet Identifier (#1), and keeps the message.",
                "The broker takes it, sends it on, and answers PUBACK #1. That is a promise: now "
                "gateway may forget the message.",
                "dash acknowledges what it got in the same way. That is another flow, with "
                "identifiers of its own.",
            ),
        ),
        "qos1-publish": Text(
            "QoS 1, and the PUBLISH is lost",
            (
                "The PUBLISH never arrives. gateway waits for a PUBACK, as long as the connection lasts.",
                "The connection fails. gateway comes back to its session and sends the PUBLISH again."
                " DUP says: perhaps you have it already.",
                "The broker does not have it, so this is the first time that dash gets it.",
            ),
        ),
        "qos1-puback": Text(
            "QoS 1, and the PUBACK is lost",
            (
                "The broker has the message, and so has dash. Only the PUBACK is lost, which gateway "
                "cannot tell from a lost PUBLISH.",
                "So it does the same: it comes back and sends the PUBLISH again, with DUP.",
                "The broker has finished with #1 and remembers nothing of it. It takes this for "
                "another message, and dash gets it again (as #2). QoS 1 doubles rather "
                "than lose.",
            ),
        ),
        "qos1-receiver": Text(
            "QoS 1, and the PUBACK of the subscriber is lost",
            (
                "It can happen on the other leg, too. gateway has its PUBACK, and nothing to do with "
                "the rest.",
                "The broker waits for the PUBACK of dash. When dash is back, it sends the PUBLISH "
                "again, with DUP.",
                "The program behind dash gets the message twice. DUP is no proof of that: the first "
                "PUBLISH might have been lost.",
            ),
        ),
        "qos2": Text(
            "QoS 2: exactly once",
            (
                "gateway sends PUBLISH #1, and keeps the message.",
                "The broker takes it, notes that #1 is taken, and answers PUBREC: received.",
                "gateway forgets the message, keeps the number, and sends PUBREL: I shall not send it again.",
                "The broker forgets the number, and answers PUBCOMP. Now #1 may mean something else.",
                "Between broker and dash the same four packets go by. They do not wait for the other leg.",
            ),
        ),
        "qos2-publish": Text(
            "QoS 2, and the PUBLISH is lost",
            (
                "The PUBLISH never arrives; gateway waits, the connection fails.",
                "gateway comes back and sends it again, with DUP. The broker has no #1 noted, so it is new.",
                "The rest is as ever, and dash gets it once.",
            ),
        ),
        "qos2-pubrec": Text(
            "QoS 2, and the PUBREC is lost",
            (
                "The broker has the message, and dash has it. gateway does not know.",
                "It comes back and sends the PUBLISH again: same number, DUP. With QoS 1 this was the"
                " moment when the message was doubled.",
                "But #1 is still noted: the broker knows that it has this one. It answers PUBREC and "
                "passes nothing on.",
            ),
        ),
        "qos2-pubrel": Text(
            "QoS 2, and the PUBREL is lost",
            (
                "The message has arrived. All that is left is a number, noted on both sides.",
                "gateway comes back and sends PUBREL again, not the PUBLISH: it has no message any more.",
                "The broker forgets the number, and answers PUBCOMP.",
            ),
        ),
        "qos2-pubcomp": Text(
            "QoS 2, and the PUBCOMP is lost",
            (
                "The broker has forgotten the number already; gateway does not know that.",
                "It comes back and sends PUBREL again.",
                "The broker finds no #1, and says so (0x92). That is no failure: for gateway it is "
                "the end, too.",
            ),
        ),
    },
    outcome="The PUBLISH left gateway {sent}; the program behind dash {received}; {knows}.",
    received=("never got the message", "got the message {}"),
    knows=("gateway was told nothing", "gateway was told that it is taken"),
    once="once",
    times="{} times",
    never="never",
    go_on="Enter goes on, q and Enter ends the tour: ",
    summary="How often dash got the message:",
    lesson=(
        "QoS 0 loses, QoS 1 doubles, QoS 2 does neither, for twice as many packets. QoS 1 and 2 hold as "
        "long as both sides keep the session: who connects with Clean Start, or comes back too late, "
        "begins anew."
    ),
)
