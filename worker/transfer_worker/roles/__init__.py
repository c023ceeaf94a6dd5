"""Who may do what at Redis: what each role sends, the permissions made of that, and the trial of them."""

from transfer_worker.roles.acl import describe_role, describe_user, fill_users_file
from transfer_worker.roles.trial import Trial, find_user, name_role, try_commands, try_role
from transfer_worker.roles.work import STEPS, Place, Role, list_commands

__all__ = [
    "STEPS",
    "Place",
    "Role",
    "Trial",
    "describe_role",
    "describe_user",
    "fill_users_file",
    "find_user",
    "list_commands",
    "name_role",
    "try_commands",
    "try_role",
]
