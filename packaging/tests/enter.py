#!/usr/bin/env python3
"""Runs a command in the root of an image, as an engine would: no shell and no tool is in there.

    enter.py ROOT UID:GID DIRECTORY COMMAND…
"""

import ctypes
import os
import sys

PR_SET_NO_NEW_PRIVS = 38

root, user, directory, *command = sys.argv[1:]
uid, gid = (int(part) for part in user.split(":"))
os.chroot(root)
os.chdir(directory)
os.setgroups([])
os.setgid(gid)
os.setuid(uid)
ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
os.execve(command[0], command, {"PATH": "/usr/bin"})
