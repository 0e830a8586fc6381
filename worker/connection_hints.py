"""What librdkafka says where a connection was refused, and what to do about it. Pure: texts in, texts out.

It tells a wrong certificate and a wrong listener by the text alone: the code is that of any broken connection.
"""

from __future__ import annotations

import re

# TLS' own word for a refusal that comes from the other side: of our certificate, or of our ways.
_REFUSED_BY_TLS = re.compile(r"\balert\b")

# Who gives the tokens cannot be reached: no word on whether we would get one.
_NO_TOKEN_SERVER = re.compile(r"OAUTHBEARER token.*(connect|resolve|timed? ?out)", re.IGNORECASE)

_CERTIFICATE_OF_BROKER = (
    "ssl.ca.location must hold who signed the broker's certificate, and the certificate must name the host "
    "(that of bootstrap_servers, and that of the broker's advertised.listeners)"
)
_CERTIFICATE_OF_CLIENT = (
    "the broker does not take this client's certificate, or has got none: check ssl.certificate.location and "
    "ssl.key.location, and that the broker trusts who signed it"
)
_HUNG_UP = (
    "check bootstrap_servers, the network, and security.protocol: connections were taken and ended at once, "
    "as a listener with TLS or SASL does with a client that does not use it"
)
_HINTS = {  # the first that stands in the text counts
    "certificate verify failed": _CERTIFICATE_OF_BROKER,
    "alert": _CERTIFICATE_OF_CLIENT,
    "PLAINTEXT broker listener": "check security.protocol and the port: there seems to be no TLS at that port",
    "OAUTHBEARER token": "check sasl.oauthbearer.* in [kafka], and that the token endpoint can be reached from here",
    "SASL": "check sasl.mechanisms, sasl.username and sasl.password in [kafka]",
    "uthorization failed": "`context-worker topics --acls` prints what has to be granted",
    "brokers are down": _HUNG_UP,
    "ssl.key": "the file must be there and in PEM; ssl.key.password must fit it",
    "ssl.": "the file must be there and in PEM",
}


# The one secret whose text librdkafka repeats: what it cannot read of it.
_REPEATED_SECRET = re.compile(r"(sasl\.oauthbearer\.config\b[^:]*:).*", re.DOTALL)


def without_secret(text: str) -> str:
    """The text, without what librdkafka repeats of a secret property."""
    return _REPEATED_SECRET.sub(r"\1 …", text)


def refuses_certificate(text: str) -> bool:
    """Whether the other side ended the TLS handshake for what we are, and not by an accident."""
    return _REFUSED_BY_TLS.search(text) is not None


def asks_in_vain(text: str) -> bool:
    """Whether there is no token because nobody answers who gives them: as an outage, that may pass."""
    return _NO_TOKEN_SERVER.search(text) is not None


def hint_of(text: str) -> str:
    """What to do about it; "" where nothing can be told."""
    return next((hint for part, hint in _HINTS.items() if part in text), "")
