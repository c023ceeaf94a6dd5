"""What an answer to Celery's remote control does not tell."""

from __future__ import annotations

from transfer_worker.queue.remote_control import HIDDEN, hide_secrets


def test_no_answer_has_redis_password_in_it():
    answer = {
        "broker": {
            "hostname": "one",
            "transport_options": {"sentinel_kwargs": {"password": "hunter2", "username": "app"}},
            "alternates": ["sentinel://app:hunter2@two:26380/0", "sentinel://three:26380"],
        },
        "rusage": {"utime": 0.5},
        "password": None,
    }

    told = hide_secrets(answer)

    assert "hunter2" not in str(told)
    assert told["broker"]["transport_options"]["sentinel_kwargs"] == {"password": HIDDEN, "username": "app"}
    assert told["broker"]["alternates"] == [
        f"sentinel://{HIDDEN}@two:26380/0",
        "sentinel://three:26380",
    ]
    assert (told["rusage"], told["password"]) == ({"utime": 0.5}, None)
