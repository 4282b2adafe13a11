//! Authentication by SASL, authorization, delegation tokens.
//!
//! One entry per key: status, name, type, default, valid values, importance, when it may change; what it means.

use super::keys;

keys! { SASL: Broker;
    accepted "authorizer.class.name": String = "", NotNull, Low, ReadOnly;
        "ACLs are NOT enforced: everybody may do everything. In Kafka this turns them on; the well-known class is org.apache.kafka.metadata.authorizer.StandardAuthorizer."
    accepted "delegation.token.expiry.check.interval.ms": Long = "3600000", AtLeast(1), Low, ReadOnly;
        "How often expired delegation tokens are looked for."
    accepted "delegation.token.expiry.time.ms": Long = "86400000", AtLeast(1), Medium, ReadOnly;
        "How long a delegation token lives without renewal."
    accepted "delegation.token.max.lifetime.ms": Long = "604800000", AtLeast(1), Medium, ReadOnly;
        "How long a delegation token may live at most."
    accepted "delegation.token.secret.key": Password = null, Any, Medium, ReadOnly;
        "Secret that signs delegation tokens; without it there are none."
    accepted "principal.builder.class": Class = "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder", Any, Medium, PerBroker;
        "Java class that names the user behind a connection; only the default is known here."
    accepted "sasl.client.callback.handler.class": Class = null, Any, Medium, ReadOnly;
        "Java class for SASL callbacks of the broker's own connections."
    accepted "sasl.enabled.mechanisms": List = "GSSAPI", Any, Medium, PerBroker;
        "SASL mechanisms clients may use."
    accepted "sasl.jaas.config": Password = null, Any, Medium, PerBroker;
        "Login modules of a listener's mechanism, in JAAS form."
    accepted "sasl.kerberos.kinit.cmd": String = "/usr/bin/kinit", Any, Medium, PerBroker;
        "Kerberos: path of kinit."
    accepted "sasl.kerberos.min.time.before.relogin": Long = "60000", Any, Medium, PerBroker;
        "Kerberos: least time between two logins."
    accepted "sasl.kerberos.principal.to.local.rules": List = "DEFAULT", Any, Medium, PerBroker;
        "Kerberos: rules that turn principals into user names."
    accepted "sasl.kerberos.service.name": String = null, Any, Medium, PerBroker;
        "Kerberos: the broker's service name."
    accepted "sasl.kerberos.ticket.renew.jitter": Double = "0.05", Any, Medium, PerBroker;
        "Kerberos: random share of the renewal time."
    accepted "sasl.kerberos.ticket.renew.window.factor": Double = "0.8", Any, Medium, PerBroker;
        "Kerberos: share of a ticket's life after which it is renewed."
    accepted "sasl.login.callback.handler.class": Class = null, Any, Medium, ReadOnly;
        "Java class for login callbacks."
    accepted "sasl.login.class": Class = null, Any, Medium, ReadOnly;
        "Java class that logs in."
    accepted "sasl.login.connect.timeout.ms": Int = null, Any, Low, ReadOnly;
        "OAuth: connect timeout to the identity provider."
    accepted "sasl.login.read.timeout.ms": Int = null, Any, Low, ReadOnly;
        "OAuth: read timeout of the identity provider."
    accepted "sasl.login.refresh.buffer.seconds": Short = "300", Any, Medium, PerBroker;
        "OAuth: time before expiry in which a login is refreshed."
    accepted "sasl.login.refresh.min.period.seconds": Short = "60", Any, Medium, PerBroker;
        "OAuth: least time between two refreshes of a login."
    accepted "sasl.login.refresh.window.factor": Double = "0.8", Any, Medium, PerBroker;
        "OAuth: share of a login's life after which it is refreshed."
    accepted "sasl.login.refresh.window.jitter": Double = "0.05", Any, Medium, PerBroker;
        "OAuth: random share of the refresh time."
    accepted "sasl.login.retry.backoff.max.ms": Long = "10000", Any, Low, ReadOnly;
        "OAuth: longest wait between login attempts."
    accepted "sasl.login.retry.backoff.ms": Long = "100", Any, Low, ReadOnly;
        "OAuth: first wait between login attempts."
    accepted "sasl.mechanism.controller.protocol": String = "GSSAPI", Any, High, ReadOnly;
        "SASL mechanism brokers use towards controllers."
    accepted "sasl.mechanism.inter.broker.protocol": String = "GSSAPI", Any, Medium, PerBroker;
        "SASL mechanism brokers use among themselves."
    accepted "sasl.oauthbearer.allow.unverified.audience": Boolean = "false", Any, Medium, ReadOnly;
        "Accepts tokens without checking their audience."
    accepted "sasl.oauthbearer.allow.unverified.issuer": Boolean = "false", Any, Medium, ReadOnly;
        "Accepts tokens without checking their issuer."
    accepted "sasl.oauthbearer.assertion.algorithm": String = "RS256", OneOfAnyCase(&["ES256", "RS256"]), Medium, ReadOnly;
        "OAuth: algorithm that signs the client assertion."
    accepted "sasl.oauthbearer.assertion.claim.aud": String = null, Any, Medium, ReadOnly;
        "OAuth: audience claim of the client assertion."
    accepted "sasl.oauthbearer.assertion.claim.exp.seconds": Int = "300", Between(0, 86_400), Low, ReadOnly;
        "OAuth: life of the client assertion."
    accepted "sasl.oauthbearer.assertion.claim.iss": String = null, Any, Medium, ReadOnly;
        "OAuth: issuer claim of the client assertion."
    accepted "sasl.oauthbearer.assertion.claim.jti.include": Boolean = "false", Any, Medium, ReadOnly;
        "OAuth: puts a unique id into the client assertion."
    accepted "sasl.oauthbearer.assertion.claim.nbf.seconds": Int = "60", Between(0, 3600), Low, ReadOnly;
        "OAuth: how far back the client assertion is valid."
    accepted "sasl.oauthbearer.assertion.claim.sub": String = null, Any, Medium, ReadOnly;
        "OAuth: subject claim of the client assertion."
    accepted "sasl.oauthbearer.assertion.file": String = null, Any, Medium, ReadOnly;
        "OAuth: file that holds a ready client assertion."
    accepted "sasl.oauthbearer.assertion.private.key.file": String = null, Any, Medium, ReadOnly;
        "OAuth: private key that signs the client assertion."
    accepted "sasl.oauthbearer.assertion.private.key.passphrase": Password = null, Any, Medium, ReadOnly;
        "OAuth: passphrase of that private key."
    accepted "sasl.oauthbearer.assertion.template.file": String = null, Any, Medium, ReadOnly;
        "OAuth: template of the client assertion."
    accepted "sasl.oauthbearer.client.credentials.client.id": String = null, Any, Medium, ReadOnly;
        "OAuth: client id of the client credentials grant."
    accepted "sasl.oauthbearer.client.credentials.client.secret": Password = null, Any, Medium, ReadOnly;
        "OAuth: client secret of the client credentials grant."
    accepted "sasl.oauthbearer.clock.skew.seconds": Int = "30", Any, Low, ReadOnly;
        "OAuth: difference of clocks that is forgiven."
    accepted "sasl.oauthbearer.expected.audience": List = "", Any, High, ReadOnly;
        "OAuth: audiences a token must be for."
    accepted "sasl.oauthbearer.expected.issuer": String = null, Any, High, ReadOnly;
        "OAuth: issuer a token must come from."
    accepted "sasl.oauthbearer.jwks.endpoint.refresh.ms": Long = "3600000", Any, Low, ReadOnly;
        "OAuth: how often the signing keys are fetched."
    accepted "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms": Long = "10000", Any, Low, ReadOnly;
        "OAuth: longest wait between attempts to fetch the signing keys."
    accepted "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms": Long = "100", Any, Low, ReadOnly;
        "OAuth: first wait between attempts to fetch the signing keys."
    accepted "sasl.oauthbearer.jwks.endpoint.url": String = null, Any, Medium, ReadOnly;
        "OAuth: where the signing keys are, a https or file URL."
    accepted "sasl.oauthbearer.jwt.retriever.class": Class = "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever", Any, Medium, ReadOnly;
        "OAuth: Java class that obtains tokens."
    accepted "sasl.oauthbearer.jwt.validator.class": Class = "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator", Any, Medium, ReadOnly;
        "OAuth: Java class that checks tokens."
    accepted "sasl.oauthbearer.scope": String = null, Any, Medium, ReadOnly;
        "OAuth: scope asked for when the broker logs in."
    accepted "sasl.oauthbearer.scope.claim.name": String = "scope", Any, Low, ReadOnly;
        "OAuth: claim that holds the scope."
    accepted "sasl.oauthbearer.sub.claim.name": String = "sub", Any, Low, ReadOnly;
        "OAuth: claim that names the user."
    accepted "sasl.oauthbearer.token.endpoint.url": String = null, Any, Medium, ReadOnly;
        "OAuth: where the broker gets its own tokens."
    accepted "sasl.server.callback.handler.class": Class = null, Any, Medium, ReadOnly;
        "Java class for SASL callbacks of clients' connections."
    accepted "sasl.server.max.receive.size": Int = "524288", Any, Medium, ReadOnly;
        "Largest frame before a client has authenticated."
    accepted "security.providers": String = null, Any, Low, ReadOnly;
        "Java classes that provide security algorithms."
}
