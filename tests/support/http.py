"""Requests of tests to servers of their own: straight there, whatever proxy the environment names."""

from __future__ import annotations

import urllib.request

urlopen_directly = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
"""`urllib.request.urlopen` without a proxy."""
