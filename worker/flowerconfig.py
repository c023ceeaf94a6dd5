"""Flower for on-call engineers: `celery -A transfer_worker flower --conf=worker/flowerconfig.py`.

The settings are in the package, where `call-transfer up` finds them in an installed wheel too.
"""

from transfer_worker.monitoring.flowerconfig import *  # noqa: F403 - Flower takes every name that this file has
