"""
A certificate for 127.0.0.1 and the authority that signed it, valid until 2120.

Both were made for these tests and are worth nothing elsewhere: the authority's own
key was thrown away.
"""

import ssl
from pathlib import Path

__all__ = ("AUTHORITY", "server_context")

AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBZjCCAQugAwIBAgIBATAKBggqhkjOPQQDAjAZMRcwFQYDVQQDDA5UZXN0IGF1
dGhvcml0eTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowGTEXMBUG
A1UEAwwOVGVzdCBhdXRob3JpdHkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQp
qX9XOF3elBYQRz+cLn50v9N13Mo6rg8AMQMYAQttM4MV0kdaZJVCscY3WitM/GbK
GbqJnyfSEdM7E7S58Dxto0IwQDAPBgNVHRMBAf8EBTADAQH/MA4GA1UdDwEB/wQE
AwIBBjAdBgNVHQ4EFgQUV+ItEAq2Q8LphQ6o3Y2M+4Tr2ZcwCgYIKoZIzj0EAwID
SQAwRgIhAP1xxCdafnXM+nhYpvGx3XMvOnmxOUegtYf43N7ZYd/3AiEAo/N34u+R
xN71/wJEzERixiM/NTcvTpct4hjb3agClA4=
-----END CERTIFICATE-----
"""

CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBpzCCAUygAwIBAgIBAjAKBggqhkjOPQQDAjAZMRcwFQYDVQQDDA5UZXN0IGF1
dGhvcml0eTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFDESMBAG
A1UEAwwJMTI3LjAuMC4xMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEv+igl/U7
0AZPaNhfUDae870kLmN0AbSci+rGoCM8V4ZPWB0rXHtwXTQUXa61DQvkQeRupujM
j8nBFMx9XM8L+6OBhzCBhDAMBgNVHRMBAf8EAjAAMA4GA1UdDwEB/wQEAwIHgDAT
BgNVHSUEDDAKBggrBgEFBQcDATAPBgNVHREECDAGhwR/AAABMB0GA1UdDgQWBBRj
ciE+hI3lLFW2HAYZTE7YQEdYjjAfBgNVHSMEGDAWgBRX4i0QCrZDwumFDqjdjYz7
hOvZlzAKBggqhkjOPQQDAgNJADBGAiEAxQJ5Dq+QKM443foJhDWA5CrRXAV7KfBq
vlj9CjHrWEACIQC9zD8Vu404rNb7n+q1epu0gqLvPJoCNuFdjHQKK9oF5Q==
-----END CERTIFICATE-----
"""

KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgDgyT/nY32QuYmL2u
NE26MzKPLanrMfmkTHQoE46h9XChRANCAAS/6KCX9TvQBk9o2F9QNp7zvSQuY3QB
tJyL6sagIzxXhk9YHStce3BdNBRdrrUNC+RB5G6m6MyPycEUzH1czwv7
-----END PRIVATE KEY-----
"""


def server_context(directory: Path) -> ssl.SSLContext:
    """Return what a server on 127.0.0.1 needs; *directory* takes a file."""
    file = directory / "server.pem"
    file.write_text(CERTIFICATE + KEY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
