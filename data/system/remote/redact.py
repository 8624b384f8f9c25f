"""Remove credentials from texts that are printed."""

from __future__ import annotations

import os
import re

HIDDEN = "***"
SECRETS = re.compile(
    r"SECRET|TOKEN|PASSWORD|ACCESS_KEY|ACCOUNT_KEY|CONNECTION_STRING"
)  # in environment variables' names
SHORTEST_SECRET = 8  # characters; shorter values, such as `true`, are also words of messages

USER = re.compile(r"(?<=://)[^/\s\"'@]*@")
NAMES = r"x-(?:amz|goog)-[a-z-]*|awsaccesskeyid|signature|sig|token|key|secret|password"
QUERY = re.compile(rf"(?i)([?&;](?:{NAMES})=)[^&\s\"']*")
KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b")


def redacted(text: str) -> str:
    """Return a text without users and passwords in addresses, signatures in queries, key names and known secrets.

    Known secrets are the values of environment variables with names such as AWS_SECRET_ACCESS_KEY.
    """
    known = {value for name, value in os.environ.items() if SECRETS.search(name) and len(value) >= SHORTEST_SECRET}
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return KEY_ID.sub(HIDDEN, QUERY.sub(rf"\1{HIDDEN}", USER.sub(f"{HIDDEN}@", text)))


def has_credentials(address: str) -> bool:
    """Return whether an address holds a user, a password or a signature."""
    return bool(USER.search(address) or QUERY.search(address))
