"""Rebuilds a key of 32 bytes from its kvx1 shares. Python 3 alone: no network, no kvx. README.txt says how.
Run: python3 recover.py   Enter share after share, then end with Ctrl-D. The key is printed as hex digits."""
import hashlib, hmac, re, sys
ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
GENERATOR = [0x19dc500ce73fde210, 0x1bfae00def77fe529, 0x1fbd920fffe7bee52, 0x1739640bdeee3fdad, 0x07729a039cfc75f5a]

def checksum(values):  # BIP-93's code; 0 for a share that is intact
    r = 1
    for v in [3, 3, 3, 0, 11, 22, 24] + values:  # "kvx", as bech32 expands a prefix
        r, top = (r & (1 << 60) - 1) << 5 ^ v, r >> 60
        for bit in range(5):
            r ^= GENERATOR[bit] if top >> bit & 1 else 0
    return r ^ 0x16cda17e8f3661a2a

def decode(number, text):  # -> ((set, needed, check value), number of the share, y[32] and x)
    v = [ALPHABET.find(c) for c in text]
    if len(v) != 84 or min(v) < 0 or checksum(v) or v[0]:
        sys.exit("text %d is no intact share: read its card again, 22 groups of 4 that begin with KVX1" % number)
    bits = "".join(format(n, "05b") for n in v)
    point = bytes(int(bits[i:i + 8], 2) for i in range(90, 354, 8))
    if not point[32] or bits[354] != "0" or not 1 <= v[1] <= v[2] or v[3] > v[2]:
        sys.exit("share %d is forged" % (v[3] + 1))
    return (text[4:10].upper(), v[1] + 1, "%010X" % int(bits[50:90], 2)), v[3] + 1, point

def times(a, b):  # product in GF(256), reduced by 0x11b
    return (times(a << 1 ^ (0x11b if a & 128 else 0), b >> 1) ^ (a if b & 1 else 0)) if b else 0

typed = re.sub(r"(?m)^\s*[1-4]\s+(?=\w{4})", "", sys.stdin.read())  # without the numbers of printed lines
first, *texts = re.sub(r"[\s.:-]", "", typed).lower().split("kvx1")
shares = [decode(number, text) for number, text in enumerate([first] * (first != "") + texts, 1)]
if len({s[0] for s in shares}) != 1 or min(len({s[1] for s in shares}), len({s[2][32] for s in shares})) < len(shares):
    sys.exit("these are not different shares of one set")
(name, needed, check), shares = shares[0][0], shares[:shares[0][0][1]]
if len(shares) < needed:
    sys.exit("set %s needs %d shares, here are %d" % (name, needed, len(shares)))
key = bytearray(32)
for _, _, mine in shares:  # Lagrange's formula at 0
    factor = 1
    for x in [other[32] for _, _, other in shares if other[32] != mine[32]]:
        factor = times(factor, times(x, next(i for i in range(256) if times(x ^ mine[32], i) == 1)))
    key = bytearray(k ^ times(y, factor) for k, y in zip(key, mine))
fingerprint = hmac.digest(hmac.digest(bytes(32), key, "sha256"), b"kvx/key-fingerprint/v1\x01", "sha256").hex()
if fingerprint[:10].upper() != check:
    sys.exit("these shares rebuild another key than their check value %s names: one is forged" % check)
print("key         " + key.hex() + "\nfingerprint " + fingerprint + "  <- compare all of it with the manifest")
