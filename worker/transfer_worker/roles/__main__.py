"""`python -m transfer_worker.roles`: print `deploy/redis-users.acl`."""

import sys

from transfer_worker.roles import Place, fill_users_file

sys.stdout.write(fill_users_file(Place()))
