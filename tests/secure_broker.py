"""A Kafka that lets nobody in without a name and gives nobody a right that was not granted.

Its listeners: SASL over TLS (SCRAM-SHA-512 and PLAIN), mutual TLS, and for the tests themselves a plain one on
loopback, whose user may do everything.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from confluent_kafka.admin import (  # type: ignore[attr-defined] # the package re-exports them without saying so
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from tests.brokers import MavenKafka, free_port
from tests.certificates import Authority

HOST = "localhost"  # the only name that the broker's certificate holds
ADMIN, ADMIN_PASSWORD = "admin", "only-for-tests-admin"
PLAIN_USER, PLAIN_PASSWORD = "plain", "only-for-tests-plain"
REAUTHENTICATE_MS = 4000  # who was removed is noticed by then
TIMEOUT_S = 10.0
_EVERYTHING = AclBindingFilter(
    ResourceType.ANY,
    None,  # type: ignore[arg-type] # None = any
    ResourcePatternType.ANY,
    None,  # type: ignore[arg-type]
    None,  # type: ignore[arg-type]
    AclOperation.ANY,
    AclPermissionType.ANY,
)
_LOGIN = "org.apache.kafka.common.security"
_BY_TOKEN = "oauthbearer.OAuthBearerLoginModule"
_TRUSTING = "oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"  # takes what is not signed


class SecureKafka(MavenKafka):
    """One node. `bootstrap_servers` is the tests' own way in; by `sasl` and `mtls` one must say who one is."""

    def __init__(self) -> None:
        self._keys = tempfile.TemporaryDirectory(prefix="kafka-keys-")
        folder = Path(self._keys.name)
        self.authority, self.stranger = Authority(folder, "authority"), Authority(folder, "stranger")
        port, sasl, mtls, controller = (free_port() for _ in range(4))
        self.sasl, self.mtls = f"{HOST}:{sasl}", f"{HOST}:{mtls}"
        self.mtls_by_address = f"127.0.0.1:{mtls}"
        server = self.authority.issue("broker", host=HOST)
        plain = f'user_{ADMIN}="{ADMIN_PASSWORD}" user_{PLAIN_USER}="{PLAIN_PASSWORD}"'
        trust = {"ssl.truststore.type": "PEM", "ssl.truststore.location": str(self.authority.certificate)}
        listeners = {"PLAINTEXT": port, "SASL": sasl, "MTLS": mtls, "CONTROLLER": controller}
        super().__init__(
            {
                "listeners": ",".join(f"{name}://127.0.0.1:{number}" for name, number in listeners.items()),
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},SASL://{self.sasl},MTLS://{self.mtls}",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_SSL,MTLS:SSL",
                "controller.quorum.voters": f"1@127.0.0.1:{controller}",
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": f"User:ANONYMOUS;User:{ADMIN}",
                "listener.name.sasl.sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN,OAUTHBEARER",
                "listener.name.sasl.plain.sasl.jaas.config": f"{_LOGIN}.plain.PlainLoginModule required {plain};",
                "listener.name.sasl.scram-sha-512.sasl.jaas.config": f"{_LOGIN}.scram.ScramLoginModule required;",
                "listener.name.sasl.oauthbearer.sasl.jaas.config": f"{_LOGIN}.{_BY_TOKEN} required;",
                "listener.name.sasl.oauthbearer.sasl.server.callback.handler.class": f"{_LOGIN}.{_TRUSTING}",
                "listener.name.sasl.scram-sha-512.connections.max.reauth.ms": str(REAUTHENTICATE_MS),
                "listener.name.mtls.ssl.client.auth": "required",
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(server.both),
                **trust,
            },
            port=port,
        )

    def close(self) -> None:
        super().close()
        self._keys.cleanup()

    # --- who may come in -----------------------------------------------------------------------------------------

    def login(self, user: str, password: str, mechanism: str = "SCRAM-SHA-512") -> dict[str, str]:
        """The properties of a client that comes by `sasl`."""
        return {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.authority.certificate),
            "sasl.mechanisms": mechanism,
            "sasl.username": user,
            "sasl.password": password,
        }

    def certificate(self, user: str, *, password: str | None = None, of: Authority | None = None) -> dict[str, str]:
        """The properties of a client that comes by `mtls`; its principal is `User:CN={user}`."""
        identity = (of or self.authority).issue(user, password=password)
        return {
            "security.protocol": "SSL",
            "ssl.ca.location": str(self.authority.certificate),
            "ssl.certificate.location": str(identity.certificate),
            "ssl.key.location": str(identity.key),
            **({"ssl.key.password": password} if password else {}),
        }

    def add_user(self, user: str, password: str) -> None:
        """Who can log in by SCRAM from now on. The super user does it, by SASL with PLAIN."""
        superuser = AdminClient({"bootstrap.servers": self.sasl, **self.login(ADMIN, ADMIN_PASSWORD, "PLAIN")})
        credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        wanted = UserScramCredentialUpsertion(user, credential, password=password.encode())
        for future in superuser.alter_user_scram_credentials([wanted]).values():
            future.result(TIMEOUT_S)
        _wait_until(lambda: user in _scram_users(superuser))

    def remove_user(self, user: str) -> None:
        """Nobody can log in by that name any more; who is in stays in."""
        for future in self.root.alter_user_scram_credentials([_deletion(user)]).values():
            future.result(TIMEOUT_S)
        _wait_until(lambda: user not in _scram_users(self.root))

    # --- who may do what -----------------------------------------------------------------------------------------

    @cached_property
    def root(self) -> AdminClient:
        """The tests' own client, which may do everything."""
        return AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})

    def grant(self, *acls: AclBinding) -> None:
        """Returns when the broker goes by them."""
        for future in self.root.create_acls(list(acls), request_timeout=TIMEOUT_S).values():
            future.result(TIMEOUT_S)
        _wait_until(lambda: set(acls) <= set(_all_acls(self.root)))

    def revoke(self, *acls: AclBinding) -> None:
        """Returns when they are gone."""
        for future in self.root.delete_acls([_exactly(acl) for acl in acls], request_timeout=TIMEOUT_S).values():
            future.result(TIMEOUT_S)
        _wait_until(lambda: not set(acls) & set(_all_acls(self.root)))


def acl(
    principal: str, kind: ResourceType, name: str, operation: AclOperation, *, prefixed: bool = False
) -> AclBinding:
    """Allow it, from everywhere."""
    pattern = ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL
    return AclBinding(kind, name, pattern, principal, "*", operation, AclPermissionType.ALLOW)


def _scram_users(admin: AdminClient) -> Collection[str]:
    described = cast("Future[dict[str, Any]]", admin.describe_user_scram_credentials())
    return described.result(TIMEOUT_S)


def _all_acls(admin: AdminClient) -> list[AclBinding]:
    return list(admin.describe_acls(_EVERYTHING, request_timeout=TIMEOUT_S).result(TIMEOUT_S))


def _exactly(one: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        *(one.restype, one.name, one.resource_pattern_type, one.principal, one.host),
        *(one.operation, one.permission_type),
    )


def _deletion(user: str) -> UserScramCredentialDeletion:
    return UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512)


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline, "the broker did not take it in"
        time.sleep(0.01)
