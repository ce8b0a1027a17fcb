import random
import shlex
from pathlib import Path

import pytest

from core.errors import InvalidParams
from core.remote.address import Address, parse


@pytest.mark.parametrize(
    "text, meant",
    [
        ("ssh://artist@gpu.example.org:2222", Address("gpu.example.org", 2222, "artist")),
        ("ssh://gpu.example.org", Address("gpu.example.org")),
        ("ssh://ar%2Btist@10.0.0.7/", Address("10.0.0.7", None, "ar+tist")),
        ("ssh://root@[2001:DB8::1]:2200", Address("2001:db8::1", 2200, "root")),
        ("root@1.2.3.4", Address("1.2.3.4", None, "root")),
        ("root@1.2.3.4 -p 1234", Address("1.2.3.4", 1234, "root")),
        ("root@1.2.3.4:1234", Address("1.2.3.4", 1234, "root")),
        ("root@2001:db8::1", Address("2001:db8::1", None, "root")),
        ("root@[2001:db8::1]:77", Address("2001:db8::1", 77, "root")),
        ("ssh root@2001:db8::1 -p77", Address("2001:db8::1", 77, "root")),
        ("ssh -p 20544 root@142.214.185.187 -L 8080:localhost:8080", Address("142.214.185.187", 20544, "root")),
        (
            "ssh root@69.30.85.10 -p 22061 -i ~/.ssh/id_ed25519",
            Address("69.30.85.10", 22061, "root", Path("~/.ssh/id_ed25519").expanduser()),
        ),
        ("ssh -Nf -o StrictHostKeyChecking=no -o 'Port 99' -l me box", Address("box", 99, "me")),
        ("/usr/bin/ssh -i '/my keys/one' box", Address("box", None, None, Path("/my keys/one"))),
    ],
)
def test_addresses_that_people_type_or_paste(text, meant):
    assert parse([text]) == meant
    assert parse(shlex.split(text)) == meant


@pytest.mark.parametrize(
    "text, why",
    [
        ("", "no machine is named"),
        ("ssh -p 22", "no machine is named"),
        ("http://host", "a http address, and ssh is meant"),
        ("ssh://host:99999", "is no address: Port out of range"),
        ("ssh://host:0", "the port must be a number from 1 to 65535, not '0'"),
        ("ssh://host:ssh", "is no address: Port could not be cast"),
        ("ssh://me:secret@host", "a password in an address"),
        ("ssh://host/folder", "has '/folder' after the machine"),
        ("ssh://[::1", "is no address"),
        ("ssh://@host", "no user before the @"),
        ("me@host -p many", "the port must be a number from 1 to 65535, not 'many'"),
        ("me@999.1.1.1", "is no IPv4 address"),
        ("me@fe80::zz", "neither a name nor an IPv6 address"),
        ("me@-oProxyCommand=touch", "is not the name of a machine"),
        ("ssh me@host nvidia-smi", "is followed by 'nvidia-smi'"),
        ("ssh -9 me@host", "ssh has no such option: option -9 not recognized"),
        ("ssh -J hop me@host", "-J leads over another machine"),
        ("ssh 'me@host", "cannot be read: No closing quotation"),
        ("m e@host", "is followed by"),
    ],
)
def test_what_is_no_address_is_told_with_what_to_say_instead(text, why):
    with pytest.raises(InvalidParams) as caught:
        parse([text])
    assert why in str(caught.value)
    assert "secret" not in str(caught.value) and caught.value.extra["hint"]


def test_whatever_is_pasted_is_an_address_or_a_clear_error():
    chance, parts = (
        random.Random(1),
        ["ssh", "://", "@", ":", "[", "]", "-p", "-o", "-i", " ", "'", "\\", "\0", "é", "%"],
    )
    parts += ["host", "1.2.3.4", "::1", "22", "=", "-", "ssh://", "\ud800", "/", "?", "#", "\n"]
    for _ in range(20_000):
        text = "".join(chance.choices(parts, k=chance.randint(0, 9)))
        try:
            found = parse([text])
        except InvalidParams:
            continue
        assert found.host and 1 <= (found.port or 22) <= 65535 and not found.host.startswith("-"), text
