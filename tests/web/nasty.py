"""Names and payloads that break views: each goes through all operations that have any."""

TOPICS = (
    *("/", "//", "/a", "a/", "a//b", " a ", "..", "a/../b", "a%2Fb", "a;b:c,d", "?x=1&y=2", "$x"),
    *("\u202etxet", "שלום/hello", "👨‍👩‍👧", "⚠️", "e\u0301", "\x1b[31m"),
    *("<img src=x onerror=alert(1)>", '"\\'),
    "x" * 60_000,
    "/".join("l" * 1000),
)  # fmt: skip
CLIENT_IDS = (*TOPICS[:-1], "=1+1", "#", "+", "c" * 1000, "none", "null", "true")
PAYLOADS = (
    *(b"\x00", b"valid, and then \xff", "\N{FAMILY}".encode() * 99, b"9007199254740993", b"NaN"),
    *(b'{"a":1,"a":2}', b"[" * 10_000, b"\xff\xd8\xff\xe0JFIF", b"\x1f\x8b\x08"),
)
