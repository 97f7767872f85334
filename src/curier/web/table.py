"""The operations of the API: one table, from which come routes, checks, OpenAPI, its page, and the client.

All parameters stand in the query or in a JSON body, never in the path: a Client Identifier or a topic may
have any character, slashes and dots among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from msgspec import Struct

from curier.web import (
    backup_forms,
    bridge_forms,
    cluster_forms,
    door_forms,
    drawing_forms,
    fate_forms,
    fault_forms,
    forms,
    pin_forms,
    retained_forms,
    session_forms,
    tour_forms,
)
from curier.web.roles import Role

PREFIX: Final = "/api/v1"

Asked = TypeVar("Asked", bound=Struct)
Answered = TypeVar("Answered", bound=Struct)


@dataclass(frozen=True)
class Operation(Generic[Asked, Answered]):
    """One thing that can be asked for. A GET has its parameters in the query, a POST in its body, and changes
    something unless it ``only_looks``. ``summary`` is one sentence.
    """

    method: str
    path: str
    role: Role
    summary: str
    asked: type[Asked]
    answered: type[Answered]
    only_looks: bool = False
    called: str = ""
    """What ``curier admin`` calls it, where that is not its path."""

    @property
    def changes(self) -> bool:
        """Whether it changes something, which is noted."""
        return self.method != "GET" and not self.only_looks

    @property
    def command(self) -> str:
        """The command below ``curier admin`` that asks for it."""
        return self.called or self.path.strip("/").replace("/", "-")

    @property
    def name(self) -> str:
        """What OpenAPI calls it."""
        return f"{self.method.lower()}_{self.path.strip('/').replace('/', '_')}"


OVERVIEW: Final = Operation(
    "GET", "/overview", Role.VIEWER, "How the broker is, and what is wrong.", forms.Nothing, forms.Overview
)
CLIENTS: Final = Operation(
    "GET",
    "/clients",
    Role.VIEWER,
    "Clients, in pages: searched and sorted.",
    forms.ClientsQuery,
    forms.Clients,
)
CLIENT: Final = Operation(
    "GET", "/client", Role.VIEWER, "One client: its session and connection.", forms.ClientQuery, forms.Client
)
DISCONNECT: Final = Operation(
    "POST",
    "/client/disconnect",
    Role.OPERATOR,
    "Disconnect a client (0x98).",
    forms.Disconnect,
    forms.Done,
    called="disconnect",
)
FORGET: Final = Operation(
    "POST",
    "/client/forget",
    Role.OPERATOR,
    "End a session, with its subscriptions and all that waits in it; its client is disconnected.",
    forms.Forget,
    forms.Done,
    called="forget",
)
ENDINGS: Final = Operation(
    "GET",
    "/client/endings",
    Role.VIEWER,
    "Why the last connections of a client ended, or were refused.",
    session_forms.EndingsQuery,
    session_forms.EndingsAnswer,
    called="endings",
)
QUEUE: Final = Operation(
    "GET",
    "/session/queue",
    Role.VIEWER,
    "What waits in a session, in pages, and what was sent and is not acknowledged.",
    session_forms.QueueQuery,
    session_forms.Queue,
    called="queue",
)
PURGE: Final = Operation(
    "POST",
    "/session/purge",
    Role.OPERATOR,
    "Drop what waits in a session, or one message of it.",
    session_forms.Purge,
    session_forms.Purged,
    called="purge",
)
BANS: Final = Operation("GET", "/bans", Role.VIEWER, "Who is banned.", forms.Nothing, forms.Bans)
BAN: Final = Operation(
    "POST",
    "/bans",
    Role.OPERATOR,
    "Ban somebody for a while, and disconnect who is there.",
    forms.NewBan,
    forms.Done,
    called="ban",
)
LIFT: Final = Operation(
    "POST", "/bans/lift", Role.OPERATOR, "End a ban.", forms.Lift, forms.Lifted, called="lift"
)
SUBSCRIPTIONS: Final = Operation(
    "GET",
    "/subscriptions",
    Role.VIEWER,
    "The subscriptions of a client, in pages.",
    forms.SubscriptionsQuery,
    forms.Subscriptions,
)
SUBSCRIBERS: Final = Operation(
    "GET",
    "/subscribers",
    Role.VIEWER,
    "Who would get a message on a topic, in pages.",
    forms.SubscribersQuery,
    forms.Subscribers,
)

LEVEL: Final = Operation(
    "GET",
    "/topics/level",
    Role.VIEWER,
    "The levels below a topic in the tree of those retained, or published to lately, in pages.",
    forms.LevelQuery,
    forms.Level,
    called="level",
)
TOPICS: Final = Operation(
    "GET",
    "/topics",
    Role.VIEWER,
    "Topics with a retained message, or published to lately, in pages.",
    forms.TopicsQuery,
    forms.Topics,
)
RETAINED: Final = Operation(
    "GET",
    "/retained",
    Role.VIEWER,
    "The retained message of a topic.",
    forms.RetainedQuery,
    forms.RetainedMessage,
)
UNRETAIN: Final = Operation(
    "POST",
    "/retained/delete",
    Role.OPERATOR,
    "Delete the retained message of a topic; its subscribers are sent nothing.",
    forms.TopicForm,
    forms.RetainedMessage,
    called="unretain",
)
RESTORE: Final = Operation(
    "POST",
    "/retained/restore",
    Role.OPERATOR,
    "Undo a deletion or a pruning of retained messages, as long as it is remembered.",
    retained_forms.Restore,
    retained_forms.Restored,
    called="restore",
)
PRUNE: Final = Operation(
    "POST",
    "/retained/prune",
    Role.OPERATOR,
    "Delete old or large retained messages, or count them first; their subscribers are sent nothing.",
    retained_forms.Prune,
    retained_forms.Pruned,
    called="prune",
)
PINS: Final = Operation(
    "GET",
    "/pins",
    Role.VIEWER,
    "The topics of which the last values are kept.",
    forms.Nothing,
    pin_forms.Pins,
)
PIN: Final = Operation(
    "POST",
    "/pins",
    Role.OPERATOR,
    "Keep the last values of topics, in memory, from now on.",
    pin_forms.Pin,
    forms.Done,
    called="pin",
)
UNPIN: Final = Operation(
    "POST",
    "/pins/remove",
    Role.OPERATOR,
    "Keep the last values of topics no more.",
    pin_forms.Unpin,
    forms.Done,
    called="unpin",
)
PAST: Final = Operation(
    "GET",
    "/topic/past",
    Role.VIEWER,
    "The last values of a pinned topic.",
    pin_forms.PastQuery,
    pin_forms.Past,
    called="past",
)
PUBLISH: Final = Operation(
    "POST", "/publish", Role.OPERATOR, "Publish a message as the broker.", forms.Publish, forms.Done
)
ACL_TEST: Final = Operation(
    "POST",
    "/acl/test",
    Role.VIEWER,
    "Ask the rules whether a client may do something.",
    forms.AclTest,
    forms.AclAnswer,
    only_looks=True,
    called="acl-test",
)
FATE: Final = Operation(
    "GET",
    "/fate",
    Role.VIEWER,
    "What became of messages: who got them and when, who did not and why, who is waited for.",
    fate_forms.FateQuery,
    fate_forms.Fates,
)
PACKET: Final = Operation(
    "POST",
    "/packet",
    Role.VIEWER,
    "Take a Control Packet apart: its fields, and the rules they fulfil or break.",
    forms.Packet,
    forms.Fields,
    only_looks=True,
)
DRAWING: Final = Operation(
    "POST",
    "/drawing",
    Role.VIEWER,
    "Have a flow as a file: SVG, Mermaid, or a capture of its packets (pcapng).",
    drawing_forms.DrawingForm,
    drawing_forms.Drawing,
    only_looks=True,
)
DOORS: Final = Operation(
    "GET",
    "/doors",
    Role.VIEWER,
    "Listeners by which clients of the pages may come in.",
    forms.Nothing,
    door_forms.Doors,
)
TOUR: Final = Operation(
    "GET",
    "/tour",
    Role.VIEWER,
    "The flows of QoS 0, 1 and 2, played and explained.",
    tour_forms.TourQuery,
    tour_forms.Tour,
)
FAULTS: Final = Operation(
    "GET",
    "/faults",
    Role.VIEWER,
    "The rules by which a laboratory breaks its connections (--lab), and what they did last.",
    forms.Nothing,
    fault_forms.FaultRules,
)
ADD_FAULT: Final = Operation(
    "POST",
    "/faults",
    Role.ADMIN,
    "Break connections by one more rule, in a laboratory.",
    fault_forms.NewFault,
    fault_forms.FaultRule,
    called="add-fault",
)
REMOVE_FAULT: Final = Operation(
    "POST",
    "/faults/remove",
    Role.ADMIN,
    "Break connections by a rule, or by all, no more.",
    fault_forms.NoFault,
    forms.Done,
    called="remove-fault",
)
SETTINGS: Final = Operation(
    "GET", "/config", Role.ADMIN, "All settings, and where each comes from.", forms.Nothing, forms.Settings
)
CHECK: Final = Operation(
    "POST",
    "/config/check",
    Role.ADMIN,
    "Say what would be wrong if the settings were read again now.",
    forms.Nothing,
    forms.Checked,
    only_looks=True,
    called="check",
)
RELOAD: Final = Operation(
    "POST",
    "/config/reload",
    Role.ADMIN,
    "Read the settings again, as SIGHUP does.",
    forms.Nothing,
    forms.Done,
    called="reload",
)
BACKUPS: Final = Operation(
    "GET",
    "/backups",
    Role.ADMIN,
    "The backups in the data directory.",
    forms.Nothing,
    backup_forms.Backups,
)
BACKUP: Final = Operation(
    "POST",
    "/backups",
    Role.ADMIN,
    "Copy the state of the broker, as it is at one moment, into its data directory.",
    forms.Nothing,
    backup_forms.BackupFile,
    called="backup",
)
LISTENERS: Final = Operation(
    "GET", "/listeners", Role.VIEWER, "Listeners and their certificates.", forms.Nothing, forms.Listeners
)
BRIDGES: Final = Operation(
    "GET",
    "/bridges",
    Role.VIEWER,
    "Bridges to other brokers: which are connected, since when, and why others are not.",
    forms.Nothing,
    bridge_forms.Bridges,
)
CLUSTER: Final = Operation(
    "GET",
    "/cluster",
    Role.VIEWER,
    "The cluster as this node knows it: nodes, their leases, how far the log is read, what is wrong.",
    forms.Nothing,
    cluster_forms.Cluster,
)
DRAIN: Final = Operation(
    "POST",
    "/cluster/drain",
    Role.ADMIN,
    "Give all sessions to the other nodes of the cluster, a few at a time, and end.",
    cluster_forms.Drain,
    forms.Done,
    called="drain",
)
LOG_LEVELS: Final = Operation(
    "GET", "/log/levels", Role.VIEWER, "How much is logged of each topic.", forms.Nothing, forms.LogLevels
)
SET_LOG_LEVEL: Final = Operation(
    "POST",
    "/log/levels",
    Role.ADMIN,
    "Log more or less, for now.",
    forms.SetLogLevel,
    forms.LogLevels,
    called="set-log-level",
)
HISTORY: Final = Operation(
    "GET",
    "/history",
    Role.VIEWER,
    "How the broker was, up to a day back.",
    forms.HistoryQuery,
    forms.HistoryAnswer,
)
SELF: Final = Operation("GET", "/self", Role.VIEWER, "Who asks.", forms.Nothing, forms.Self)

OPERATIONS: Final[tuple[Operation[Struct, Struct], ...]] = tuple(
    one for one in globals().values() if isinstance(one, Operation)
)
"""All of them, in the order above."""
