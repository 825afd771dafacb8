"""Forged and malformed tokens, made with PyJWT and joserfc, against a running server.

forged_tokens.py ADDRESS KEYS TENANT: KEYS is the node's own folder of keys, so that most tokens carry a good signature
and only the flaw that they are named for can refuse them. Prints a JSON object: how many were tried, and every one that
was not refused with the one answer that all must get.
"""

import hashlib
import hmac
import json
import pathlib
import sys
import time
import urllib.parse
import warnings

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc import jwe, jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from token_tools import L, Listener, ask, b64, unb64

# joserfc says that EdDSA has a new name, which is what is not wanted here.
warnings.simplefilter("ignore")

class Forge:
    def __init__(self, folder, tenant, listener):
        state = json.loads((folder / "keys.json").read_text())
        self.kid, self.listener = state["active"], listener
        pkcs8 = (folder / f"{self.kid}.pk8").read_bytes()
        # PKCS#8 with the public half as well (RFC 5958), which not every library reads: the seed is what counts.
        seed = pkcs8[pkcs8.index(b"\x04\x20") + 2 :][:32]
        self.key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self.key.public_key()
        self.header = {"typ": "JWT", "alg": "EdDSA", "kid": self.kid}
        now = int(time.time())
        self.now = now
        self.claims = {
            "iss": "aimass", "aud": "aimass", "sub": "mallory", "iat": now, "nbf": now - 1, "exp": now + 600,
            "jti": "forged", "tenant": tenant, "scope": "plugins:read",
        }
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.ed = ed25519.Ed25519PrivateKey.generate()

    def sign(self, header=None, claims=None, *, payload=None, head=None, key=None) -> str:
        """A token with a good signature of the node's own key over whatever is given."""
        head = head if head is not None else b64(self.header if header is None else header)
        payload = payload if payload is not None else b64(self.claims if claims is None else claims)
        signature = (key or self.key).sign(f"{head}.{payload}".encode())
        return f"{head}.{payload}.{b64(signature)}"

    def with_header(self, **more) -> str:
        return self.sign(header={k: v for k, v in {**self.header, **more}.items() if v is not ...})

    def with_claims(self, **more) -> str:
        return self.sign(claims={k: v for k, v in {**self.claims, **more}.items() if v is not ...})

    # The corpus: name, token.

    def algorithms(self):
        good = self.sign()
        body = good.split(".")[1]
        yield "PyJWT alg none", jwt.encode(self.claims, None, algorithm="none", headers={"kid": self.kid})
        for none in ("none", "None", "NONE", "nOnE", "", "null"):
            head = b64({**self.header, "alg": none})
            yield f"alg {none!r}, no signature", f"{head}.{body}."
            yield f"alg {none!r}, a good signature", self.with_header(alg=none)
        yield "alg missing", self.with_header(alg=...)
        yield "alg null", self.with_header(alg=None)
        yield "alg a list", self.with_header(alg=["EdDSA"])
        yield "alg in lower case", self.with_header(alg="eddsa")
        raw = self.public.public_bytes_raw()
        subject = serialization.PublicFormat.SubjectPublicKeyInfo
        forms = {
            "raw": raw,
            "base64url": b64(raw).encode(),
            "DER": self.public.public_bytes(serialization.Encoding.DER, subject),
            "PEM": self.public.public_bytes(serialization.Encoding.PEM, subject),
            "JWK": json.dumps(OKPKey.import_key(self.public.public_bytes(
                serialization.Encoding.PEM, subject)).as_dict(private=False)).encode(),
            "nothing": b"",
        }
        for form, secret in forms.items():
            for bits in (256, 384, 512):
                head = b64({**self.header, "alg": f"HS{bits}"})
                mac = hmac.new(secret, f"{head}.{body}".encode(), getattr(hashlib, f"sha{bits}")).digest()
                yield f"HS{bits} keyed with the public key, {form}", f"{head}.{body}.{b64(mac)}"
        yield "joserfc HS256", jws.serialize_compact(
            {"alg": "HS256", "kid": self.kid}, json.dumps(self.claims).encode(), OctKey.import_key(raw))
        own = {"kid": self.kid}
        yield "PyJWT RS256", jwt.encode(self.claims, self.rsa, algorithm="RS256", headers=own)
        yield "PyJWT PS512", jwt.encode(self.claims, self.rsa, algorithm="PS512", headers=own)
        yield "PyJWT ES256", jwt.encode(self.claims, self.ec, algorithm="ES256", headers=own)
        yield "PyJWT EdDSA by another key", jwt.encode(self.claims, self.ed, algorithm="EdDSA", headers=own)
        yield "EdDSA that is RS256", self.sign().rsplit(".", 1)[0] + "." + b64(b"\0" * 256)
        for r, s in ((0, 0), (0, 1), (1, 0)):
            head = b64({**self.header, "alg": "ES256"})
            yield f"ES256 r={r} s={s}", f"{head}.{body}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
        head = b64({**self.header, "alg": "ES256"})
        yield "ES256 in DER", f"{head}.{body}.{b64(self.ec.sign(b'x', ec.ECDSA(hashes())))}"

    def keys(self):
        for kid in (
            "../../../../etc/passwd", "/dev/null", "keys.json", f"{self.kid}.pk8", "' OR '1'='1", "|id", "$(id)", "",
            "a" * 10_000, f"{self.kid}\0", f" {self.kid}", self.kid.lower(), f"http://{self.listener}/jwks.json",
            [self.kid], {"kid": self.kid}, 1, None, True,
        ):
            shown = str(kid)[:24]
            yield f"kid {shown!r}, a good signature", self.with_header(kid=kid)
            yield f"kid {shown!r}, no key", self.sign(header={**self.header, "kid": kid}, key=self.ed)
        yield "kid missing", self.with_header(kid=...)
        url = f"http://{self.listener}/keys"
        jwk = OKPKey.import_key(self.ed.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)).as_dict(private=False)
        for name, value in {"jku": url, "x5u": url, "jwk": jwk, "x5c": ["MIIB"], "x5t": "a", "x5t#S256": "a"}.items():
            yield f"{name}, the attacker's signature", self.sign(header={**self.header, name: value}, key=self.ed)
            yield f"{name}, a good signature", self.with_header(**{name: value})

    def headers(self):
        for more in (
            {"crit": ["exp"], "exp": self.now}, {"crit": ["b64"], "b64": False}, {"crit": []}, {"crit": ["x"], "x": 1},
            {"b64": False}, {"zip": "DEF"}, {"cty": "JWT"}, {"typ": "JWE"}, {"typ": None}, {"enc": "A256GCM"},
        ):
            yield f"header {more}", self.with_header(**more)
        yield "alg twice", self.sign(head=b64(
            json.dumps(self.header)[:-1].encode() + b',"alg":"none"}'))
        yield "header is a list", self.sign(header=[self.header])
        yield "header is no JSON", self.sign(head=b64(b"{"))
        yield "header with a byte order mark", self.sign(head=b64(b"\xef\xbb\xbf" + json.dumps(self.header).encode()))
        yield "header in UTF-16", self.sign(head=b64(json.dumps(self.header).encode("utf-16")))

    def times(self):
        bad = ("1", -1, 1e300, 1.5, True, None, [], {}, 2**64, -(2**63), float(self.now + 600), ...)
        for name in ("exp", "nbf", "iat"):
            for value in bad:
                yield f"{name} {value!r}", self.with_claims(**{name: value})
            nan = json.dumps(self.claims).replace(f'"{name}": {self.claims[name]}', f'"{name}": NaN')
            yield f"{name} NaN", self.sign(payload=b64(nan.encode()))
        yield "expired", self.with_claims(exp=self.now - 10)
        yield "not yet", self.with_claims(nbf=self.now + 60)
        yield "exp twice", self.sign(payload=b64(json.dumps(self.claims)[:-1].encode() + b',"exp":1}'))

    def names(self):
        for name in ("iss", "aud", "sub"):
            own = self.claims[name]
            for value in (..., None, "", [own], {own: 1}, 1, own + " ", own.upper(), own + "\0", [own, "other"]):
                # Any text that is not empty names a subject.
                if name == "sub" and isinstance(value, str) and value:
                    continue
                yield f"{name} {value!r}", self.with_claims(**{name: value})
        yield "jti missing", self.with_claims(jti=...)
        yield "jti empty", self.with_claims(jti="")
        yield "jti of 10 KB", self.with_claims(jti="j" * 10_000)
        for tenant in ("../acme", "", "a" * 500, 1, ["acme"], None, "acme\0", "асме"):
            yield f"tenant {str(tenant)[:20]!r}", self.with_claims(tenant=tenant)
        yield "scope a list", self.with_claims(scope=["plugins:read"])
        yield "claims are a list", self.sign(claims=[self.claims])
        yield "claims are no JSON", self.sign(payload=b64(b"{"))
        yield "claims are nothing", self.sign(payload="")
        deep = b'{"a":' * 1000 + b"1" + b"}" * 1000
        yield "claims nested a thousand deep", self.sign(payload=b64(json.dumps(self.claims)[:-1].encode() + b',"x":' + deep + b"}"))

    def forms(self):
        good = self.sign()
        head, body, signature = good.split(".")
        yield "two parts", f"{head}.{body}"
        yield "four parts", f"{good}.{signature}"
        yield "a dot behind", f"{good}."
        yield "a dot before", f".{good}"
        yield "no signature", f"{head}.{body}."
        yield "no header", f".{body}.{signature}"
        yield "a signature cut off", good[:-2]
        yield "a signature and more", good + "AA"
        yield "padding", good + "=="
        yield "another alphabet", f"{head}.{body}." + signature.replace("-", "+").replace("_", "/") + "+/"
        # 64 bytes leave four bits of the last character unused: they must be zero.
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        for bit in (1, 2, 4, 8):
            last = alphabet[alphabet.index(signature[-1]) ^ bit]
            yield f"bit {bit} behind the signature's end", f"{head}.{body}.{signature[:-1]}{last}"
        yield "a space inside", f"{head}. {body}.{signature}"
        yield "a tab inside", f"{head}.\t{body}.{signature}"
        yield "twice", f"{good} {good}"
        yield "quoted", f'"{good}"'
        yield "percent signs", urllib.parse.quote(good, safe="").replace(".", "%2E")
        yield "flattened JSON", json.dumps({"protected": head, "payload": body, "signature": signature})
        yield "20 KB", good + "A" * 20_000
        r, s = unb64(signature)[:32], int.from_bytes(unb64(signature)[32:], "little")
        yield "S + L", f"{head}.{body}.{b64(r + (s + L).to_bytes(32, 'little'))}"
        yield "S = 0", f"{head}.{body}.{b64(r + bytes(32))}"
        for point in (1, 0, 2**255 - 20):
            yield f"R of small order, {point}", f"{head}.{body}.{b64(point.to_bytes(32, 'little') + bytes(32))}"
        yield "R and S exchanged", f"{head}.{body}.{b64(unb64(signature)[32:] + r)}"
        yield "zeros", f"{head}.{body}.{b64(bytes(64))}"
        yield "another body", f"{head}.{b64({**self.claims, 'scope': 'operator'})}.{signature}"
        nested = b64(good.encode())
        yield "a token in a token", self.sign(payload=nested)
        yield "joserfc JWE dir", jwe.encrypt_compact(
            {"alg": "dir", "enc": "A256GCM", "kid": self.kid}, good.encode(),
            OctKey.import_key(self.public.public_bytes_raw()))
        yield "joserfc JWE RSA-OAEP", jwe.encrypt_compact(
            {"alg": "RSA-OAEP", "enc": "A128GCM"}, good.encode(), RSAKey.generate_key(2048))
        yield "joserfc ES256", jws.serialize_compact(
            {"alg": "ES256", "kid": self.kid}, json.dumps(self.claims).encode(), ECKey.generate_key("P-256"))


def hashes():
    from cryptography.hazmat.primitives.hashes import SHA256

    return SHA256()


def main() -> None:
    address, folder, tenant = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
    listener = Listener()
    forge = Forge(folder, tenant, listener.address)
    # That the forge works: the same key, nothing wrong, by hand, by PyJWT and by joserfc.
    private = forge.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    rightful = {
        "by hand": forge.sign(),
        "PyJWT": jwt.encode(forge.claims, forge.key, algorithm="EdDSA", headers={"kid": forge.kid}),
        "joserfc": jws.serialize_compact(
            forge.header, json.dumps(forge.claims).encode(), OKPKey.import_key(private), algorithms=["EdDSA"]),
    }
    accepted = {name: ask(address, token)[0] for name, token in rightful.items()}

    refusal = ask(address, "x")
    tried, wrong = 0, {}
    for group in (forge.algorithms, forge.keys, forge.headers, forge.times, forge.names, forge.forms):
        for name, token in group():
            tried += 1
            answer = ask(address, token)
            if answer != refusal:
                wrong[name] = answer
    print(json.dumps(
        {"tried": tried, "refusal": refusal, "wrong": wrong, "accepted": accepted, "visits": listener.visits}))


main()
