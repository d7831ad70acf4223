import socket

from xmpp_onion.testing.ports import are_free, free_ports


def test_ports_are_different_and_free() -> None:
    ports = free_ports(50)

    assert len(set(ports)) == 50
    assert are_free(*ports)


def test_no_port_is_one_that_outgoing_connections_take() -> None:
    assert all(1024 < port < 32_768 for port in free_ports(50))


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()

        assert not are_free(*free_ports(1), sock.getsockname()[1])
