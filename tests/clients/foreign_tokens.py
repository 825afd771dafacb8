"""Tokens of tenants' own identity providers, forged with PyJWT and joserfc, against a running server.

foreign_tokens.py ADDRESS KEYS TOKEN OTHER: KEYS is the node's folder of keys; TOKEN and OTHER are tokens of two
tenants' administrators, who register a provider each. Prints a JSON object: which rightful tokens were accepted, how many forged
ones were tried, and every one that was not refused with the one answer that all must get.
"""

import hashlib
import hmac
import json
import os
import pathlib
import sys
import tempfile
import time
import warnings

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from joserfc import jwe, jws
from joserfc import jwt as jose_jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from token_tools import L, Listener, Watch, ask, b64, unb64

# joserfc says that EdDSA has a new name, which is what is not wanted here.
warnings.simplefilter("ignore")

ISSUER, AUDIENCE = "https://id.acme.example/realms/main", "aimass-acme"
OTHER_ISSUER, OTHER_AUDIENCE = "https://id.other.example", "aimass-other"
P = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # the order of P-256 (SEC 2 §2.4.2)
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


class Provider:
    """An identity provider with a key of each kind; the kids are the algorithms' names."""

    CLASSES = {"RS256": RSAKey, "ES256": ECKey, "EdDSA": OKPKey}

    def __init__(self, issuer, audience):
        self.keys = {
            "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "ES256": ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        }
        now = int(time.time())
        self.claims = {
            "iss": issuer, "aud": audience, "sub": "alice", "iat": now, "exp": now + 600,
            "realm_access": {"roles": ["offline_access", "viewer"]},
        }

    def jose(self, alg):
        pem = self.keys[alg].private_bytes(
            PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return self.CLASSES[alg].import_key(pem)

    def jwks(self):
        return {"keys": [
            {**self.jose(alg).as_dict(private=False), "kid": alg, "alg": alg, "use": "sig"} for alg in self.keys]}

    def header(self, alg):
        return {"alg": alg, "typ": "JWT", "kid": alg}

    def signature(self, alg, message: bytes) -> bytes:
        key = self.keys[alg]
        if alg == "RS256":
            return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        if alg == "EdDSA":
            return key.sign(message)
        r, s = utils.decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def sign(self, alg, header=None, claims=None, *, head=None, payload=None, by=None) -> str:
        """A token with a good signature over whatever is given."""
        head = head if head is not None else b64(self.header(alg) if header is None else header)
        payload = payload if payload is not None else b64(self.claims if claims is None else claims)
        message = f"{head}.{payload}"
        return f"{message}.{b64((by or self).signature(alg, message.encode()))}"

    def with_header(self, alg, /, **more):
        return self.sign(alg, header={k: v for k, v in {**self.header(alg), **more}.items() if v is not ...})

    def with_claims(self, alg, /, **more):
        return self.sign(alg, claims={k: v for k, v in {**self.claims, **more}.items() if v is not ...})


def algorithms(own, _):
    public = {alg: key.public_key() for alg, key in own.keys.items()}
    for alg in own.keys:
        body = own.sign(alg).split(".")[1]
        for none in ("none", "None", "NONE", "nOnE", "", None, ["none"]):
            head = b64({**own.header(alg), "alg": none})
            yield f"{alg} alg {none!r}, no signature", f"{head}.{body}."
            yield f"{alg} alg {none!r}, a good signature", own.sign(alg, head=head)
        yield f"{alg} PyJWT none", jwt.encode(own.claims, None, algorithm="none", headers={"kid": alg})
        forms = {
            "PEM": public[alg].public_bytes(PEM, SPKI), "DER": public[alg].public_bytes(DER, SPKI),
            "JWK": json.dumps(own.jose(alg).as_dict(private=False)).encode(),
            "PEM without its last newline": public[alg].public_bytes(PEM, SPKI).rstrip(b"\n"),
        }
        for form, secret in forms.items():
            for bits in (256, 384, 512):
                head = b64({**own.header(alg), "alg": f"HS{bits}"})
                mac = hmac.new(secret, f"{head}.{body}".encode(), getattr(hashlib, f"sha{bits}")).digest()
                yield f"HS{bits} keyed with the public key of {alg}, {form}", f"{head}.{body}.{b64(mac)}"
                yield f"{alg} that is an HMAC {bits}, {form}", own.sign(alg).rsplit(".", 1)[0] + "." + b64(mac)
        for other in own.keys:
            if other != alg:
                yield f"{other} under the kid of {alg}", own.sign(other, header={**own.header(other), "kid": alg})
                yield f"{alg} said, {other} signed", own.sign(other, header=own.header(alg))
                yield f"{other} said, {alg} signed", own.sign(alg, header={**own.header(other), "kid": alg})
        yield f"{alg} in lower case", own.with_header(alg, alg=alg.lower())
    rs = own.keys["RS256"]
    for name in ("RS384", "RS512", "PS256", "PS384", "PS512"):
        yield f"PyJWT {name}", jwt.encode(own.claims, rs, algorithm=name, headers={"kid": "RS256"})
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    yield "RSA of 1024 bits under our kid", jwt.encode(own.claims, small, algorithm="RS256", headers={"kid": "RS256"})
    p384 = ec.generate_private_key(ec.SECP384R1())
    yield "ES384 under our kid", jwt.encode(own.claims, p384, algorithm="ES384", headers={"kid": "ES256"})
    yield "joserfc HS256", jws.serialize_compact(
        {"alg": "HS256", "kid": "EdDSA"}, json.dumps(own.claims).encode(),
        OctKey.import_key(public["EdDSA"].public_bytes_raw()), algorithms=["HS256"])


def signatures(own, _):
    for alg in own.keys:
        good = own.sign(alg)
        head, body, signature = good.split(".")
        raw = unb64(signature)
        for name, bad in {
            "nothing": b"", "cut off": raw[:-1], "longer": raw + b"\0", "a zero before": b"\0" + raw,
            "zeros": bytes(len(raw)), "ones": b"\xff" * len(raw), "twice": raw + raw, "reversed": raw[::-1],
            "a bit": bytes([raw[0] ^ 1]) + raw[1:],
        }.items():
            yield f"{alg} signature: {name}", f"{head}.{body}.{b64(bad)}"
        yield f"{alg} another body", f"{head}.{b64({**own.claims, 'sub': 'root'})}.{signature}"
        yield f"{alg} padding", good + "="
        yield f"{alg} the other alphabet", f"{head}.{body}.{signature[:-2]}+/"
        yield f"{alg} two parts", f"{head}.{body}"
        yield f"{alg} four parts", f"{good}.{signature}"
        yield f"{alg} a dot behind", f"{good}."
        yield f"{alg} a space inside", f"{head}. {body}.{signature}"
        yield f"{alg} a tab before the signature", f"{head}.{body}.\t{signature}"
        yield f"{alg} flattened JSON", json.dumps({"protected": head, "payload": body, "signature": signature})
        yield f"{alg} a token in a token", own.sign(alg, payload=b64(good.encode()))
        # What the last character holds beyond the last byte must be zero.
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        if len(raw) % 3:
            last = alphabet[alphabet.index(signature[-1]) ^ 1]
            yield f"{alg} a bit behind the signature's end", good[:-1] + last
    head, body, signature = own.sign("ES256").split(".")
    r, s = int.from_bytes(unb64(signature)[:32], "big"), int.from_bytes(unb64(signature)[32:], "big")
    fixed = lambda r, s: b64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    for a, b in ((0, 0), (0, s), (r, 0), (P, s), (r, P), (P, P), (1, 1), (r, (s + 1) % P)):
        yield f"ES256 r={a:#x} s={b:#x}", f"{head}.{body}.{fixed(a, b)}"
    yield "ES256 in DER", f"{head}.{body}.{b64(utils.encode_dss_signature(r, s))}"
    yield "ES256 in P1363 of 48 bytes", f"{head}.{body}.{b64(r.to_bytes(48, 'big') + s.to_bytes(48, 'big'))}"
    head, body, signature = own.sign("EdDSA").split(".")
    point, s = unb64(signature)[:32], int.from_bytes(unb64(signature)[32:], "little")
    yield "EdDSA S + L", f"{head}.{body}.{b64(point + (s + L).to_bytes(32, 'little'))}"
    yield "EdDSA S = 0", f"{head}.{body}.{b64(point + bytes(32))}"
    for small in (1, 0, 2**255 - 20, 2**255 - 19, 2**255 - 18):
        yield f"EdDSA R of small order, {small}", f"{head}.{body}.{b64(small.to_bytes(32, 'little') + bytes(32))}"
    head, body, signature = own.sign("RS256").split(".")
    n = own.keys["RS256"].public_key().public_numbers().n
    value = int.from_bytes(unb64(signature), "big")
    yield "RS256 plus the modulus", f"{head}.{body}.{b64((value + n).to_bytes(257, 'big'))}"
    yield "RS256 of one", f"{head}.{body}.{b64((1).to_bytes(256, 'big'))}"


def headers(own, environment):
    url, canary = f"http://{environment.listener.address}/jwks.json", environment.canary
    attacker = Provider(ISSUER, AUDIENCE)
    for alg in own.keys:
        for kid in (
            str(canary), f"file://{canary}", "../../../../etc/passwd", "/dev/zero", "' OR '1'='1", "1; DROP TABLE keys",
            "$(id)", "", "k" * 4_000, f"{alg}\0", f" {alg}", alg.lower(), alg + "\u202e", url, [alg], {"kid": alg}, 1,
            None, True, ...,
        ):
            yield f"{alg} kid {str(kid)[:24]!r}, a good signature", own.with_header(alg, kid=kid)
        yield f"{alg} the attacker's key under our kid", own.sign(alg, by=attacker)
        jwk = attacker.jwks()["keys"][0]
        for name, value in {
            "jku": url, "x5u": url, "jwk": jwk, "x5c": ["MIIB"], "crit": ["exp"], "b64": False, "zip": "DEF",
            "cty": "JWT", "enc": "A256GCM", "epk": jwk, "p2c": 10**9, "iss": ISSUER,
        }.items():
            yield f"{alg} {name}, the attacker's signature", own.sign(
                alg, header={**own.header(alg), name: value}, by=attacker)
            yield f"{alg} {name}, a good signature", own.with_header(alg, **{name: value})
        for typ in ("JWE", "secevent+jwt", "dpop+jwt", "", None, ["JWT"], 1, "JWT\0"):
            yield f"{alg} typ {typ!r}", own.with_header(alg, typ=typ)
        twice = json.dumps(own.header(alg))[:-1].encode()
        yield f"{alg} alg twice", own.sign(alg, head=b64(twice + b',"alg":"none"}'))
        yield f"{alg} kid twice", own.sign(alg, head=b64(twice + b',"kid":"x"}'))
        yield f"{alg} header is a list", own.sign(alg, header=[own.header(alg)])
        yield f"{alg} header in UTF-16", own.sign(alg, head=b64(json.dumps(own.header(alg)).encode("utf-16")))
        yield f"{alg} header nested deeply", own.sign(alg, head=b64(twice + b',"x":' + b"[" * 2000 + b"]" * 2000 + b"}"))
    for alg, enc in (("dir", "A256GCM"), ("RSA-OAEP", "A128GCM")):
        key = OctKey.generate_key(256) if alg == "dir" else own.jose("RS256")
        yield f"JWE {alg}", jwe.encrypt_compact({"alg": alg, "enc": enc, "kid": "RS256"}, own.sign("RS256").encode(), key)


def claims(own, environment):
    other = environment.other
    now = int(time.time())
    for alg in own.keys:
        for name in ("exp", "iat", "nbf"):
            for value in ("1", -1, 1e300, float(now + 600), True, None, [], {}, 2**64, -(2**63)):
                yield f"{alg} {name} {value!r}", own.with_claims(alg, **{name: value})
            text = json.dumps(own.claims)[:-1].encode()
            yield f"{alg} {name} NaN", own.with_claims(alg, **{name: float("nan")})
            yield f"{alg} {name} twice", own.sign(alg, payload=b64(text + b',"%s":%d,"%s":%d}' % (
                name.encode(), now + 600, name.encode(), now)))
        for name in ("iss", "aud", "sub", "exp", "iat"):
            yield f"{alg} no {name}", own.with_claims(alg, **{name: ...})
        yield f"{alg} expired", own.with_claims(alg, exp=now - 10)
        yield f"{alg} not yet", own.with_claims(alg, nbf=now + 60)
        yield f"{alg} issued in the future", own.with_claims(alg, iat=now + 60)
        for name in ("iss", "aud", "sub"):
            mine = own.claims[name]
            for value in ("", [], [1], {mine: 1}, 1, None, True) + (() if name == "sub" else (
                mine + "/", mine.upper(), mine + "\0", " " + mine, mine[:-1] + "е", [mine + "x"])):
                yield f"{alg} {name} {value!r}", own.with_claims(alg, **{name: value})
        yield f"{alg} iss in a list", own.with_claims(alg, iss=[ISSUER])
        yield f"{alg} sub of 10 KB", own.with_claims(alg, sub="s" * 10_000)
        yield f"{alg} sub with a newline", own.with_claims(alg, sub="a\nb")
        yield f"{alg} iss twice", own.sign(alg, payload=b64(
            json.dumps(own.claims)[:-1].encode() + b',"iss":"aimass"}'))
        # Walls between tenants and towards the node.
        yield f"{alg} under the node's iss", own.with_claims(alg, iss="aimass", aud="aimass", tenant="acme", scope="operator")
        yield f"{alg} under the other tenant's iss", own.with_claims(alg, iss=OTHER_ISSUER, aud=OTHER_AUDIENCE)
        yield f"{alg} own iss, the other's aud", own.with_claims(alg, aud=OTHER_AUDIENCE)
        yield f"{alg} the other's key, own iss", own.sign(alg, by=other)
        yield f"{alg} the other's iss, own aud", other.with_claims(alg, aud=AUDIENCE)
        deep = b'{"a":' * 500 + b"1" + b"}" * 500
        yield f"{alg} claims nested deeply", own.sign(alg, payload=b64(
            json.dumps(own.claims)[:-1].encode() + b',"x":' + deep + b"}"))
        yield f"{alg} claims a list", own.sign(alg, claims=[own.claims])
        yield f"{alg} claims no UTF-8", own.sign(alg, payload=b64(b'{"iss":"\xff"}'))


class Environment:
    def __init__(self, other, folder):
        self.other, self.listener = other, Listener()
        self.canary = pathlib.Path(folder) / "canary.pem"
        self.canary.write_bytes(other.keys["RS256"].public_key().public_bytes(PEM, SPKI))


def main() -> None:
    address, keys, token, others_token = sys.argv[1:]
    own, other = Provider(ISSUER, AUDIENCE), Provider(OTHER_ISSUER, OTHER_AUDIENCE)
    for who, provider, name in ((token, own, "main"), (others_token, other, "theirs")):
        wish = {"name": name, "issuer": provider.claims["iss"], "audience": provider.claims["aud"],
                "jwks": provider.jwks(), "roles_claim": "realm_access.roles"}
        status, said = ask(address, who, "POST", "/api/v1/issuers", wish)
        assert status == 201, (status, said)
    accepted = {}
    for alg in own.keys:
        rightful = {
            "by hand": own.sign(alg),
            "PyJWT": jwt.encode(own.claims, own.keys[alg], algorithm=alg, headers={"kid": alg}),
            "joserfc": jose_jwt.encode({"alg": alg, "kid": alg}, own.claims, own.jose(alg), algorithms=[alg]),
            "several audiences": own.with_claims(alg, aud=["account", AUDIENCE]),
            "an access token": own.with_header(alg, typ="at+jwt", x5t="abc"),
            "with nbf and jti": own.with_claims(alg, nbf=own.claims["iat"], jti="1"),
            "a name in another script": own.with_claims(alg, sub="Алиса"),
        }
        for name, good in rightful.items():
            accepted[f"{alg} {name}"] = ask(address, good)[0]
    # A viewer changes nothing; claims of ours in a token of theirs say nothing.
    forbidden = {
        "write": ask(address, own.sign("ES256"), "DELETE", "/api/v1/plugins/none")[0],
        "operator": ask(address, own.with_claims("ES256", scope="operator", tenant="other", roles=["admin"]), path="/api/v1/tenants")[0],
        "role operator": ask(address, own.with_claims("ES256", realm_access={"roles": ["operator"]}), path="/api/v1/tenants")[0],
    }

    refusal = ask(address, "x")
    tried, wrong = 0, {}
    with tempfile.TemporaryDirectory() as folder:
        environment = Environment(other, folder)
        watch = Watch(keys, folder)
        for group in (algorithms, signatures, headers, claims):
            for name, forged in group(own, environment):
                tried += 1
                answer = ask(address, forged)
                if answer != refusal:
                    wrong[name] = answer
        opened = watch.opened()
        # That the watch sees what there is to see.
        os.close(os.open(environment.canary, os.O_RDONLY))
        seen = watch.opened()
    print(json.dumps({
        "tried": tried, "refusal": refusal, "wrong": wrong, "accepted": accepted, "forbidden": forbidden,
        "visits": environment.listener.visits, "opened": opened, "seen": seen}))


main()
