//! TLS.
//!
//! One entry per key: status, name, type, default, valid values, importance, when it may change; what it means.

use super::keys;

keys! { SSL: Broker;
    accepted "ssl.allow.dn.changes": Boolean = "false", Any, Low, ReadOnly;
        "Lets a reloaded certificate have another distinguished name."
    accepted "ssl.allow.san.changes": Boolean = "false", Any, Low, ReadOnly;
        "Lets a reloaded certificate have other subject alternative names."
    accepted "ssl.cipher.suites": List = "", Any, Medium, PerBroker;
        "TLS cipher suites that may be used."
    accepted "ssl.client.auth": String = "none", OneOf(&["required", "requested", "none"]), Medium, PerBroker;
        "Whether clients need a certificate: none, requested or required."
    accepted "ssl.enabled.protocols": List = "TLSv1.2,TLSv1.3", Any, Medium, PerBroker;
        "TLS versions that may be used."
    accepted "ssl.endpoint.identification.algorithm": String = "https", Any, Low, PerBroker;
        "Checks host names of outbound TLS connections; empty turns it off."
    accepted "ssl.engine.factory.class": Class = null, Any, Low, PerBroker;
        "Java class that makes TLS engines."
    accepted "ssl.key.password": Password = null, Any, Medium, PerBroker;
        "Password of the private key."
    accepted "ssl.keymanager.algorithm": String = "SunX509", Any, Medium, PerBroker;
        "Name of a Java key manager."
    accepted "ssl.keystore.certificate.chain": Password = null, Any, Medium, PerBroker;
        "Certificate chain as PEM text."
    accepted "ssl.keystore.key": Password = null, Any, Medium, PerBroker;
        "Private key as PEM text."
    accepted "ssl.keystore.location": String = null, Any, Medium, PerBroker;
        "File of the broker's key and certificate."
    accepted "ssl.keystore.password": Password = null, Any, Medium, PerBroker;
        "Password of the key store file."
    accepted "ssl.keystore.type": String = "JKS", Any, Medium, PerBroker;
        "Format of the key store: JKS, PKCS12 or PEM."
    accepted "ssl.principal.mapping.rules": String = "DEFAULT", Any, Low, ReadOnly;
        "Rules that turn certificate names into user names."
    accepted "ssl.protocol": String = "TLSv1.3", Any, Medium, PerBroker;
        "Name of the Java TLS context."
    accepted "ssl.provider": String = null, Any, Medium, PerBroker;
        "Name of a Java security provider for TLS."
    accepted "ssl.secure.random.implementation": String = null, Any, Low, PerBroker;
        "Name of a Java random number generator for TLS."
    accepted "ssl.trustmanager.algorithm": String = "PKIX", Any, Medium, PerBroker;
        "Name of a Java trust manager."
    accepted "ssl.truststore.certificates": Password = null, Any, Medium, PerBroker;
        "Trusted certificates as PEM text."
    accepted "ssl.truststore.location": String = null, Any, Medium, PerBroker;
        "File of the trusted certificates."
    accepted "ssl.truststore.password": Password = null, Any, Medium, PerBroker;
        "Password of the trust store file."
    accepted "ssl.truststore.type": String = "JKS", Any, Medium, PerBroker;
        "Format of the trust store: JKS, PKCS12 or PEM."
}
