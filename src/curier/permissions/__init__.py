"""What a client may do, by rules of a file. The rules themselves are pure and synchronous."""

from curier.permissions.rule_file import RuleFile

__all__ = ["RuleFile"]
