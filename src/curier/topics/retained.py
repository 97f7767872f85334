"""Retained messages by Topic Name, and the walk over those that a Topic Filter matches.

Every level of a Topic Name is a node; a walk descends only where the filter matches and can pause anywhere,
since a subscriber may be slower than a million retained messages. Nodes are numbered as they are born and a
node keeps its children in that order, so a paused walk need only remember the number it came to: however the
tree changed meanwhile, it finds its place again by bisection. A removed child stays in the list as dead until
the dead are the majority. Spec: sections 3.3.1.3 and 4.7.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar, cast, final

from mypy_extensions import i64

V = TypeVar("V")

FEW_CHILDREN: Final = 8  # up to which a scan serves and a dict would only cost memory


@final
class Node:
    """One level of Topic Names; with a value, if a Topic Name ends here. It does not know its parent, so
    nothing here is a cycle. Not ``acyclic`` all the same: freeing a chain of those damages memory.
    """

    __slots__ = ("born", "by_level", "children", "dead", "is_dead", "level", "only", "value")

    def __init__(self, level: bytes, born: i64) -> None:
        self.level = level
        self.born: i64 = born  # 0: the root
        self.is_dead: bool = False
        self.value: object = None
        self.only: Node | None = None  # the child, where there is one
        self.children: list[Node] | None = None  # where there are more, ascending by birth
        self.by_level: dict[bytes, Node] | None = None  # the living children, if they are not few
        self.dead: i64 = 0  # how many of the children are

    def count(self) -> i64:
        """How many children there are, the dead included."""
        if self.children is not None:
            return len(self.children)
        return 1 if self.only is not None else 0

    def at(self, position: i64) -> Node:
        """One of the children."""
        if self.children is not None:
            return self.children[position]
        assert self.only is not None
        return self.only

    def child(self, level: bytes) -> Node | None:
        if self.by_level is not None:
            return self.by_level.get(level)
        if self.children is not None:
            for node in self.children:
                if node.level == level and not node.is_dead:
                    return node
        elif self.only is not None and self.only.level == level:
            return self.only
        return None

    def make_child(self, level: bytes, born: i64) -> Node:
        node: Node = Node(level, born)
        if self.children is None:
            if self.only is None:
                self.only = node
            else:
                self.children = [self.only, node]
                self.only = None
            return node
        self.children.append(node)
        if self.by_level is not None:
            self.by_level[level] = node
        elif len(self.children) > FEW_CHILDREN:
            self.by_level = {child.level: child for child in self.children if not child.is_dead}
        return node

    def cut_child(self, node: Node) -> None:
        node.is_dead = True
        if self.children is None:
            self.only = None
            return
        self.dead += 1
        if self.by_level is not None:
            del self.by_level[node.level]
        if self.dead * 2 > len(self.children):
            living = [child for child in self.children if not child.is_dead]
            self.children = living if len(living) > 1 else None
            self.only = living[0] if len(living) == 1 else None
            self.dead = 0
            if len(living) <= FEW_CHILDREN:
                self.by_level = None

    def is_bare(self) -> bool:
        return self.value is None and self.children is None and self.only is None

    def position_after(self, born: i64) -> i64:
        """Index of the first child born later than ``born``."""
        low: i64 = 0
        high = self.count()
        while low < high:
            middle = (low + high) >> 1
            if self.at(middle).born <= born:
                low = middle + 1
            else:
                high = middle
        return low


@final
class _Frame:
    """How far a walk came among the children of one node."""

    __slots__ = ("depth", "last_born", "node", "position")

    def __init__(self, node: Node, depth: i64) -> None:
        self.node = node
        self.depth: i64 = depth  # index of the filter's level that the children have to match
        self.position: i64 = 0  # of the next child; valid only until the tree changes
        self.last_born: i64 = 0  # of the child before it


@final
class RetainedWalk(Generic[V]):
    """A walk over the values whose Topic Names match one Topic Filter; made by ``RetainedTree.walk``.

    The tree may change between calls of ``next``. A topic that is there all the time is met exactly once,
    with the value it has then; one that is removed before it is met is not met; one that appears after the
    walk began may be missed. So a walk ends, however fast topics come and go. Order: none in particular.
    """

    __slots__ = ("_levels", "_newest", "_stack", "done")

    def __init__(self, root: Node, topic_filter: bytes, newest: i64) -> None:
        self._levels = topic_filter.split(b"/")
        self._newest: i64 = newest  # the last node born before the walk
        self._stack: list[_Frame] = [_Frame(root, 0)]
        self.done = False

    def next(self, limit: int) -> list[V]:
        """At most ``limit`` (1 or more) further values.

        One call looks at about 8 times ``limit`` nodes at most; where few of them match, it returns fewer
        values or none although there are more to come. Only ``done`` tells the end.
        """
        found: list[V] = []
        stack = self._stack
        levels = self._levels
        for frame in stack:
            frame.position = frame.node.position_after(frame.last_born)
        steps: i64 = 8 * limit + 64
        while stack and steps > 0 and len(found) < limit:
            frame = stack[-1]
            level = levels[frame.depth]
            if level == b"+" or level == b"#":
                steps -= self._among_children(frame, level == b"#", found, steps, limit)
                continue
            steps -= 1
            stack.pop()
            child = frame.node.child(level)
            if child is not None:
                self._visit(child, frame.depth + 1, found)
        self.done = not stack
        return found

    def _visit(self, node: Node, depth: i64, found: list[V]) -> bool:
        """Look at a node whose level matches; is there, at ``depth`` of the filter, more to do below it?"""
        levels = self._levels
        count: i64 = len(levels)
        ends_here = depth == count or levels[depth] == b"#"  # '#' includes the parent
        value = node.value
        if ends_here and value is not None:
            found.append(cast(V, value))
        if depth == count or (node.children is None and node.only is None):
            return False
        self._stack.append(_Frame(node, depth))
        return True

    def _among_children(self, frame: _Frame, is_hash: bool, found: list[V], steps: i64, limit: i64) -> i64:
        """Go on among the children of a node, all of which the wildcard matches, as far as one of them has
        more below it; the frame is popped when there is none left. Returns how many were looked at.

        Dead ones have neither value nor children, so nothing comes of them.
        """
        node = frame.node
        count = node.count()
        position = frame.position
        first = position
        depth = frame.depth if is_hash else frame.depth + 1
        is_root = not node.born
        ends_here = depth == len(self._levels) or self._levels[depth] == b"#"
        while position - first < steps and len(found) < limit:
            child = node.at(position) if position < count else None
            if child is None or child.born > self._newest:  # as are all behind it
                self._stack.pop()
                break
            position += 1
            frame.last_born = child.born
            if is_root and child.level.startswith(b"$"):  # [MQTT-4.7.2-1]
                continue
            if child.children is None and child.only is None:  # as most are
                value = child.value
                if ends_here and value is not None:
                    found.append(cast(V, value))
                continue
            if self._visit(child, depth, found):
                break
        frame.position = position
        return position - first + 1


@final
class Branch:
    """A level below another one, as ``RetainedTree.level`` tells of it."""

    __slots__ = ("has_more", "has_value", "level")

    def __init__(self, level: bytes, has_value: bool, has_more: bool) -> None:
        self.level = level
        self.has_value = has_value  # a topic ends here
        self.has_more = has_more  # there are levels below it


@final
class RetainedTree(Generic[V]):
    """Values (not None) by Topic Name; ``len`` counts them. ``set``, ``get``, ``remove`` cost O(levels).

    ``nodes`` counts the levels that the topics need, shared beginnings once: a topic of many levels is small
    on the wire and large in memory, 200 to 300 bytes a node, so whoever limits memory counts these too.
    """

    __slots__ = ("_births", "_root", "_size", "nodes")

    def __init__(self) -> None:
        self.nodes = 0
        self._root: Node = Node(b"", 0)
        self._births: i64 = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def set(self, topic: bytes, value: V) -> V | None:
        """Put the value in place of the topic's previous one, which is returned; None if there was none."""
        node = self._root
        for level in topic.split(b"/"):
            child = node.child(level)
            if child is None:
                self._births += 1
                child = node.make_child(level, self._births)
                self.nodes += 1
            node = child
        previous = node.value
        node.value = value
        if previous is None:
            self._size += 1
        return cast("V | None", previous)

    def get(self, topic: bytes) -> V | None:
        """The value of exactly this topic, or None."""
        node = self.find(topic)
        return None if node is None else cast("V | None", node.value)

    def remove(self, topic: bytes) -> V | None:
        """Forget the topic; the value it had, or None."""
        node = self._root
        path: list[Node] = []  # parents of the levels
        for level in topic.split(b"/"):
            child = node.child(level)
            if child is None:
                return None
            path.append(node)
            node = child
        previous = node.value
        if previous is None:
            return None
        node.value = None
        self._size -= 1
        while path and node.is_bare():
            parent = path.pop()
            parent.cut_child(node)
            self.nodes -= 1
            node = parent
        return cast(V, previous)

    def may_match(self, topic_filter: bytes) -> bool:
        """Is a walk worth its while? False only where no topic begins like the filter."""
        if not self._size:
            return False
        node = self._root
        end = topic_filter.find(b"/")
        first = topic_filter if end < 0 else topic_filter[:end]
        if first == b"+" or first == b"#":
            return True
        if node.child(first) is None:  # mostly so where little is retained
            return False
        for level in topic_filter.split(b"/"):
            if level == b"+" or level == b"#":
                return True
            child = node.child(level)
            if child is None:
                return False
            node = child
        return node.value is not None

    def level(self, prefix: bytes | None, after: int, limit: int) -> tuple[list[Branch], int]:
        """At most ``limit`` of the levels below ``prefix`` (None: at the top) that were born after ``after``,
        in the order of their birth, and what to say as ``after`` to get further ones; 0: there are no more.
        Looks at 8 times as many at most, so it may return few although there are more.
        """
        node = self._root if prefix is None else self.find(prefix)
        found: list[Branch] = []
        if node is None:
            return found, 0
        count = node.count()
        position = node.position_after(after)
        steps: i64 = 8 * limit
        while position < count and len(found) < limit and steps > 0:
            child = node.at(position)
            if not child.is_dead:
                found.append(
                    Branch(
                        child.level,
                        child.value is not None,
                        child.children is not None or child.only is not None,
                    )
                )
            after = child.born
            position += 1
            steps -= 1
        return found, after if position < count else 0

    def walk(self, topic_filter: bytes) -> RetainedWalk[V]:
        """Begin to walk over the values whose Topic Names match the well-formed, non-shared Topic Filter."""
        return RetainedWalk(self._root, topic_filter, self._births)

    def find(self, topic: bytes) -> Node | None:
        """Where the value of this topic is, or would be: until it is dead. None: nowhere yet."""
        node = self._root
        for level in topic.split(b"/"):
            child = node.child(level)
            if child is None:
                return None
            node = child
        return node
