"""What is known of librdkafka's properties: which are secret, which are another's alias, which client takes them, and
which are refused because the promise depends on them.

Any property passes through that is not refused here, also one this file has never heard of: librdkafka itself refuses
what it does not know. Names and the client they belong to are those of librdkafka 2.16 (CONFIGURATION.md).
"""

from __future__ import annotations

import difflib
import re

# Spellings of one property. Only the canonical one reaches the client, so a default of ours never meets its own alias.
ALIASES = {
    "auto.commit.enable": "enable.auto.commit",
    "compression.codec": "compression.type",
    "max.in.flight.requests.per.connection": "max.in.flight",
    "max.partition.fetch.bytes": "fetch.message.max.bytes",
    "message.timeout.ms": "delivery.timeout.ms",
    "metadata.broker.list": "bootstrap.servers",
    "queue.buffering.max.ms": "linger.ms",
    "request.required.acks": "acks",
    "retries": "message.send.max.retries",
    "sasl.mechanism": "sasl.mechanisms",
}

SECRETS = frozenset(
    {
        "sasl.oauthbearer.assertion.private.key.passphrase",
        "sasl.oauthbearer.assertion.private.key.pem",
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.config",
        "sasl.password",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.keystore.password",
    }
)
_SECRET_WORDS = ("password", "passphrase", "secret", ".pem", "ssl_key")

REFUSED = {
    "bootstrap.servers": "use the setting bootstrap_servers",
    "group.id": "use the setting group_id",
    "group.instance.id": "use the setting instance_id",
    "group.protocol": "use the setting group_protocol",
    "session.timeout.ms": "use the setting session_timeout_ms",
    "heartbeat.interval.ms": "use the setting heartbeat_interval_ms",
    "enable.auto.commit": "an offset is committed by a checkpoint only, after its output was delivered",
    "enable.auto.offset.store": "an offset is committed by a checkpoint only, after its output was delivered",
    "offset.store.method": "the restore offset lives in the commit metadata on the broker",
    "offset.store.path": "the restore offset lives in the commit metadata on the broker",
    "auto.offset.reset": "every start offset is decided by the restore; a reset would skip records silently",
    "isolation.level": "records of aborted transactions must not be seen, nor offsets of open ones",
    "partition.assignment.strategy": "members must agree on cooperative-sticky: partitions that stay keep their state",
    "enable.partition.eof": "the worker decides when a partition is at its end",
    "allow.auto.create.topics": "topics are created with their policy or not at all",
    "topic.blacklist": "none of the worker's topics may be hidden from it",
    "consume.callback.max.messages": "the worker polls in its own loop",
    "enable.idempotence": "without it a retry may reorder or repeat records",
    "enable.gapless.guarantee": "a delivery that times out is repeated by a restore, and must not end the client",
    "acks": "a checkpoint counts only what every in-sync replica has",
    "max.in.flight": "the idempotent producer sets it so that order holds",
    "queuing.strategy": "records of one key must stay in order",
    "partitioner": "the chat layer's join needs the Java default (murmur2_random) on every topic",
    "transactional.id": "processing_guarantee decides whether there are transactions, instance_id whose they are",
    "delivery.report.only.error": "a checkpoint must know the fate of every record",
    "message.max.bytes": "it follows the topics' max.message.bytes",
    "batch.size": "it follows the topics' max.message.bytes: a batch beyond it would fail all records in it",
    "test.mock.num.brokers": "the worker serves a real broker; `context-worker demo` brings its own",
    "test.mock.broker.rtt": "the worker serves a real broker; `context-worker demo` brings its own",
    "internal.termination.signal": "the worker handles its own signals",
    "default_topic_conf": "name the property itself",
    "default.topic.config": "name the property itself",
    "interceptors": "it takes no text",
    "opaque": "it takes no text",
    "msg_order_cmp": "it takes no text",
    "logger": "use the setting log_level; librdkafka's own `debug` passes",
    "log.queue": "the worker reads librdkafka's log itself",
    "enabled_events": "the worker polls in its own loop",
}


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


CONSUMER_ONLY = _names(
    """
    auto.commit.interval.ms check.crcs coordinator.query.interval.ms fetch.error.backoff.ms fetch.max.bytes
    fetch.message.max.bytes fetch.min.bytes fetch.queue.backoff.ms fetch.wait.max.ms
    group.protocol.type group.remote.assignor max.poll.interval.ms max.poll.records queued.max.messages.kbytes
    queued.min.messages share.acknowledgement.mode offset.store.sync.interval.ms
    """
)
PRODUCER_ONLY = _names(
    """
    batch.num.messages compression.level compression.type delivery.timeout.ms linger.ms message.send.max.retries
    produce.offset.report queue.buffering.backpressure.threshold queue.buffering.max.kbytes
    queue.buffering.max.messages request.timeout.ms sticky.partitioning.linger.ms transaction.timeout.ms
    """
)
_BOTH = _names(
    """
    api.version.fallback.ms api.version.request api.version.request.timeout.ms broker.address.family
    broker.address.ttl broker.version.fallback builtin.features client.dns.lookup client.id client.rack
    connections.max.idle.ms debug enable.metrics.push enable.random.seed enable.sasl.oauthbearer.unsecure.jwt
    enable.ssl.certificate.verification https.ca.location https.ca.pem log.connection.close log.thread.name
    log_level message.copy.max.bytes metadata.max.age.ms metadata.recovery.rebootstrap.trigger.ms
    metadata.recovery.strategy plugin.library.paths receive.message.max.bytes reconnect.backoff.jitter.ms
    reconnect.backoff.max.ms reconnect.backoff.ms retry.backoff.max.ms retry.backoff.ms sasl.kerberos.keytab
    sasl.kerberos.kinit.cmd sasl.kerberos.min.time.before.relogin sasl.kerberos.principal sasl.kerberos.service.name
    sasl.mechanisms sasl.oauthbearer.assertion.algorithm sasl.oauthbearer.assertion.claim.aud
    sasl.oauthbearer.assertion.claim.exp.seconds sasl.oauthbearer.assertion.claim.iss
    sasl.oauthbearer.assertion.claim.jti.include sasl.oauthbearer.assertion.claim.nbf.seconds
    sasl.oauthbearer.assertion.claim.sub sasl.oauthbearer.assertion.file
    sasl.oauthbearer.assertion.jwt.template.file sasl.oauthbearer.assertion.private.key.file
    sasl.oauthbearer.client.credentials.client.id sasl.oauthbearer.client.id sasl.oauthbearer.extensions
    sasl.oauthbearer.grant.type sasl.oauthbearer.metadata.authentication.type sasl.oauthbearer.method
    sasl.oauthbearer.scope sasl.oauthbearer.sub.claim.name sasl.oauthbearer.token.endpoint.url sasl.username
    security.protocol socket.blocking.max.ms socket.connection.setup.timeout.ms socket.keepalive.enable
    socket.max.fails socket.nagle.disable socket.receive.buffer.bytes socket.send.buffer.bytes socket.timeout.ms
    ssl.ca.certificate.stores ssl.ca.location ssl.ca.pem ssl.certificate.location ssl.certificate.pem
    ssl.cipher.suites ssl.crl.location ssl.curves.list ssl.endpoint.identification.algorithm ssl.engine.id
    ssl.engine.location ssl.key.location ssl.keystore.location ssl.providers ssl.sigalgs.list statistics.interval.ms
    topic.metadata.propagation.max.ms topic.metadata.refresh.fast.cnt topic.metadata.refresh.fast.interval.ms
    topic.metadata.refresh.interval.ms topic.metadata.refresh.sparse
    """
)
KNOWN = CONSUMER_ONLY | PRODUCER_ONLY | _BOTH | SECRETS | frozenset(ALIASES) | frozenset(REFUSED)

# Some names hold an underscore, which a variable cannot tell from a dot.
_WITH_UNDERSCORE = {name.replace("_", "."): name for name in KNOWN if "_" in name}


def from_variable(rest: str) -> str:
    """The property that a variable means: the part after WORKER_KAFKA_, in lower case, dots for underscores."""
    name = rest.lower().replace("_", ".")
    return _WITH_UNDERSCORE.get(name, name)


def held_in_file(name: str) -> str:
    """The property whose value is in a file: `sasl.password` of `sasl.password.file`; "" where the name is that
    of a property itself, or is about none."""
    inner = name.removesuffix(".file")
    return inner if name not in KNOWN and inner != name and (inner in KNOWN or is_secret(inner)) else ""


def is_secret(name: str) -> bool:
    """Whether the value must never be shown. A name that sounds like a secret is one, known or not."""
    if name in SECRETS:
        return True
    return any(word in name for word in _SECRET_WORDS) and not name.endswith((".location", ".file", ".url"))


def nearest(name: str) -> str:
    """The known property that looks most like `name`; "" when none does."""
    found = difflib.get_close_matches(name, sorted(KNOWN - frozenset(REFUSED)), n=1, cutoff=0.75)
    return found[0] if found else ""


def refusal(name: str, value: str) -> str:
    """Why the worker does not hand this property on; "" when it does. `name` is canonical."""
    if name in REFUSED:
        return REFUSED[name]
    if name.endswith(("_cb", "_cb_data", "callback_data")) or name in {"ssl_key", "ssl_certificate", "ssl_ca"}:
        return "it takes no text"
    return _refused_value(name, value)


# Zero or less would take a bound away that the service's memory, or its view of the cluster, depends on.
_POSITIVE = frozenset(
    {
        "queue.buffering.max.messages",
        "topic.metadata.refresh.interval.ms",
        "delivery.timeout.ms",
        "transaction.timeout.ms",
        "max.poll.interval.ms",
    }
)


_LOGIN_IN_URL = re.compile(r"//[^/?#]*@")


def _refused_value(name: str, value: str) -> str:
    if name.endswith(".url") and _LOGIN_IN_URL.search(value):
        return "expected a URL without a name and a password in it: librdkafka writes it to the log"
    if name not in _POSITIVE:
        return ""
    try:
        number = int(value)
    except ValueError:
        return f"expected a whole number, got {value!r}"
    return "" if number > 0 else f"expected more than 0 (0 or less means unbounded), got {value}"
